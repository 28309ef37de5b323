"""Rows and files, mutated by the thousand, and what becomes of them.

    python -m tests.fuzz [rows] [media] [files] [--count N] [--minutes M] [--seed S]

Prints a table of outcomes; what ended as nothing may is kept in out/fuzz, with what was wrong with it. The same seed
and count give the same rows and files. `tests/fuzz/RESULTS.md` holds what was found.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from random import Random

from manifests.storage import sha256_text
from tests.conftest import CHECKOUT
from tests.fuzz import specimens
from tests.fuzz.mutations import mutated
from tests.fuzz.session import Session, Tally
from tests.fuzz.specimen import Specimen
from tests.fuzz.trials import Trials

KEPT = CHECKOUT / "out" / "fuzz"
COUNTS = {"rows": 10_000, "media": 1_200, "files": 900}


def mutants(originals: list[Specimen], count: int, seed: int) -> Iterator[Specimen]:
    """So many mutated files, each kind as often as any other. The same ones for the same seed, however many."""
    by_kind: dict[str, list[Specimen]] = defaultdict(list)
    for one in originals:
        by_kind[one.kind].append(one)
    everything = [one.data for one in originals]
    kinds = sorted(by_kind)
    for number in range(count):
        random = Random(f"{seed} {number}")
        alike = by_kind[kinds[number % len(kinds)]]
        original = alike[number // len(kinds) % len(alike)]
        data = mutated(original.data, random, everything if random.random() < 0.3 else [one.data for one in alike])
        yield original._replace(data=data)


def lines(what: str, tally: Tally, seed: int) -> Iterator[str]:
    """The tally as a table."""
    yield f"\n{what}: {tally.tried} files, seed {seed}, {tally.seconds:.0f} s"
    kinds = sorted({name.partition(" ")[0] for name in tally.outcomes})
    statuses = ("accepted", "rejected", "failed", "fault")
    yield f"| kind | {' | '.join(statuses)} |"
    yield "|---|" + "---|" * len(statuses)
    for kind in kinds:
        yield f"| {kind} | " + " | ".join(str(tally.outcomes[f"{kind} {status}"]) for status in statuses) + " |"
    yield f"slowest {tally.slowest[0]:.1f} s ({tally.slowest[1]}); at most {tally.peak / 1e6:.0f} MB resident in all"
    yield f"grown by {tally.grown / 1e6:.0f} MB since file 30; left behind: {', '.join(tally.left) or 'nothing'}"
    told: dict[str, int] = defaultdict(int)
    for found in tally.found:
        told[f"{found.specimen.kind}: {found.said}"] += 1
    for said, count in sorted(told.items(), key=lambda pair: -pair[1]):
        yield f"FAULT {count} × {said}"


def keep(tally: Tally, seed: int) -> None:
    """Write down every file that ended as none may."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for found in tally.found:
        name = f"{found.specimen.kind}-{sha256_text(found.said)[:8]}-{found.specimen.name}"
        (KEPT / name).write_bytes(found.specimen.data)
        facts = {"said": found.said, "place": found.specimen.place, "seed": seed}
        (KEPT / f"{name}.txt").write_text(json.dumps(facts, indent=1))


def main() -> int:
    """The command; exit code 1 where something ended as nothing may."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", help=f"of {', '.join(COUNTS)}; left out, all")
    parser.add_argument("--count", type=int, help="of rows or files of each; left out, what a full run takes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which each ends, done or not")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--words", action="store_true", help="print every kind of message")
    given = parser.parse_args()
    faults = 0
    for what in given.what or COUNTS:
        until, count = time.monotonic() + 60 * given.minutes, given.count or COUNTS[what]
        if what == "rows":
            from tests.fuzz import rows

            faults += rows.report(count, given.seed, until)
            continue
        make: Callable[[], Iterator[Specimen]] = getattr(specimens, what)
        originals = list(make())
        tried = [*specimens.bombs(), *mutants(originals, count, given.seed)] if what == "files" else None
        session = Session(Trials, told=lambda line: print(line, file=sys.stderr, flush=True))
        tally = session.try_all(tried or mutants(originals, count, given.seed), until)
        print("\n".join(lines(what, tally, given.seed)), flush=True)
        if given.words:
            print("\n".join(f"{count:6} {said}" for said, count in tally.words.most_common()))
        keep(tally, given.seed)
        faults += len(tally.found) + len(tally.left)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
