"""Peak memory of every stage by the length of the clip.

    python -m tests.bench.memory_by_length [ANIMATOR…] [--frames 60 600 6000] [--stages STAGE…] [--golden FOLDER]

The driving video is one of the sample catalogue's, looped and with a sound, in the form that the animator is driven
by. Each stage runs by itself in a fresh process, on what the stages before it left in the cache, with the published
systems' recorded tiny weights from FOLDER (by default ../shared/golden) and the bundled ones of `drawn`. `run` is
`catwalk animate` on a cluster of its own: its driver, and the largest of its workers.

Peaks are of resident memory; beside them what each frame adds to that of the next shorter clip.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import psutil

CHECKOUT = Path(__file__).resolve().parents[2]
CATALOGUE = CHECKOUT / "manifests" / "sample" / "catalogue"
STAGES = ("validate", "pose", "inputs", "animate", "run")
FPS = 24
SMALL = (64, 96)  # width and height of the film
# what drives each animator, at the smallest size that it takes
ROWS: dict[str, dict[str, Any]] = {
    "drawn": {"driving": "film.mp4", "retarget": "bone_length"},
    "animate_anyone": {"driving": "film.mp4", "driving_kind": "skeleton"},
    "magicanimate": {"driving": "film.mp4", "driving_kind": "densepose"},
    "text2video_zero": {"driving": "film.mp4", "driving_kind": "skeleton", "prompt": "a dancer"},
    "dreampose": {"driving": "uv.npz", "driving_kind": "densepose_uv", "width": 64, "height": 128},
    # at their own rates, so that as many frames are drawn as are shown
    "wan_vace": {"driving": "film.mp4", "driving_kind": "skeleton", "guidance": 1.0, "fps": "16"},
    "wan_animate": {"driving": "film.mp4", "driving_kind": "skeleton", "guidance": 1.0, "fps": "30"},
}
COMMITTED = CHECKOUT / "tests" / "golden"  # recordings that are not in the other folder


def row_of(animator: str, size: Sequence[int]) -> dict[str, Any]:
    """The manifest row of the one clip."""
    width, height = size
    row = {"id": animator, "animator": animator, "reference": "reference.png", "steps": 1, "width": width}
    row |= {"height": height, **ROWS[animator]}
    if animator == "text2video_zero":
        del row["reference"]
    return row if row["driving"] == "uv.npz" else {**row, "audio": "driving"}


def write_media(folder: Path, frames: int) -> None:
    """Reference, film with sound, and U and V, of as many frames."""
    (folder / "reference.png").write_bytes((CATALOGUE / "striped-dress.png").read_bytes())
    seconds = str(frames / FPS)
    looped = ["-stream_loop", "-1", "-i", str(CATALOGUE / "dance.mp4")]
    sound = ["-f", "lavfi", "-t", seconds, "-i", "sine=frequency=440"]
    pictures = ["-vf", f"setpts=N/{FPS}/TB,scale=96:128", "-r", str(FPS), "-frames:v", str(frames)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *looped, *sound]
    command += ["-map", "0:v", "-map", "1:a", *pictures, "-pix_fmt", "yuv420p", str(folder / "film.mp4")]
    subprocess.run(command, check=True)
    body = np.zeros((2, 32, 16), np.float32)
    body[:, 8:28, 4:12] = 0.5
    with zipfile.ZipFile(folder / "uv.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("uv.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (frames, *body.shape)}
            np.lib.format.write_array_header_1_0(member, header)
            for number in range(frames):
                member.write(np.roll(body, number % 4, axis=2).tobytes())
        with archive.open("fps.npy", "w") as member:
            np.lib.format.write_array(member, np.array(str(FPS)))


def configuration(golden: Path, cache: Path) -> Any:
    """A laptop's, with the recorded weights."""
    from pipelines.configuration import RunConfig

    folders = {name: golden / name if (golden / name).is_dir() else COMMITTED / name for name in ROWS}
    checkpoints = {name: str(folder / "checkpoint") for name, folder in folders.items() if name != "drawn"}
    fields = {"checkpoints": checkpoints, "cache": str(cache), "limits": {"frames": 100_000, "seconds": 10_000}}
    return RunConfig.load(None, {**fields, "animate_pool": {"threads": 1, "device": "cpu"}})


def do(stage: str, folder: Path, golden: Path, row: dict[str, Any]) -> dict[str, float]:
    """Run one stage in this process: its peak in MB, of the largest process beside it, and the seconds it took."""
    import torch

    torch.set_num_threads(1)
    begun, beside = time.perf_counter(), [0]
    config = configuration(golden, folder / "cache")
    with watched(beside):
        if stage == "run":
            in_a_run(config, row, folder)
        else:
            by_itself(stage, config, row, folder)
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    return {"peak": peak / 2**20, "beside": max(beside) / 2**20, "seconds": time.perf_counter() - begun}


def by_itself(stage: str, config: Any, row: dict[str, Any], folder: Path) -> None:
    """One stage of `catwalk clip`."""
    from pipelines import stage_of
    from pipelines.clip import StageChain

    chain = StageChain(config, str(folder / "out"))
    work = chain.work({**row, **{name: str(folder / row[name]) for name in ("reference", "driving") if name in row}})
    if stage == "pose":
        poses = stage_of.extract_pose(chain.settings)
        poses.for_driving(work)
        poses.for_reference(work)
    elif stage == "inputs":
        stage_of.prepare_inputs(chain.settings)(work)
    elif stage == "animate":
        result = chain.film(work)
        assert result.frames == work.frames, result


def in_a_run(config: Any, row: dict[str, Any], folder: Path) -> None:
    """The whole of it on Ray, from nothing."""
    from pipelines.animate import run
    from tests.made.sample_media import write_manifest

    config = config.model_copy(update={"cache": str(folder / "cache of the run")})
    outcome = run(config, write_manifest(folder / "manifest.parquet", [row]), str(folder / "out of the run"))
    assert outcome.exit_code == 0, outcome.results


@contextmanager
def watched(largest: list[int]) -> Iterator[None]:
    """Keep the largest resident memory of any one process that this one began, looked at ten times a second."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for child in psutil.Process().children(recursive=True):
                try:
                    largest[0] = max(largest[0], child.memory_info().rss - child.memory_info().shared)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def measured(given: argparse.Namespace, frames: int, animator: str) -> dict[str, dict[str, float]]:
    """The figures of each stage, each from a process of its own."""
    size = [str(side) for side in given.size]
    found = {}
    with tempfile.TemporaryDirectory(prefix="catwalk-bench-") as scratch:
        folder = Path(scratch)
        write_media(folder, frames)
        for stage in STAGES:
            if stage == "run" and stage not in given.stages:
                continue
            command = [sys.executable, "-m", "tests.bench.memory_by_length", animator, "--only", stage]
            command += ["--folder", str(folder), "--golden", str(given.golden.absolute()), "--size", *size]
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
            found[stage] = json.loads(made.stdout.splitlines()[-1])
    return {stage: found[stage] for stage in given.stages}


def main() -> None:
    """Print a table of each animator's stages, length by length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("animators", nargs="*", default=list(ROWS), metavar="ANIMATOR")
    parser.add_argument("--frames", nargs="+", type=int, default=[60, 600, 6000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--size", nargs=2, type=int, default=SMALL, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--golden", type=Path, default=CHECKOUT.parent / "shared" / "golden")
    parser.add_argument("--only", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(do(given.only, given.folder, given.golden, row_of(given.animators[0], given.size))))
        return
    print("animator          stage      frames  peak MB  a frame adds KB  beside it MB  seconds", flush=True)
    for animator in given.animators:
        shorter: dict[str, tuple[int, float]] = {}
        for frames in sorted(given.frames):
            for stage, one in measured(given, frames, animator).items():
                before, peak = shorter.get(stage, (0, 0.0))
                added = f"{(one['peak'] - peak) * 1024 / (frames - before):.1f}" if before else "–"
                shorter[stage] = frames, one["peak"]
                print(
                    f"{animator:<17} {stage:<9} {frames:7d} {one['peak']:8.0f} {added:>16} {one['beside']:13.0f} "
                    f"{one['seconds']:8.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
