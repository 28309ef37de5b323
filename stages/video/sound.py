"""The sound of a driving video, taken out of it before it comes near a model."""

from __future__ import annotations

from pathlib import Path

import ffmpeg
import imageio_ffmpeg

from manifests.errors import Rejected


def extract_sound(video: Path, target: Path) -> None:
    """Write the first audio track as FLAC. Raises `Rejected` when ffmpeg cannot read it.

    Only the local file is opened: other protocols are off.
    """
    command = (
        ffmpeg.input(str(video), protocol_whitelist="file")
        .audio.output(str(target), acodec="flac", map_metadata=-1, fflags="+bitexact")
        .global_args("-nostdin", "-loglevel", "error")
    )
    try:
        command.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), capture_stderr=True, overwrite_output=True)
    except ffmpeg.Error as failed:
        last = (failed.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise Rejected(f"driving: its sound cannot be read ({last})", "set audio to drop, or repair the file") from None
