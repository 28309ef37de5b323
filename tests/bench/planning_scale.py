"""Seconds and memory of planning a manifest of many rows: everything before the first clip is worked on.

    python -m tests.bench.planning_scale ROWS [ROWS …] [--missing | --media | --films]

Two manifests of each size, every row with an id of its own: one whose files are all missing, so that every row is
rejected and the whole run is over with its table; and one of 10 driving videos and 100 references of small real media,
with --dry-run, twice: as for the first time, and with what is known of the files kept. With --films the rows of real
media are made instead, by an animator that costs nothing: what remains is the graph's own time per row, poses, ffmpeg.

Each runs as a command of its own would, Ray's start included. Memory is the driver's resident set at its peak. The
machine's load is printed first: from a busy one only memory and CPU seconds are worth keeping.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.painted import IMPLEMENTATION, NAME

VIDEOS, REFERENCES = 10, 100
ONE_RUN = """
import json, resource, sys, time
import psutil
begun = time.perf_counter()
from pipelines.animate import run
from pipelines.configuration import RunConfig
from tests.made.sample_media import CHECKPOINT
said = []
def say(line):
    resident = psutil.Process().memory_info().rss // 2**20
    said.append((round(time.perf_counter() - begun, 1), f"{resident:5} MB  {line}"))
config = RunConfig.load(None, {"checkpoints": {"magicanimate": str(CHECKPOINT)}, "animators": json.loads(sys.argv[4])})
outcome = run(config, sys.argv[1], sys.argv[2], dry_run=sys.argv[3] == "dry", say=say)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
this = psutil.Process()
cpu = [time.process_time(), sum(sum(one.cpu_times()[:4]) for one in this.children(recursive=True))]
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "peak_mb": peak, "cpu": cpu, "said": said, "summary": outcome.summary}))
"""


def write_media(folder: Path, frames: int) -> None:
    """Ten driving videos and a hundred references."""
    from tests.made.sample_media import write_driving, write_reference

    for number in range(VIDEOS):
        write_driving(folder / f"driving{number}.mp4", frames=frames, seed=number)
    for number in range(REFERENCES):
        write_reference(folder / f"reference{number}.png", seed=number)


def write_rows(path: Path, rows: int, missing: bool = False, painted: bool = False) -> str:
    """A manifest of so many rows, each with id and seed of its own.

    `missing` ones name files that are not there, `painted` ones an animator that costs nothing.
    """
    numbers = range(rows)
    reference = "absent{}.png" if missing else "reference{}.png"
    table = pa.table(
        {
            "id": [f"sku-{number:07}" for number in numbers],
            "reference": [reference.format(number if missing else number % REFERENCES) for number in numbers],
            "driving": [f"driving{number % VIDEOS}.mp4" for number in numbers],
            "driving_kind": ["skeleton" if painted else "densepose"] * rows,
            "animator": [NAME if painted else "magicanimate"] * rows,
            "frame_count": [4 if painted else None] * rows,
            "steps": [1] * rows,
            "seed": list(numbers),
            "width": [48] * rows,
            "height": [64] * rows,
            "sku": [f"A-{number}" for number in numbers],
        }
    )
    pq.write_table(table, path)
    return str(path)


def planned(manifest: str, output: Path, how: str, animators: dict[str, str]) -> dict:
    """Seconds, peak memory in MB and what was said by one run in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", ONE_RUN, manifest, str(output), how, json.dumps(animators)],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise SystemExit(ended.stderr[-3000:])
    return json.loads(ended.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="+")
    parser.add_argument("--frames", type=int, default=100, help="of each driving video")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--missing", action="store_true", help="only the manifests of missing files")
    kinds.add_argument("--films", action="store_true", help="only films of real media, made")
    kinds.add_argument("--media", action="store_true", help="only those of real media")
    parser.add_argument("--verbose", action="store_true", help="print what each run said, and when")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="catwalk-bench-") as scratch:
        folder = Path(scratch)
        write_media(folder, options.frames)
        for rows in options.rows:
            cases = []
            if options.films:
                manifest = write_rows(folder / f"films{rows}.parquet", rows, painted=True)
                cases += [("films, whole run", manifest, folder / f"films{rows}", "run")]
            if not (options.media or options.films):
                manifest = write_rows(folder / f"missing{rows}.parquet", rows, missing=True)
                cases += [("missing files, whole run", manifest, folder / f"missing{rows}", "run")]
            if not (options.missing or options.films):
                manifest = write_rows(folder / f"media{rows}.parquet", rows)
                cases += [("real media, dry run", manifest, folder / f"media{rows}", "dry")]
                cases += [("the same, files known", manifest, folder / f"media{rows}", "dry")]
            for name, *run in cases:
                begun = time.perf_counter()
                # whose import loads torch into the driver
                outcome = planned(*run, {NAME: IMPLEMENTATION} if options.films else {})
                whole = time.perf_counter() - begun
                print(
                    f"{rows:>8} rows  {name:<26} {whole:7.1f} s  {outcome['peak_mb']:5} MB, "
                    f"CPU seconds: driver {outcome['cpu'][0]:.1f}, Ray and its workers {outcome['cpu'][1]:.1f}",
                    flush=True,
                )
                if options.films:
                    made = outcome["summary"]["done"]
                    print(f"          {made} films, {outcome['seconds'] / max(1, made):.3f} s per row", flush=True)
                if options.verbose:
                    for at, line in outcome["said"]:
                        print(f"          {at:7.1f} s  {line}")


if __name__ == "__main__":
    main()
