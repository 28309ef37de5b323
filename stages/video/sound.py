"""The sound of a driving video, taken out of it before it comes near a model."""

from pathlib import Path

import ffmpeg

from stages.video.ffmpeg_process import FfmpegProcess, local_file
from stages.video.stream import CONTAINERS


def extract_sound(video: Path, target: Path, begin: float) -> None:
    """Write the first sound track as FLAC, from `begin` on: the second at which the video shows its first picture.

    A track that begins later than that is led by silence. Raises Problem when ffmpeg cannot read it.
    """
    source = ffmpeg.input(local_file(video), protocol_whitelist="file", format_whitelist=CONTAINERS)
    command = source["a:0"].output(
        local_file(target),
        acodec="flac",
        af=f"aresample=async=1:first_pts=0,atrim=start={begin:.6f},asetpts=PTS-STARTPTS",
        map_metadata=-1,
    )
    process = FfmpegProcess(command.global_args("-nostdin"), "set audio to drop, or repair the driving video's sound")
    try:
        process.finish()
    finally:
        process.kill()
