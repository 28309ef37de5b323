"""What it costs to read files in the sandbox: processor time with and without it, alternating, medians.

    python -m tests.bench.sandbox_cost [--times N]

Time of the template and of its copies is counted. Seconds on the clock tell nothing on a busy machine; these do, a
little: what else runs takes from caches.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from manifests.temporary import temporary_folder
from stages.poses.files import keypoint_file
from stages.sandbox import reading
from stages.sandbox.process import SANDBOX
from stages.video import image, read, sound
from stages.video.limits import Limits

LIMITS = Limits()
AT_ONCE = 10  # readings that are timed together: the kernel counts the copies' time in hundredths of a second


def made(folder: Path) -> tuple[Path, Path, Path]:
    """(a film of 100 frames of 512² with sound, a picture of 768×1024, keypoints of 100 frames)"""
    film, picture, keypoints = folder / "film.mp4", folder / "picture.jpg", folder / "keypoints.npz"
    sources = ["-f", "lavfi", "-i", "testsrc2=s=512x512:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", *sources, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(film)]
    subprocess.run(command, check=True, capture_output=True)
    noise = np.random.default_rng(0).integers(0, 255, (16, 12, 3), np.uint8)
    Image.fromarray(noise).resize((768, 1024)).save(picture, quality=92)
    points = np.random.default_rng(0).uniform(0, 500, (100, 1, 134, 3))
    np.savez(keypoints, keypoints=points, width=512, height=512, fps=25)
    return film, picture, keypoints


def cases(folder: Path) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """(without, in the sandbox) by what is read."""
    film, picture, keypoints = made(folder)
    plain, boxed, target = read.Frames(film, LIMITS), reading.Frames(film, LIMITS), folder / "sound.flac"
    return {
        "probe of a film": (lambda: read.Frames(film, LIMITS), lambda: reading.Frames(film, LIMITS)),
        "picture, 768×1024": (lambda: image.read_image(picture, LIMITS), lambda: reading.read_image(picture, LIMITS)),
        "keypoints, 100 frames": (
            lambda: keypoint_file.import_keypoints(keypoints, LIMITS),
            lambda: reading.import_keypoints(keypoints, LIMITS),
        ),
        "sound, 4 s": (
            lambda: sound.extract_sound(film, target, 0.0),
            lambda: reading.extract_sound(film, target, 0.0, LIMITS),
        ),
        "100 frames of 512²": (lambda: sum(1 for _ in plain.read()), lambda: sum(1 for _ in boxed.read())),
    }


def taken() -> float:
    """Seconds of processor time of this process, its template, and all that they started and that has ended."""
    own = sum(os.times()[:4])
    template = SANDBOX._template
    if template is None:
        return own
    fields = Path(f"/proc/{template.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return own + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def cost(call: Callable[[], object]) -> float:
    """Milliseconds of processor time of one call."""
    before = taken()
    for _ in range(AT_ONCE):
        call()
    time.sleep(0.1)  # until the last copy's end has been counted
    return (taken() - before) / AT_ONCE * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5, help="measurements of each, of which the median is told")
    times = parser.parse_args().times
    with temporary_folder("bench") as folder:
        picture = made(folder)[1]
        before = taken()
        reading.read_image(picture, LIMITS)
        print(f"first reading of a process, with the template's start: {(taken() - before) * 1e3:.0f} ms")
        print("| read | without, ms | in the sandbox, ms | more, ms |\n|---|---|---|---|")
        for name, (without, within) in cases(folder).items():
            without(), within()
            pairs = [(cost(without), cost(within)) for _ in range(times)]
            plain, boxed = (statistics.median(side) for side in zip(*pairs, strict=True))
            more = statistics.median(one - other for other, one in pairs)
            print(f"| {name} | {plain:.1f} | {boxed:.1f} | {more:.1f} |", flush=True)


if __name__ == "__main__":
    main()
