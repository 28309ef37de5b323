"""What a driving video is, told before its frames are read."""

import re
import struct
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.video.stream import VideoStream

from manifests.errors import Rejected
from stages.video.limits import Limits
from stages.video.stream import announced_frames, check_length, decoded, is_mp4, open_stream, rejected, too_long
from stages.video.timing import rate

# In these codecs one packet is one shown frame, so demuxing counts them.
COUNTED_BY_PACKET = ("h264", "hevc", "vp9", "prores", "av1")
# A picture may come a little after the sound; later than this, a film has nothing to show at its beginning.
LATEST_START = Fraction(1)


@dataclass(frozen=True)
class VideoFacts:
    """One driving video, as its frames will be read.

    frames: how many are shown (those that an edit list hides do not count); fps: the exact rate of a constant-rate
    video, the average or the motion's of a `variable` one; seconds: how long it shows, its last frame lasting 1/fps;
    width, height: as shown, upright and of square pixels; stored: (width, height) of what is decoded; rotation:
    degrees counter-clockwise that put the stored picture upright once its pixels are square, after which a `mirrored`
    one is flipped left to right; start: seconds from the beginning of the file to the first frame (where its sound
    belongs); corrected: in words, what is not taken as it is stored.
    """

    frames: int
    fps: Fraction
    seconds: Fraction
    width: int
    height: int
    stored: tuple[int, int]
    rotation: int
    mirrored: bool
    codec: str
    audio: bool
    variable: bool
    start: Fraction
    corrected: str = ""


class _Packets(NamedTuple):
    """What the container tells of its packets: pts of the shown ones in file order, and rates.

    pixel_aspect: width of a stored pixel by its height; where container and bitstream disagree, the container's;
    cover: whether another stream than the best is read, which is a still.
    """

    shown: list[int | None]
    tick: Fraction
    rates: list[Fraction | None]
    file_start: Fraction
    pixel_aspect: Fraction
    codec: str
    audio: bool
    cover: bool


def probe(path: Path, limits: Limits) -> VideoFacts:
    """Tell what the video is.

    Checked, in this order: size of the file; container, pixels per frame, frames and seconds as the header gives
    them; then the packets, undecoded (number and timestamps against what the header announced, which finds truncated
    files); then the first frame is decoded. Damage further inside is found by `Frames.read`. Codecs whose packets are
    not frames (VP8, MPEG-4 part 2 …) are decoded here, to count. Raises Rejected for whatever fails.
    """
    return examine(path, limits)[0]


def examine(path: Path, limits: Limits) -> tuple[VideoFacts, list[Fraction]]:
    """Return the facts and the timestamps: seconds from the first frame on, ascending, one per frame."""
    packets = _demux(path, limits)
    announced = packets.shown
    if packets.codec not in COUNTED_BY_PACKET or None in announced:
        announced = [frame.pts for frame in decoded(path, limits)]
    shown = sorted(pts for pts in announced if pts is not None)
    if len(shown) < len(announced):
        raise rejected(path, "has frames without timestamps")
    timestamps = [(pts - shown[0]) * packets.tick for pts in shown]
    if not shown or (len(shown) > 1 and timestamps[-1] == 0):
        raise rejected(path, f"has zero length: {len(shown)} frames at one moment")
    fps, variable, inferred = rate(timestamps, packets.tick, packets.rates)
    seconds = timestamps[-1] + 1 / fps if variable else len(shown) / fps
    check_length(path, len(shown), seconds, limits)
    start = max(Fraction(0), shown[0] * packets.tick - packets.file_start)
    _check_start(path, start)
    stored, rotation, mirrored = _first_frame(path, limits)
    square = _square(path, stored, packets.pixel_aspect, limits)
    width, height = reversed(square) if rotation % 180 else square
    facts = VideoFacts(
        frames=len(shown),
        fps=fps,
        seconds=seconds,
        width=width,
        height=height,
        stored=stored,
        rotation=rotation,
        mirrored=mirrored,
        codec=packets.codec,
        audio=packets.audio,
        variable=variable,
        start=start,
        corrected=_corrected(packets, square != stored, f"{fps} frames/s" if inferred else ""),
    )
    return facts, timestamps


def _corrected(packets: _Packets, squared: bool, inferred: str) -> str:
    """Name what is not taken as an earlier version or another reader would take it; it is part of content keys."""
    pixels = f"pixels of {packets.pixel_aspect}" if squared else ""
    return ", ".join(filter(None, ("the stream that moves" if packets.cover else "", pixels, inferred)))


def orientation(a: int, b: int, c: int, d: int) -> tuple[int | None, bool]:
    """Return (degrees counter-clockwise, then mirrored) of a display matrix's upper left; None if no quarter turn.

    Row vectors, as ISO 14496-12 has them: x' = ax + cy, y' = bx + dy.
    """
    mirrored = a * d - b * c < 0
    if mirrored:
        a, c = -a, -c
    size = max(abs(value) for value in (a, b, c, d)) or 1
    turn = round(a / size), round(b / size), round(c / size), round(d / size)
    return {(1, 0, 0, 1): 0, (0, -1, 1, 0): 90, (-1, 0, 0, -1): 180, (0, 1, -1, 0): 270}.get(turn), mirrored


def _demux(path: Path, limits: Limits) -> _Packets:
    shown: list[int | None] = []
    hidden, end = 0, Fraction(0)
    with open_stream(path, limits) as (container, stream):
        tick = stream.time_base or Fraction(1, av.time_base)
        for packet in container.demux(stream):
            if packet.size == 0:  # PyAV's end-of-stream marker
                continue
            if packet.is_corrupt:
                raise _truncated(path, f"its packet {len(shown) + hidden} is cut off")
            if packet.is_discard:
                hidden += 1
                continue
            shown.append(packet.pts)
            end = max(end, ((packet.pts or 0) + (packet.duration or 0)) * packet.time_base)
            if len(shown) > limits.frames:
                raise too_long(path, f"more than {limits.frames} frames", limits)
        if is_mp4(container):
            announced = announced_frames(container, stream)
            if len(shown) + hidden < announced:
                raise _truncated(path, f"it announces {announced} frames and holds {len(shown) + hidden}")
        elif len(known := sorted(pts for pts in shown if pts is not None)) == len(shown) > 1:
            longest = max(after - before for before, after in pairwise(known)) * tick
            _check_end(path, container, stream, longest, end)
        return _Packets(
            shown,
            tick,
            [stream.average_rate, stream.guessed_rate, stream.base_rate],
            Fraction(container.start_time or 0, av.time_base),
            stream.sample_aspect_ratio or Fraction(1),
            stream.codec_context.codec.canonical_name,
            bool(container.streams.audio),
            stream != container.streams.best("video"),
        )


def _check_end(path: Path, container: InputContainer, stream: VideoStream, longest: Fraction, end: Fraction) -> None:
    """Hold the end of the last packet against the announced one: Matroska and AVI do not announce every packet.

    `longest` is the longest time between two frames.
    """
    announced = None
    # Matroska's, per stream: 00:00:04.000000000
    if tag := re.fullmatch(r"(\d{1,4}):(\d\d):(\d\d\.\d{1,9})", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = tag.groups()
        announced = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    elif len(container.streams) == 1 and container.duration is not None:
        announced = Fraction(container.duration + (container.start_time or 0), av.time_base)
    if announced is not None and announced - end > 2 * longest:
        raise _truncated(path, f"it announces {float(announced):.2f} s and holds {float(end):.2f} s")


def _check_start(path: Path, start: Fraction) -> None:
    if start > LATEST_START:
        what = f"shows its first picture only {float(start):.2f} s after its beginning"
        cut = f"cut the part without picture: ffmpeg -i INPUT -ss {float(start):.2f} -c:v libx264 OUTPUT.mp4"
        raise rejected(path, what, cut)


def _square(path: Path, stored: tuple[int, int], pixel_aspect: Fraction, limits: Limits) -> tuple[int, int]:
    """(width, height) in square pixels: as players do, the width is stretched and every line kept."""
    width, height = max(1, round(stored[0] * pixel_aspect)), stored[1]
    if width * height > limits.frame_pixels:
        what = f"is to be shown at {width}×{height} pixels, the limit is {limits.frame_pixels} pixels"
        raise rejected(path, what, "scale it down or raise the limit")
    return width, height


def _first_frame(path: Path, limits: Limits) -> tuple[tuple[int, int], int, bool]:
    """Decode one frame: ((width, height) as stored, degrees counter-clockwise to upright, mirrored)."""
    with closing(decoded(path, limits)) as frames:
        frame = next(frames, None)
    if frame is None:
        raise rejected(path, "has a video stream of which not one frame decodes")
    stored = frame.width, frame.height
    matrix = next((bytes(data) for data in frame.side_data if data.type == SideData.DISPLAYMATRIX), None)
    if matrix is None:
        return stored, 0, False
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    rotation, mirrored = orientation(a, b, c, d)
    if rotation is None:
        raise rejected(path, f"is to be shown turned by {frame.rotation}°, which is no quarter turn")
    return stored, rotation, mirrored


def _truncated(path: Path, what: str) -> Rejected:
    return rejected(path, f"is truncated: {what}", "upload the complete file again")
