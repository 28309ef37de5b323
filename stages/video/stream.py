"""Opening and decoding a user's video with PyAV, within limits, every failure said as a Rejected."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from manifests.errors import Rejected
from stages.video.limits import Limits
from stages.video.sample_tables import check_tables

# By content, not by name. Playlists (HLS, concat) stay out: they make a decoder open other files and hosts.
CONTAINERS = "mov,matroska,avi,mpegts"
DECODER_THREADS = 2
MOST_CHANNELS = 64  # of a sound, which ffmpeg knows how to mix
MOST_STREAMS = 64  # pictures, tracks of sound, subtitles, attachments
UPLOAD_AGAIN = "upload it again; if it is damaged where it comes from, cut the damaged part out"
CONVERT = "check that it plays, then convert it: ffmpeg -i INPUT -c:v libx264 -pix_fmt yuv420p OUTPUT.mp4"


@contextmanager
def open_stream(path: Path, limits: Limits) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video and its main video stream, after the checks that need only the file's size and the header.

    Errors of libav inside the block become Rejected too.
    """
    _check_file(path, limits)
    with _open(path) as container:
        stream = _moving(path, container)
        if stream is None:
            raise rejected(path, "has no video stream", "give a file with a picture, not only sound")
        if stream.codec_context is None:
            raise rejected(path, "is of a codec that this machine cannot decode")
        _check_header(path, container, stream, limits)
        # For a bitstream that contradicts its header. Not an option of `av.open`: the size would come out as 0 × 0.
        stream.codec_context.options = {"max_pixels": str(limits.frame_pixels)}
        stream.codec_context.thread_count = DECODER_THREADS
        stream.thread_type = "AUTO"
        try:
            yield container, stream
        except av.FFmpegError as error:
            raise rejected(path, f"is damaged or truncated: {error.strerror}", UPLOAD_AGAIN) from error


def decoded(path: Path, limits: Limits) -> Generator[av.VideoFrame, None, None]:
    """Decode every shown frame in presentation order, as stored. Raises Rejected at a damaged one.

    Of randomly damaged files libav noticed 9 in 10 of H.264, all of AV1, 7 in 10 of ProRes, but under 1 in 10 of HEVC
    and VP9: there, almost any bits decode to some picture, and it may be wrong unnoticed.
    """
    count, size = 0, None
    with open_stream(path, limits) as (container, stream):
        try:
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise rejected(
                        path, f"is damaged: frame {count} does not decode, the {count} before it do", UPLOAD_AGAIN
                    )
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    raise rejected(path, f"changes its size at frame {count}: {size} to {frame.width, frame.height}")
                if count >= limits.frames:
                    raise too_long(path, f"more than {limits.frames} frames", limits)
                yield frame
                count += 1
        except av.FFmpegError as error:
            what = f"is damaged: it breaks off after {count} decoded frames: {error.strerror}"
            raise rejected(path, what, UPLOAD_AGAIN) from error


def sound_channels(path: Path) -> tuple[str, list[str]]:
    """(name of its layout, name of each channel: "FL", "TBR" …, "NONE" if it is not told) of the first sound track.

    Raises Rejected where it cannot be read, or has more than `MOST_CHANNELS`.
    """
    with _open(path) as container:
        track = container.streams.audio[0].codec_context
        if track is None:
            raise rejected(path, "has sound of a codec that this machine cannot decode", "set audio to drop")
        layout = track.layout
        if layout.nb_channels > MOST_CHANNELS:
            what = f"has sound of {layout.nb_channels} channels, at most {MOST_CHANNELS} are read"
            raise rejected(path, what, "set audio to drop, or mix it down")
        return layout.name, [channel.name for channel in layout.channels]


def announced_frames(container: InputContainer, stream: VideoStream) -> int:
    """Return how many packets the header announces, 0 where it does not: MP4 lists each that its edit list leaves."""
    return len(stream.index_entries) if is_mp4(container) else stream.frames


def is_mp4(container: InputContainer) -> bool:
    """Tell MP4 and its family (MOV, M4V, 3GP)."""
    return "mov" in container.format.name.split(",")


def check_length(path: Path, frames: int, seconds: Fraction, limits: Limits) -> None:
    """Raise Rejected for a video longer than the limits."""
    if frames > limits.frames:
        raise too_long(path, f"{frames} frames", limits)
    if seconds > limits.seconds:
        raise too_long(path, f"{float(seconds):.1f} s", limits)


def rejected(path: Path, what: str, remedy: str = CONVERT) -> Rejected:
    """Word a Rejected of this video."""
    return Rejected(f"video {path.name!r} {what}", remedy)


def too_long(path: Path, what: str, limits: Limits) -> Rejected:
    """Word a Rejected of a video over the limits of length."""
    allowed = f"{limits.frames} frames and {limits.seconds:g} s"
    # at 60 frames per second the frames end first, a third of the way
    remedy = "cut it into shorter clips, halve a high frame rate, or raise limits.frames or limits.seconds"
    return rejected(path, f"has {what}, the limits are {allowed}", remedy)


def _open(path: Path) -> InputContainer:
    check_tables(path)
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", "max_streams": str(MOST_STREAMS)}
    try:
        return av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except MemoryError as error:  # what libav says of streams too
        what = f"takes too much memory to be opened, or has more than {MOST_STREAMS} streams"
        raise rejected(path, what) from error
    except av.FFmpegError as error:
        raise rejected(
            path, f"is not a readable MP4, MOV, MKV, WebM, AVI or MPEG-TS video: {error.strerror}"
        ) from error


def _moving(path: Path, container: InputContainer) -> VideoStream | None:
    """The stream that libav thinks best; where that is cover art, marked as such or not, the one with most packets."""
    pictures = {stream.index for stream in container.streams.video if stream.disposition & Disposition.attached_pic}
    streams = [stream for stream in container.streams.video if stream.index not in pictures]
    best = next((stream for stream in streams if stream == container.streams.best("video")), None)
    if len(streams) < 2:
        return next(iter(streams), None)
    packets = dict.fromkeys((stream.index for stream in streams), 0)
    with _open(path) as counted, suppress(av.FFmpegError):  # of the damage, whoever reads it will tell
        for packet in counted.demux([stream for stream in counted.streams.video if stream.index in packets]):
            packets[packet.stream.index] += packet.size > 0
            if best is not None and packets[best.index] > 1:
                return best
    return max(streams, key=lambda stream: packets[stream.index])


def _check_file(path: Path, limits: Limits) -> None:
    if not path.is_file():
        raise rejected(path, "does not exist", "check the driving video's URI")
    size = path.stat().st_size
    if size == 0:
        raise rejected(path, "is empty (0 bytes)", "upload the video again")
    if size > limits.bytes:
        raise rejected(path, f"has {size} bytes, the limit is {limits.bytes}", "use a smaller file or raise the limit")


def _check_header(path: Path, container: InputContainer, stream: VideoStream, limits: Limits) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > limits.frame_pixels:
        what = f"has frames of {width}×{height} pixels, the limit is {limits.frame_pixels} pixels"
        raise rejected(path, what, "scale it down or raise the limit")
    if stream.duration is not None and stream.time_base is not None:
        seconds = stream.duration * stream.time_base
    else:
        seconds = Fraction(container.duration or 0, av.time_base)
    check_length(path, announced_frames(container, stream), seconds, limits)
