"""VMAF, Netflix's estimate of how good a film looks beside the truth, by the ffmpeg that encodes films."""

from __future__ import annotations

import json
from pathlib import Path

import ffmpeg
import numpy as np

from manifests.errors import Problem
from stages.video.ffmpeg_process import FfmpegProcess, local_file
from stages.video.quality.curve import Curve, Figure


def vmaf(film: Path, truth: Path, scratch: Path) -> Figure:
    """0 (bad) to 100, mean over frames of the same number; both films are of one size. `scratch` is an empty folder.

    Raises `Problem` where ffmpeg fails, and where it has no VMAF.
    """
    log = scratch / "vmaf.json"
    one, other = _numbered(film), _numbered(truth)
    if one == other:  # the same file twice, which is one stream to ffmpeg-python
        one, other = (one.split()[copy] for copy in (0, 1))
    compared = ffmpeg.filter([one, other], "libvmaf", log_fmt="json", log_path=str(log), shortest=1)
    process = FfmpegProcess(
        ffmpeg.output(compared, "-", format="null").global_args("-nostdin"), "see whether both films play"
    )
    try:
        process.finish()
    finally:
        process.kill()
    curve = Curve(less_is_worse=True)
    for frame in json.loads(log.read_text(encoding="utf-8"))["frames"]:
        curve.put(frame["frameNum"], frame["metrics"]["vmaf"])
    if not len(curve) or not np.isfinite(curve.values).any():
        raise Problem("VMAF: no two frames could be compared", "see whether both films play")
    return Figure(curve.mean, curve.worst, curve)


def _numbered(path: Path) -> ffmpeg.Stream:
    """The frames of a film, by their numbers instead of their times."""
    return ffmpeg.input(local_file(path), protocol_whitelist="file")["v:0"].filter("setpts", "N/25/TB")
