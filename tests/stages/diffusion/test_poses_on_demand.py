"""A segment's poses are drawn or read when they are needed, and let go: animators hold a few of them at most."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.clip import Clip
from stages.bundled import bundled
from stages.diffusion.animator import Segment
from stages.diffusion.animators import ANIMATORS, load_animator
from tests.made.seam import latents_of
from tests.made.tiny_diffusion import GOLDEN, write_animate_anyone, write_text2video_zero

FRAMES = 40
MOST = 17  # a batch of a pose guider, and the one that is being fitted


class CountedPoses:
    """Poses of their own size, each made when it is asked for, and the most of them that were there at once."""

    def __init__(self) -> None:
        self.asked: set[int] = set()
        self._alive = self.most = 0

    def __len__(self) -> int:
        return FRAMES

    def __getitem__(self, frame: int) -> np.ndarray:
        pose = np.full((80, 40, 3), 6 * frame, np.uint8)
        weakref.finalize(pose, self._let_go)
        self.asked.add(frame)
        self._alive += 1
        self.most = max(self.most, self._alive)
        return pose

    def _let_go(self) -> None:
        self._alive -= 1


@pytest.mark.parametrize("name", ["drawn", "animate_anyone", "magicanimate", "text2video_zero"])
def test_an_animator_holds_few_of_a_clips_poses_at_once(name: str, tmp_path: Path) -> None:
    written = {"animate_anyone": write_animate_anyone, "text2video_zero": write_text2video_zero}
    if name in written:
        checkpoint = written[name](tmp_path / "checkpoint")
    else:
        checkpoint = Path(bundled(ANIMATORS[name].bundled or "")) if name == "drawn" else GOLDEN / name / "checkpoint"
    animator, poses = load_animator(name, checkpoint, "cpu", torch.float32), CountedPoses()
    given = {"width": 32, "height": 64, "steps": 1, "window": 8, "overlap": 2, "fit": "cover", "prompt": "a dancer"}
    clip = Clip(id="c", animator=name, guidance=1.0, seed=1, **given)
    reference = np.zeros((64, 32, 3), np.uint8) if ANIMATORS[name].reference else None
    latents = latents_of(animator, clip, reference, poses, Segment(0, FRAMES))
    assert len(latents) == FRAMES
    assert poses.asked == set(range(FRAMES))
    assert poses.most <= MOST
