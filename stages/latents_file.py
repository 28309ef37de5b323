"""Latents as they are stored: safetensors with the report on their poses, and a digest that tells damage."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from manifests.errors import Damaged


def write_latents(path: Path, latents: torch.Tensor, report: dict[str, Any]) -> None:
    """Store (frames, …) on the CPU, and the report on the poses that they follow."""
    whole = latents.contiguous()
    # in one entry: safetensors writes several in any order, and the same latents are to be the same bytes
    save_file({"latents": whole}, path, {"pose": json.dumps({**report, "sha256": _digest(whole)})})


def read_latents(path: Path, frames: int) -> tuple[torch.Tensor, dict[str, Any]]:
    """What `write_latents` stored. Raises `Damaged` for any other file, and for latents of another number of frames."""
    try:
        with safe_open(path, "pt") as stored:
            report, latents = json.loads(stored.metadata()["pose"]), stored.get_tensor("latents")
            if not isinstance(report, dict) or len(latents) != frames:
                raise ValueError("they are another film's")
            known = report.pop("sha256", None)  # an earlier version stored none
            if known not in (None, _digest(latents)) or not bool(torch.isfinite(latents).all()):
                raise ValueError("other bytes than were stored")
    except Exception as broken:
        reason = (str(broken) or type(broken).__name__).splitlines()[0]
        raise Damaged(f"latents {path.name} cannot be read: {reason}", "delete the file and run again") from None
    return latents, report


def _digest(latents: torch.Tensor) -> str:
    return hashlib.sha256(latents.contiguous().reshape(-1).view(torch.uint8).numpy()).hexdigest()
