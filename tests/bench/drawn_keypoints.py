"""How well the bundled keypoint net finds drawn people it was never shown, through film, decoder and pose stage.

    python -m tests.bench.drawn_keypoints [--net FILE] [--people N]

Each held-out character performs one held-out motion, 12 frames of which are encoded as H.264, read back and shown to
DWPose with the whole image as the person's box. Errors are distances in pixels of a picture 256 high, over the points
that are there to be seen. PCK@a is the share of them nearer than a torsos, a torso being the distance from the left
shoulder to the right hip in that frame. `missed` is the share of seen points whose score is not above 0.3; `ghosts`
that of hidden face points whose score is.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipelines.training.people import draw, random_character, random_motion
from pipelines.training.pictures import HELD_OUT
from stages.poses.estimators.dwpose import DWPose
from stages.poses.wholebody import VISIBLE
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.limits import Limits
from stages.video.read import Frames

NET = Path(__file__).resolve().parents[2] / "stages" / "bundled" / "keypoints" / "keypoints.onnx"
SHAPES = ((192, 256), (224, 224), (384, 512))
FRAMES, FPS = 12, 8
LEFT_SHOULDER, RIGHT_HIP = 5, 12
GROUPS = {
    "face": range(0, 5),
    "shoulders, hips": (5, 6, 11, 12),
    "elbows": (7, 8),
    "wrists": (9, 10),
    "knees": (13, 14),
    "ankles": (15, 16),
    "feet": range(17, 23),
}
VIEWS = ("front", "side", "back")


@dataclass(frozen=True)
class Found:
    """Frames of one shape or of several, with what is true and what was found of them."""

    truth: np.ndarray  # (frames, 23, 3): x, y, there to be seen
    points: np.ndarray  # (frames, 23, 2)
    scores: np.ndarray  # (frames, 23)
    views: np.ndarray  # (frames,): indices of VIEWS
    heights: np.ndarray  # (frames,): of the pictures

    def chosen(self, which: np.ndarray) -> Found:
        """Some of the frames."""
        return Found(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def measures(self, joints: range | tuple[int, ...] = range(23)) -> list[float]:
        """Mean and median error, PCK@0.1, PCK@0.2, missed and ghosts of these joints."""
        joints = list(joints)
        distances = np.linalg.norm(self.points - self.truth[..., :2], axis=2)
        torsos = np.linalg.norm(self.truth[:, LEFT_SHOULDER, :2] - self.truth[:, RIGHT_HIP, :2], axis=1)
        seen = self.truth[:, joints, 2] > 0
        pixels = (distances * 256 / self.heights[:, None])[:, joints][seen]
        parts = (distances / torsos[:, None])[:, joints][seen]
        scored = self.scores[:, joints] > VISIBLE
        ghosts = scored[~seen].mean() if (~seen).any() else float("nan")
        near = [(parts <= 0.1).mean(), (parts <= 0.2).mean()]
        return [pixels.mean(), np.median(pixels), *near, 1 - scored[seen].mean(), ghosts]


def performed(seed: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames (12, height, width, 3), keypoints (12, 23, 3) and views (12,) of a held-out character and motion."""
    character, motion = random_character(HELD_OUT + seed), random_motion(HELD_OUT + 1000 + seed)
    poses = [motion.pose(seed + frame / FPS) for frame in range(FRAMES)]
    drawings = [draw(character, pose, width, height) for pose in poses]
    aside = np.abs((np.array([pose.yaw for pose in poses]) + 180) % 360 - 180)
    views = np.digitize(aside, (50, 130))
    return np.stack([one.picture for one in drawings]), np.stack([one.keypoints for one in drawings]), views


def filmed(frames: np.ndarray, folder: Path) -> list[np.ndarray]:
    """The frames after a film has been made of them and read back."""
    film = folder / "film.mp4"
    with Encoder(film, frames.shape[2], frames.shape[1], Fraction(FPS), EncodeRecipe(crf=23)) as encoder:
        encoder.write(frames)
    return list(Frames(film, Limits()).read())


def evaluate(net: Path, people: int, width: int, height: int) -> tuple[Found, float]:
    """What is found of so many people in this shape, and pictures per second of one core."""
    estimator, used, parts = DWPose.load(None, net), 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(people):
            drawn, truth, views = performed(seed, width, height)
            frames = filmed(drawn, Path(folder))
            begun = time.process_time()
            found = list(estimator.detect(frames))
            used += time.process_time() - begun
            points, scores = (np.stack([getattr(one, name)[0, :23] for one in found]) for name in ("points", "scores"))
            parts.append((truth, points, scores, views, np.full(len(views), height)))
    return Found(*(np.concatenate(column) for column in zip(*parts, strict=True))), FRAMES * people / used


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", type=Path, default=NET, help="the ONNX file")
    parser.add_argument("--people", type=int, default=48)
    options = parser.parse_args()
    print(f"{'':24} {'mean px':>8} {'median':>8} {'PCK@0.1':>8} {'PCK@0.2':>8} {'missed':>8} {'ghosts':>8}")
    tall = None
    for width, height in SHAPES:
        found, speed = evaluate(options.net, options.people, width, height)
        _print(f"{width} × {height}", found.measures())
        tall = tall or found
    for name, joints in GROUPS.items():
        _print(f"  {name}", tall.measures(joints))
    for number, name in enumerate(VIEWS):
        _print(f"  from the {name}", tall.chosen(tall.views == number).measures())
    print(f"{options.people} people × {FRAMES} frames; {speed:.0f} pictures per second of one core")


def _print(name: str, values: list[float]) -> None:
    print(f"{name:24} " + " ".join(f"{value:8.2f}" if at < 2 else f"{value:8.3f}" for at, value in enumerate(values)))


if __name__ == "__main__":
    main()
