"""Rows that kill, hang, allocate without end or raise, in every stage, among good ones: who ends how, and how soon.

    python -m tests.chaos.poison                      # 100 rows, two workers of each stage
    python -m tests.chaos.poison --workers 1
    python -m tests.chaos.poison --kill-driver 90     # and once more under the same run id

Exit status 0 when every good row is done, and every poisonous one failed in its stage after bounded tries.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import yaml

from manifests import results
from manifests.results import Result
from pipelines.running.attempts import attempts_in
from tests.chaos.driver import Driver
from tests.made.poison import DEADLY, KINDS, STAGES, STILL, bounds, poisoned
from tests.made.sample_media import clip_row, write_driving, write_manifest, write_reference

SAID = {
    "kills": "its worker died",
    "hangs": "its worker was ended [0-9]+ times: no end after",
    "allocates": "its worker was ended [0-9]+ times: more than 1.5 GB of memory",
    "raises": "was poison",
}


def night(folder: Path, rows: int, workers: int, seconds: float, attempts: int, kill_after: float | None) -> Driver:
    """Run a night of so many rows to its end, its driver killed once after so many seconds."""
    for name in ("driving", *(f"driving{number}" for number in range(4))):
        write_driving(folder / f"{name}.mp4", seed=ord(name[-1]))
    write_reference(folder / "reference.png")
    kinds = enumerate(itertools.product(STAGES, KINDS))
    poison = [poisoned(folder, stage, kind, number) for number, (stage, kind) in kinds]
    good = range(rows - len(poison))
    table = [clip_row(f"good{one}", seed=one, **STILL, driving=f"driving{one % 4}.mp4") for one in good]
    for number, row in enumerate(poison):  # spread over the night
        table.insert(number * rows // len(poison), row)
    manifest = write_manifest(folder / "m.parquet", table)
    config = bounds(seconds, attempts)
    for stage in STAGES:
        config[f"{stage}_pool"] |= {"size": workers, "num_cpus": 0.1}
    (folder / "night.yaml").write_text(yaml.safe_dump(config))
    words = [manifest, str(folder / "out"), "--config", str(folder / "night.yaml"), "--run-id", "night"]
    driver = Driver(words, folder / "log", {"RAY_ADDRESS": "local"})
    if kill_after is not None:
        threading.Timer(kill_after, driver.kill).start()
    driver.night()
    return driver


def wrong(result: Result, tries: int, most: int) -> str:
    """What is not as it must be with a row; "" if nothing."""
    stage, _, kind = str(result.id).partition("-")
    if stage not in STAGES:
        return "" if result.status == "done" else f"a good row {result.status}: {result.error}"
    kind = kind.partition("-")[0]
    if (result.status, result.stage) != ("failed", stage):
        return f"{result.status} in {result.stage}"
    if not re.search(SAID[kind], result.error or ""):
        return f"said: {result.error}"
    return f"tried {tries} times" if tries > most else ""


def main(words: list[str] | None = None) -> int:
    """Run one night and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2, help="of each stage")
    parser.add_argument("--seconds", type=float, default=20, help="that a row may take in a stage")
    parser.add_argument("--attempts", type=int, default=2, help="deaths that set a row aside")
    parser.add_argument("--kill-driver", type=float, metavar="SECONDS", help="kill the driver after so long, once")
    given = parser.parse_args(words)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="catwalk-poison-") as name:
        folder = Path(name)
        driver = night(folder, given.rows, given.workers, given.seconds, given.attempts, given.kill_driver)
        wall = time.monotonic() - begun
        table = folder / "out" / "runs" / "night" / "results.parquet"
        if not table.exists():
            sys.stderr.write((folder / "log").read_text()[-3000:])
            return 1
        ended = results.read(str(table))
        deaths = Counter(attempt.row for attempt in attempts_in(str(table.parent / "attempts")))
    most = given.attempts + driver.starts  # the last try alone; and one that a killed driver took with it
    faults = {result.row: wrong(result, deaths[result.row], most) for result in ended}
    for result in ended:
        if result.status == "failed" or faults[result.row]:
            note = f"  WRONG: {faults[result.row]}" if faults[result.row] else ""
            sys.stdout.write(f"row {result.row:3} {result.id:22} {deaths[result.row]} tries  {result.error}{note}\n")
    counts = Counter(result.status for result in ended)
    deadly = len(STAGES) * len(DEADLY)
    sys.stdout.write(
        f"{len(ended)} of {given.rows} rows: {dict(counts)}; {wall:.0f} s with {given.workers} workers per stage, "
        f"{driver.starts} starts, {sum(deaths.values())} deaths of {deadly} deadly rows\n"
    )
    return int(len(ended) != given.rows or any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())
