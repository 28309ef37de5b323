"""The keypoint net's training: drawn people in, an ONNX file out that the pose stage takes for a pose net."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch.optim.swa_utils import update_bn

from pipelines.training.keypoint_crops import training_crops
from pipelines.training.keypoint_net import KeypointNet, losses
from pipelines.training.keypoint_onnx import write_onnx
from pipelines.training.optimisation import Settings, Training
from pipelines.training.pictures import SHAPES, Album, album
from stages.poses.estimators.rtmpose import MEAN, STD

ONNX = "keypoints.onnx"
SETTLING = 64  # batches that the averaged weights' batch statistics are taken of


def run(settings: Settings) -> None:
    """Draw people, train the net on them and write it to `output/keypoints/keypoints.onnx`."""
    people = settings.choose(cpu=1800, gpu=8000)
    (tall, square) = SHAPES
    albums = [album(0, people, *tall), album(people, people // 4, *square)]
    seconds, batch = settings.seconds or settings.choose(cpu=600, gpu=240), settings.choose(cpu=16, gpu=128)
    network = train(albums, settings, seconds, batch)
    write_onnx(network, settings.output / "keypoints" / ONNX)


def train(albums: list[Album], settings: Settings, seconds: float, batch: int) -> KeypointNet:
    """The net after `seconds` of training, with its averaged weights and the batch statistics that belong to them."""
    torch.manual_seed(settings.seed)
    network = KeypointNet().to(settings.device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    folder = settings.output / "keypoints"
    training = Training(network, optimiser, settings, folder=folder, seconds=seconds, decay=(0.9, 0.995), clip=5.0)
    for _ in training.steps():
        crops = training_crops(albums, batch, training.random())
        with settings.autocast():
            logits = network(_normalised(crops.images, settings))
        place, presence = losses(
            logits, *(_on(values, settings) for values in (crops.points, crops.located, crops.present))
        )
        training.update(place + 2 * presence, place=place, presence=presence)
    with training.averaged(), settings.autocast():
        random = np.random.default_rng([settings.seed, training.step])
        drawn = (training_crops(albums, batch, random).images for _ in range(SETTLING))
        update_bn((_normalised(images, settings) for images in drawn), network)
        return copy.deepcopy(network).eval()


def _normalised(images: np.ndarray, settings: Settings) -> torch.Tensor:
    """uint8 (n, height, width, 3) → float32 (n, 3, height, width), as `rtmpose.normalise` computes it."""
    mean, std = (torch.tensor(values, device=settings.device) for values in (MEAN, STD))
    return ((_on(images, settings) - mean) / std).permute(0, 3, 1, 2)


def _on(values: np.ndarray, settings: Settings) -> torch.Tensor:
    return torch.from_numpy(values).to(settings.device)
