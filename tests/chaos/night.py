"""A night under fire, on a cluster of several nodes with GPUs that are none.

    python -m tests.chaos.night [--clips 200] [--nodes 3] [--s3 SHARE] [--calm] [--json]

Workers of every stage are killed at intervals, a node is frozen, another lost, and the driver killed twice, while a
share of the requests to storage fails. Then every row must have its film, whole, once, and of the very frames that the
stages make one after the other in one process. Ends with 1 if not. `tests/chaos/RESULTS.md` holds what was found.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.catalogue import write_catalogue
from tests.chaos.cluster import STAGES, Nodes, cluster
from tests.chaos.driver import Driver
from tests.chaos.onlooker import Onlooker, decoded
from tests.chaos.painted import IMPLEMENTATION, NAME, WORK_LOG, written_down
from tests.chaos.store import Store, folder_store, s3_store
from tests.chaos.storm import BLOWS, Blow, Storm
from tests.chaos.verdict import Verdict
from tests.conftest import CHECKOUT
from tests.made.sample_media import UNMARKED, write_manifest

CONFIG: dict[str, Any] = {
    "animators": {NAME: IMPLEMENTATION},
    **UNMARKED,
    "validate_pool": {"size": 2, "num_cpus": 0.25},
    "pose_pool": {"size": 2, "num_cpus": 0.25},
    "inputs_pool": {"size": 2, "num_cpus": 0.25},
    "cluster_wait": {"seconds": 300},  # a driver may start while nodes are missing
}


@dataclass(frozen=True)
class Plan:
    """What is made and what is done to it."""

    clips: int
    skus: int = 4  # on each driving file
    nodes: int = 3
    frames: int = 8  # of each film
    seconds: float = 0.4  # that each film takes at least
    share: float | None = None  # of requests to S3 that fail; None: a folder
    interval: float = 5.0  # seconds between two kills of workers
    kills: int = 40
    patience: float = 5.0  # seconds in which a worker with a row in hand is looked for
    blows: tuple[Blow, ...] = BLOWS
    out_seconds: float = 40.0  # that a node is away
    seed: int = 0

    @property
    def config(self) -> dict[str, Any]:
        """The command's configuration: a GPU for each animating worker, and a node may be missing."""
        animate = {"size": max(1, self.nodes - 1), "num_cpus": 0.25, "num_gpus": 1, "device": "cpu", "threads": 1}
        return {**CONFIG, "animate_pool": animate}


def run_night(plan: Plan, scratch: Path) -> Verdict:
    """Make the catalogue in `scratch`, run the night over it, and judge what it came to."""
    folders = {name: scratch / name for name in ("in", "work", "tmp")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    rows = write_catalogue(folders["in"], plan.clips, plan.skus, plan.frames, plan.seconds)
    manifest = write_manifest(folders["in"] / "manifest.parquet", rows)
    (scratch / "config.yaml").write_text(json.dumps(plan.config), encoding="utf-8")
    expected = undisturbed(rows, folders["in"], scratch / "undisturbed")
    verdict = Verdict(plan.clips, needed=plan.clips * plan.frames)
    store = folder_store(scratch / "out") if plan.share is None else s3_store(plan.share, plan.seed)
    with ExitStack() as stack:
        there = stack.enter_context(store)
        environment = {**there.environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)}
        environment |= {WORK_LOG: str(folders["work"]), "TMPDIR": str(folders["tmp"])}
        nodes = stack.enter_context(cluster(plan.nodes, environment, num_cpus=2, num_gpus=1))
        words = [manifest, there.output, "--config", str(scratch / "config.yaml"), "--run-id", "night"]
        driver = Driver(words, scratch / "driver.log", {"RAY_ADDRESS": nodes.address})
        onlooker = Onlooker(f"{there.place}/films", there.fs, plan.frames, every=0.3 + plan.clips / 200)
        storm = Storm(
            nodes,
            driver,
            share=lambda: onlooker.finished / plan.clips,
            interval=plan.interval,
            kills=plan.kills,
            patience=plan.patience,
            blows=plan.blows,
            out_seconds=plan.out_seconds,
            seed=plan.seed,
        )
        begun = time.monotonic()
        night = threading.Thread(target=driver.night)
        night.start()
        with onlooker:
            storm.rage(driver.over)
        night.join()
        verdict.exit_code = driver.code
        verdict.wall_seconds = round(time.monotonic() - begun, 1)
        verdict.struck, verdict.unspent, verdict.driver_starts = storm.struck, not storm.spent, driver.starts
        verdict.storage_faults = dict(there.faults)
        look_for_leftovers(verdict, nodes, folders["tmp"], there)
        judge(verdict, rows, expected, onlooker, there)
    verdict.painted, verdict.encoded = (written_down(folders["work"], what) for what in ("paint", "encode"))
    return verdict


def undisturbed(rows: list[dict[str, Any]], base: Path, output: Path) -> dict[str, str]:
    """Digest of the decoded frames of every clip, by its id, as the stages make it in one process without Ray."""
    from pipelines.clip import StageChain
    from pipelines.configuration import RunConfig

    before = Path.cwd()
    os.chdir(base)
    try:
        chain = StageChain(RunConfig.load(None, {"animators": CONFIG["animators"], **UNMARKED}), str(output))
        films = {row["id"]: chain.film(chain.work({**row, "options": {}})).film for row in rows}
    finally:
        os.chdir(before)
    return {clip: decoded(Path(str(film)).read_bytes())[0] for clip, film in films.items()}


def look_for_leftovers(verdict: Verdict, nodes: Nodes, temporary: Path, store: Store, patience: float = 20.0) -> None:
    """Count workers and encoders that are still there a while after the command, folders and files half done."""
    until = time.monotonic() + patience
    while True:
        left = [worker for workers in nodes.workers().values() for worker in workers]
        left += [process for process in nodes.processes() if "ffmpeg" in process.name()]
        if not left or time.monotonic() > until:
            break
        time.sleep(0.5)
    verdict.left_processes = len(left)
    verdict.left_folders = sum(path.name.startswith("catwalk") and any(path.iterdir()) for path in temporary.iterdir())
    if store.fs.protocol[0] == "file":
        verdict.left_parts = sum(1 for _ in Path(store.place).rglob(".*.part"))


def judge(
    verdict: Verdict, rows: list[dict[str, Any]], expected: dict[str, str], onlooker: Onlooker, store: Store
) -> None:
    """Hold results and films against what was asked for."""
    if verdict.exit_code != 0:
        verdict.faults.append(f"exit code {verdict.exit_code}")
    digests = onlooker.digests()
    try:
        verdict.judge_table(store.read("runs", "night", "results.parquet"), rows, set(digests))
        store.read("runs", "night", "_SUCCESS")
    except FileNotFoundError as absent:
        verdict.faults.append(f"no table, or no _SUCCESS: {absent}")
    verdict.judge_films(digests, expected)
    verdict.faults += [f"{name}: seen before it was whole" for name in sorted(onlooker.torn)]
    puts = {name: contents for name, contents in store.versions().items() if name.endswith(".mp4")}
    for name, contents in puts.items():
        if {decoded(content)[0] for content in contents} != {expected[name.rsplit(".", 2)[0]]}:
            verdict.faults.append(f"{name}: was put with other frames in between")
    doubled = [name for name in onlooker.rewritten if name.endswith(".mp4")]
    verdict.films_put_twice = sum(len(contents) > 1 for contents in puts.values()) or len(doubled)


def main() -> int:
    """Run the night that the words describe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--skus", type=int, default=4, help="on each driving file")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="that each film takes at least")
    parser.add_argument("--s3", type=float, metavar="SHARE", help="to S3, with that share of the requests failing")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two kills of workers")
    parser.add_argument("--kills", type=int, default=40, help="workers to kill")
    parser.add_argument("--small", action="store_true", help="one kill per stage and one node lost, no more")
    parser.add_argument("--calm", action="store_true", help="break nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave everything there")
    parser.add_argument("--json", action="store_true", help="the verdict as JSON on stdout")
    given = parser.parse_args()
    kills, patience, blows, out = given.kills, 5.0, BLOWS, 40.0
    if given.small:
        kills, patience, blows, out = len(STAGES), 60.0, (Blow(0.3, "node lost"),), 5.0
    if given.calm:
        kills, blows = 0, ()
    plan = Plan(
        given.clips,
        given.skus,
        given.nodes,
        seconds=given.seconds,
        share=given.s3,
        interval=given.interval,
        kills=kills,
        patience=patience,
        blows=blows,
        out_seconds=out,
        seed=given.seed,
    )
    with ExitStack() as stack:
        scratch = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="catwalk-night-")))
        verdict = run_night(plan, scratch)
        if verdict.faults:
            print((scratch / "driver.log").read_text(encoding="utf-8"), file=sys.stderr)
    print("\n".join(verdict.lines()), file=sys.stderr)
    if given.json:
        print(json.dumps(verdict.to_dict()))
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
