"""A denoised segment as it is stored: safetensors with the report on its poses, and a digest that tells damage."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from manifests.errors import Damaged
from stages.diffusion.animator import Denoised, Segment


def write_latents(path: Path, denoised: Denoised, report: dict[str, Any], segment: Segment) -> None:
    """Store what a segment became, and the report on the poses that the clip follows."""
    tensors = {name: one.contiguous() for name, one in denoised.tensors().items()}
    about = {**report, "sha256": _digest(tensors), "segment": [segment.start, segment.stop]}
    # in one entry: safetensors writes several in any order, and the same latents are to be the same bytes
    save_file(tensors, path, {"pose": json.dumps(about)})


def read_latents(path: Path, segment: Segment) -> tuple[Denoised, dict[str, Any]]:
    """What `write_latents` stored. Raises `Damaged` for any other file, and for another segment."""
    try:
        with safe_open(path, "pt") as stored:
            report = json.loads(stored.metadata()["pose"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            denoised = Denoised.of(tensors)
            # an earlier version stored neither digest nor segment
            if report.pop("segment", None) not in (None, [segment.start, segment.stop]):
                raise ValueError("they are another segment's")
            if report.pop("sha256", None) not in (None, _digest(tensors)) or not finite(denoised):
                raise ValueError("other bytes than were stored")
    except Exception as broken:
        reason = (str(broken) or type(broken).__name__).splitlines()[0]
        raise Damaged(f"latents {path.name} cannot be read: {reason}", "delete the file and run again") from None
    return denoised, report


def finite(denoised: Denoised) -> bool:
    """Whether no value is NaN or infinite."""
    return all(bool(torch.isfinite(one).all()) for one in denoised.tensors().values())


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors, key=lambda name: (name != "latents", name)):
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
