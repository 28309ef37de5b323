"""Rows that are the death of their worker, in any stage: an animator from outside, and media that stages choke on.

A row's poison stands in a name, STAGE-KIND: of the reference for `validate` and `inputs`, of the driving video for
`pose`, of the clip for `animate`. Importing this module, as workers do for the animator's sake, teaches the stages to
choke. The kinds: kills, hangs, allocates, raises; and breaks, of a device.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manifests.clip import Clip
from manifests.work import Source
from stages.diffusion.animator import Denoised, Facts, Parts, Segment
from stages.extract_pose import ExtractPose
from stages.prepare_inputs import PrepareInputs
from stages.validate import Validate
from tests.made.sample_media import clip_row, write_driving, write_reference

if TYPE_CHECKING:
    import torch

STAGES = ("validate", "pose", "inputs", "animate")
DEADLY = ("kills", "hangs", "allocates")
KINDS = (*DEADLY, "raises")
STILL = {"animator": "still", "driving_kind": "skeleton", "steps": None}


def choke(stage: str, name: str) -> None:
    """Do what a name says is to happen in this stage."""
    before, _, kind = name.rpartition("/")[2].partition(".")[0].partition("-")
    kind = kind.partition("-")[0]
    if before != stage:
        return
    if kind == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "hangs":
        time.sleep(10**6)
    elif kind == "allocates":
        held = []
        while True:
            held.append(b"\x01" * 2**23)
            time.sleep(0.003)
    elif kind == "breaks":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    elif kind == "raises":
        raise RuntimeError(f"{name} was poison")


def poisoned(media: Path, stage: str, kind: str, number: int) -> dict[str, object]:
    """A row with that poison, in files of its own where files are what is poisonous."""
    name, fields = f"{stage}-{kind}-{number}", {}
    if stage in ("validate", "inputs"):
        fields["reference"] = write_reference(media / f"{name}.png", seed=100 + number).name
    if stage == "pose":
        fields["driving"] = write_driving(media / f"{name}.mp4", seed=100 + number).name
    return clip_row(name, seed=number, **STILL, **fields)


def bounds(seconds: float, attempts: int) -> dict[str, Any]:
    """A configuration under which poison is soon known for what it is; memory that a worker with torch stays below."""
    pools = {f"{stage}_pool": {"memory_bytes": 1_500_000_000} for stage in STAGES}
    limits = {"base": seconds, "animate_cpu": 0, "pose_frame": 0}
    return {"animators": {"still": "tests.made.poison:Still"}, "time_limits": limits, "attempts": attempts, **pools}


class Still:
    """Draws the reference as it is, in every frame."""

    facts = Facts(
        name="still",
        implementation="tests.made.poison:Still",
        pose="skeleton",
        reference=True,
        size_multiple=2,
        native_size=(48, 64),
        window=16,
        window_limits=(1, 1000),
        overlap=0,
        steps=1,
        guidance=(),
        checkpoint=(),
        licence="MIT",
        revision="1",
    )
    nbytes = 0

    @classmethod
    def load(cls, checkpoint: Any, device: str, dtype: torch.dtype, lora: Any = None) -> Still:
        """Nothing to load."""
        return cls()

    def segment(self, clip: Clip, reference: np.ndarray, driving: Any, segment: Segment) -> Denoised:
        """(frames, height, width, 3)."""
        import torch  # which all other processes of a run do without

        choke("animate", clip.id)
        picture = torch.from_numpy(np.ascontiguousarray(reference))
        return Denoised(picture.expand(len(segment), *reference.shape).float())

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        """A segment at once."""
        for _, latents in parts:
            yield latents.numpy().round().astype(np.uint8)


def _teach() -> None:
    examined, made, stored = Validate._examined, ExtractPose.__call__, PrepareInputs._store

    def examine(self: Validate, uri: str, kind: str) -> dict[str, Any]:
        choke("validate", uri)
        return examined(self, uri, kind)

    def make(self: ExtractPose, driving: Source, *asked: Any) -> bool:
        choke("pose", driving.uri)
        return made(self, driving, *asked)

    def store(self: PrepareInputs, source: Source, target: str, convert: Any) -> None:
        choke("inputs", source.uri)
        stored(self, source, target, convert)

    Validate._examined, ExtractPose.__call__, PrepareInputs._store = examine, make, store


_teach()
