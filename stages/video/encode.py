"""Writing films: H.264 MP4 through ffmpeg, and their poster images."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import ffmpeg
import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from manifests.errors import Problem
from stages.video.ffmpeg_process import FfmpegProcess, local_file
from stages.video.stream import CONTAINERS

ENCODERS = {"h264": "libx264"}
# What a film's sound may be stored in: taken out of the driving video as FLAC, or the video itself.
SOUND_CONTAINERS = f"{CONTAINERS},flac,wav"
# Of every file written here: the index at the front, no dates and no versions.
MP4 = {"format": "mp4", "movflags": "+faststart", "fflags": "+bitexact", "map_metadata": -1}


class EncodeRecipe(BaseModel):
    """How a film is encoded; part of its key.

    crf: quality, lower is better; threads: x264 gives the same bytes for the same number only; poster_quality: JPEG.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    codec: Literal["h264"] = "h264"
    crf: int = Field(18, ge=1, le=51)  # 0 is lossless, which the high profile has not
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"] = (
        "medium"
    )
    threads: int = Field(2, ge=1, le=16)
    poster_quality: int = Field(90, ge=1, le=95)


class Encoder:
    """Encodes frames as they come: a finished MP4 stands at `path` after a clean exit, nothing after an exception.

    yuv420p, BT.709, index at the front, exactly the written frames at exactly `fps`; the same frames give the same
    bytes. `audio` is a local file whose first sound track, from `audio_start` seconds on, is cut to the film's length
    (a shorter one ends sooner; a file without sound gives a silent film).
    Raises Problem for sizes that are odd, frames of another size, no frames at all, and where ffmpeg fails.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: Fraction,
        recipe: EncodeRecipe,
        audio: Path | None = None,
        audio_start: Fraction = Fraction(0),
    ) -> None:
        if width % 2 or height % 2:
            raise Problem(f"the film's size {width}×{height} is odd", "choose an even width and height")
        if audio is not None and not audio.is_file():
            raise Problem(f"sound file {audio.name!r} does not exist", "set audio to drop, or run again")
        self._path = path
        self._shape = (height, width, 3)
        self._fps = Fraction(fps)
        self._recipe = recipe
        self._audio = audio
        self._audio_start = audio_start
        self._frames = 0
        # Under another name until it is finished: a killed process leaves no film that looks whole.
        self._silent = path.with_name(f"{path.name}.silent.part")
        self._sounding = path.with_name(f"{path.name}.sounding.part")

    def __enter__(self) -> Self:
        height, width, _ = self._shape
        frames = ffmpeg.input(
            "pipe:",
            format="rawvideo",
            pix_fmt="rgb24",
            s=f"{width}x{height}",
            framerate=str(self._fps),
            protocol_whitelist="pipe",
        )
        self._path.unlink(missing_ok=True)
        self._ffmpeg = FfmpegProcess(_film(frames, self._silent, self._recipe))
        return self

    def write(self, frames: np.ndarray) -> None:
        """Append frames, uint8 (n, height, width, 3)."""
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != self._shape:
            raise Problem(
                f"frames of {frames.dtype} {frames.shape} in a film of uint8 (n, {', '.join(map(str, self._shape))})",
                "the animator gives frames of another size than the clip's: report it as a defect",
            )
        self._ffmpeg.feed(np.ascontiguousarray(frames).data)
        self._frames += len(frames)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                return
            if not self._frames:
                raise Problem("the film has no frames", "choose a range of the driving video that has frames")
            self._ffmpeg.finish()
            if self._audio is not None:
                self._add_sound(self._audio)
                self._sounding.replace(self._path)
            else:
                self._silent.replace(self._path)
        finally:
            self._ffmpeg.kill()
            self._silent.unlink(missing_ok=True)
            self._sounding.unlink(missing_ok=True)

    def _add_sound(self, audio: Path) -> None:
        """Lay the sound under the finished picture, whose length only now is known."""
        length = self._frames / self._fps
        film = ffmpeg.input(local_file(self._silent), protocol_whitelist="file", format_whitelist="mov")
        sound = ffmpeg.input(
            local_file(audio),
            ss=_seconds(self._audio_start),
            protocol_whitelist="file",
            format_whitelist=SOUND_CONTAINERS,
        )
        both = ffmpeg.output(
            film["v:0"],
            sound["a:0?"],
            local_file(self._sounding),
            vcodec="copy",
            acodec="aac",
            # A track that begins later than the picture is led by silence instead of being moved to the front.
            af=f"aresample=async=1:first_pts=0,atrim=duration={_seconds(length)}",
            **{"flags:a": "+bitexact"},
            **MP4,
        )
        mux = FfmpegProcess(
            both.global_args("-nostdin"), remedy="set audio to drop, or repair the driving video's sound"
        )
        try:
            mux.finish()
        finally:
            mux.kill()


def poster(frame: np.ndarray, path: Path, quality: int) -> None:
    """Write a frame, uint8 RGB (height, width, 3), as JPEG of `quality` 1…95."""
    Image.fromarray(frame).save(path, "JPEG", quality=quality)


def _film(frames: ffmpeg.Stream, path: Path, recipe: EncodeRecipe) -> ffmpeg.Stream:
    """Convert RGB to limited-range BT.709, and say so in the stream: behind a filter graph the tags get lost."""
    bt709 = {"color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709", "range": "tv"}
    pictures = (
        frames.filter("scale", out_color_matrix="bt709", out_range="tv", flags="bicubic+accurate_rnd+full_chroma_int")
        .filter("format", "yuv420p")
        .filter("setparams", **bt709)
    )
    return pictures.output(
        local_file(path),
        vcodec=ENCODERS[recipe.codec],
        crf=recipe.crf,
        preset=recipe.preset,
        threads=recipe.threads,
        **{"profile:v": "high", "flags:v": "+bitexact"},
        **MP4,
    )


def _seconds(value: Fraction) -> str:
    return f"{float(value):.6f}"
