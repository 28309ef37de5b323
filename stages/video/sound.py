"""The sound of a driving video, taken out of it before it comes near a model."""

from collections.abc import Callable
from pathlib import Path

import av
import ffmpeg

from manifests.errors import Damaged
from stages.video.ffmpeg_process import FfmpegProcess, local_file
from stages.video.stream import CONTAINERS, sound_channels

MOST_CHANNELS = 8  # of FLAC and AAC
HIGH = "T"  # begins the names of loudspeakers under the ceiling, which AAC has in one layout only
HIGH_IN_AAC = "5.1.2(back)"
CENTRE = 0.7071  # of a loudspeaker in the middle, to either side


def extract_sound(
    video: Path,
    target: Path,
    begin: float,
    told: tuple[str, list[str]] | None = None,
    confine: Callable[[], None] | None = None,
) -> None:
    """Write the first sound track as FLAC, from `begin` on: the second at which the video shows its first picture.

    A track that begins later than that is led by silence. What a film's sound cannot hold is mixed down to stereo:
    more than 8 channels, and loudspeakers under the ceiling. Raises Problem when it cannot be read.

    told: what `sound_channels` has found; confine: called in ffmpeg's process before ffmpeg begins.
    """
    layout, channels = told or sound_channels(video)
    high = any(name.startswith(HIGH) for name in channels) and layout != HIGH_IN_AAC
    mixed = f"{_stereo(channels)}," if high or len(channels) > MOST_CHANNELS else ""
    source = ffmpeg.input(local_file(video), protocol_whitelist="file", format_whitelist=CONTAINERS)
    command = source["a:0"].output(
        local_file(target),
        f="flac",
        acodec="flac",
        af=f"{mixed}aresample=async=1:first_pts=0,atrim=start={begin:.6f},asetpts=PTS-STARTPTS",
        map_metadata=-1,
    )
    remedy = "set audio to drop, or repair the driving video's sound"
    process = FfmpegProcess(command.global_args("-nostdin"), remedy, confine)
    try:
        process.finish()
    finally:
        process.kill()


def check_sound(path: Path) -> None:
    """Raise `Damaged` unless a stored sound can be decoded to its end: every frame of a FLAC has a checksum."""
    try:
        with av.open(str(path), format="flac") as file:
            track = file.streams.audio[0]
            track.codec_context.options = {"err_detect": "crccheck+explode"}
            found = sum(frame.samples for frame in file.decode(track))
            if not found or found != (track.duration or found):
                raise ValueError(f"{found} samples of {track.duration} are whole")
    except Exception as broken:
        raise Damaged(f"sound {path.name} cannot be read: {broken}", "delete it and run again") from None


def _stereo(channels: list[str]) -> str:
    """ffmpeg's filter that mixes the channels to two, by their names; unnamed ones are pairs of left and right.

    "<" scales the gains so that nothing clips.
    """
    sides: dict[str, list[str]] = {"FL": [], "FR": []}
    for number, name in enumerate(channels):
        if name.startswith("LFE"):  # too low to have a side: players of stereo leave it out
            continue
        side = name if name != "NONE" else "LR"[number % 2]
        left, right = "L" in side, "R" in side
        gain = 1 if left != right else CENTRE
        if left or not right:
            sides["FL"].append(f"{gain}*c{number}")
        if right or not left:
            sides["FR"].append(f"{gain}*c{number}")
    return "pan=stereo|" + "|".join(f"{name}<{'+'.join(parts)}" for name, parts in sides.items())
