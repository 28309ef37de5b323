"""The keypoint net's training: drawn people in, an ONNX file out that the pose stage takes for a pose net."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch.optim.swa_utils import update_bn

from pipelines.training.keypoint_crops import training_crops
from pipelines.training.keypoint_net import POINTS, KeypointNet, losses
from pipelines.training.keypoint_onnx import write_onnx
from pipelines.training.optimisation import Settings, Training
from pipelines.training.people import Pose, draw, random_character, random_motion, standing
from pipelines.training.pictures import FRESH, SHAPES, TRAINING, Album
from stages.poses.estimators.rtmpose import MEAN, STD

ONNX = "keypoints.onnx"
SETTLING = 96  # batches that the averaged weights' batch statistics are taken of
KEPT = (2400, 600)  # pictures of each shape to crop from
FIRST = 25  # characters of each shape before the first step
EACH = 4  # pictures of one character
SQUARE_SHARE = 0.2  # of the characters
STANDING, TURNED = 0.3, 0.2  # of the pictures: in a catalogue's pose; in a motion's, but seen from anywhere


class Gallery:
    """Pictures of one shape, the oldest of which are exchanged for those of other characters."""

    def __init__(self, count: int, width: int, height: int) -> None:
        """`count` pictures at most."""
        self._pictures = np.zeros((count, height, width, 3), np.uint8)
        self._keypoints = np.zeros((count, POINTS, 3), np.float32)
        self._drawn = 0

    def renew(self, random: np.random.Generator) -> None:
        """Draw another character's."""
        character = random_character(int(random.integers(*FRESH)))
        height, width = self._pictures.shape[1:3]
        for _ in range(EACH):
            drawn = draw(character, any_pose(random), width, height)
            place = self._drawn % len(self._pictures)
            self._pictures[place], self._keypoints[place] = drawn.picture, drawn.keypoints
            self._drawn += 1

    @property
    def album(self) -> Album:
        """Those that there are by now."""
        there = slice(min(self._drawn, len(self._pictures)))
        return Album(self._pictures[there], self._keypoints[there])


def any_pose(random: np.random.Generator) -> Pose:
    """A pose of a reference, of a motion, or of a motion seen from anywhere: backs are what the net learns last."""
    kind, seed = random.random(), int(random.integers(TRAINING))
    if kind < STANDING:
        return standing(seed)
    pose = random_motion(seed).pose(random.uniform(0, 10))
    return pose._replace(yaw=float(random.uniform(-180, 180))) if kind < STANDING + TURNED else pose


def run(settings: Settings) -> None:
    """Train the net on people that are drawn for it, and write it to `output/keypoints/keypoints.onnx`."""
    seconds, batch = settings.seconds or settings.choose(cpu=2400, gpu=600), settings.choose(cpu=16, gpu=128)
    galleries = [Gallery(count, *shape) for count, shape in zip(KEPT, SHAPES, strict=True)]
    network = train(galleries, settings, seconds, batch)
    write_onnx(network, settings.output / "keypoints" / ONNX)


def train(galleries: list[Gallery], settings: Settings, seconds: float, batch: int) -> KeypointNet:
    """The net after `seconds` of training, with its averaged weights and the batch statistics that belong to them.

    Every step draws `batch` / 4 pictures or so, each of which is cropped about four times.
    """
    torch.manual_seed(settings.seed)
    network = KeypointNet().to(settings.device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    folder = settings.output / "keypoints"
    training = Training(network, optimiser, settings, folder=folder, seconds=seconds, decay=(0.9, 0.997), clip=5.0)
    random = np.random.default_rng(settings.seed)
    for gallery in galleries:
        for _ in range(FIRST):
            gallery.renew(random)
    for _ in training.steps():
        random = training.random()
        for _ in range(max(1, batch // EACH**2)):
            galleries[int(random.random() < SQUARE_SHARE)].renew(random)
        crops = training_crops([gallery.album for gallery in galleries], batch, random)
        with settings.autocast():
            logits = network(_normalised(crops.images, settings))
        place, presence = losses(
            logits, *(_on(values, settings) for values in (crops.points, crops.located, crops.present))
        )
        training.update(place + 2 * presence, place=place, presence=presence)
    with training.averaged(), settings.autocast():
        random = np.random.default_rng([settings.seed, training.step])
        albums = [gallery.album for gallery in galleries]
        drawn = (training_crops(albums, batch, random).images for _ in range(SETTLING))
        update_bn((_normalised(images, settings) for images in drawn), network)
        return copy.deepcopy(network).eval()


def _normalised(images: np.ndarray, settings: Settings) -> torch.Tensor:
    """uint8 (n, height, width, 3) → float32 (n, 3, height, width), as `rtmpose.normalise` computes it."""
    mean, std = (torch.tensor(values, device=settings.device) for values in (MEAN, STD))
    return ((_on(images, settings) - mean) / std).permute(0, 3, 1, 2)


def _on(values: np.ndarray, settings: Settings) -> torch.Tensor:
    return torch.from_numpy(values).to(settings.device)
