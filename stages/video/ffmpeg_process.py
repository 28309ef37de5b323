"""Running the wheel-shipped ffmpeg on local files."""

import subprocess
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, cast

import ffmpeg
import imageio_ffmpeg

from manifests.errors import Problem

ERROR_LINES = 8
GIVE_FFMPEG = "unset IMAGEIO_FFMPEG_EXE or let it name an ffmpeg, or install imageio-ffmpeg again: see `catwalk doctor`"


class FfmpegProcess:
    """One ffmpeg process whose messages are drained in a thread, as a full pipe of them would stop it."""

    def __init__(
        self,
        command: ffmpeg.Stream,
        remedy: str = "see `catwalk doctor`, and whether the disk is full",
        confine: Callable[[], None] | None = None,
    ) -> None:
        """`confine` is called in its process before it begins, and only where no other thread runs."""
        self._remedy = remedy
        command = command.global_args("-hide_banner", "-loglevel", "error").overwrite_output()
        arguments = command.compile(cmd=program())
        try:
            self._process = subprocess.Popen(  # noqa: S603 (built word by word by ffmpeg-python, no shell)
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                preexec_fn=confine,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise Problem(f"ffmpeg ({arguments[0]}) does not start: {error.strerror}", GIVE_FFMPEG) from None
        self._input, self._errors = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stderr)
        self._messages: deque[bytes] = deque(maxlen=ERROR_LINES)
        self._drain = Thread(target=self._messages.extend, args=(self._errors,), name="ffmpeg", daemon=True)
        self._drain.start()

    def feed(self, data: memoryview) -> None:
        """Write to its input. Raises Problem when it has ended."""
        try:
            self._input.write(data)
        except BrokenPipeError:
            self.finish()
            raise Problem("ffmpeg stopped reading frames", self._remedy) from None

    def finish(self) -> None:
        """Close the input and wait for the file. Raises Problem with ffmpeg's last messages if it failed."""
        with suppress(BrokenPipeError):  # it ended before it had read everything; its exit status tells more
            self._input.close()
        status = self._process.wait()
        self._drain.join()
        if status:
            said = b"".join(self._messages).decode(errors="replace").strip()
            raise Problem(f"ffmpeg failed with status {status}: {said}", self._remedy)

    def kill(self) -> None:
        """End the process, whatever it is doing; no harm where it has ended."""
        self._process.kill()
        self._process.wait()
        self._drain.join()
        for pipe in (self._input, self._errors):
            with suppress(BrokenPipeError):
                pipe.close()


def program() -> str:
    """The ffmpeg to start. Raises Problem where there is none."""
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise Problem(f"no ffmpeg: {error}", GIVE_FFMPEG) from None


def local_file(path: Path) -> str:
    """Name a local file so that ffmpeg never takes it for a URL, an option or a pattern."""
    return f"file:{path.absolute()}"
