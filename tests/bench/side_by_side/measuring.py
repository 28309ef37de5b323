"""Seconds and memory of one clip, on a CPU or a CUDA device."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from tests.bench.side_by_side.contenders import Contender, Task


@dataclass
class Figures:
    """Of one run of one clip: seconds by phase, and the bytes that each phase took beside what was there before."""

    seconds: dict[str, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)


class Meter:
    """CPU seconds and resident memory of this process, or a CUDA device's time and allocated memory."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")

    def now(self) -> float:
        """Seconds since some moment, after everything that was asked of the device."""
        if self._cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    @contextmanager
    def peak(self, into: dict[str, int], phase: str) -> Iterator[None]:
        """What the block takes at most, beside what is there when it begins. Only in a process of its own on a CPU."""
        gc.collect()
        if self._cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            yield
            into[phase] = torch.cuda.max_memory_allocated() - before
        else:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
            before = _status("VmRSS")
            yield
            into[phase] = _status("VmHWM") - before


def _status(name: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024


def denoised(contender: Contender, task: Task, meter: Meter, into: Figures) -> torch.Tensor:
    """Encode and denoise a clip."""
    marks: list[float] = []
    with meter.peak(into.peak, "denoise"):
        begun = meter.now()
        latents = contender.denoise(task, lambda: marks.append(meter.now()))
        ended = meter.now()
    into.seconds |= {"encode": marks[0] - begun, "denoise": ended - marks[0]}
    return latents


def decoded(contender: Contender, latents: torch.Tensor, meter: Meter, into: Figures, keep: bool) -> np.ndarray | None:
    """Decode a clip: the frames, or nothing where they are let go as a film's writer does."""
    with meter.peak(into.peak, "decode"):
        begun = meter.now()
        parts = [part if keep else None for part in contender.decode(latents)]
        into.seconds["decode"] = meter.now() - begun
    return np.concatenate(parts) if keep else None


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """dB between two uint8 films."""
    error = np.mean((first.astype(np.float64) - second) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
