"""Hostile rows and files end as clips, or as errors that help their owner: a bounded run, and all that was once found.

The full run is `python -m tests.fuzz`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.fuzz.__main__ import mutants
from tests.fuzz.deadly import Deadly
from tests.fuzz.retyping import retyped
from tests.fuzz.rows import prepared, property_of
from tests.fuzz.session import Session
from tests.fuzz.specimen import Specimen
from tests.fuzz.specimens import files, media
from tests.fuzz.structures import spans
from tests.fuzz.trials import Trials

FINDS = Path(__file__).parent / "finds"
SEED = 20


def finds() -> Iterator[Specimen]:
    """Files that once did harm, with what reads them; those of a checkpoint say where they lie in it."""
    kinds = json.loads((FINDS / "kinds.json").read_text())
    for name, kind in sorted(kinds.items()):
        yield Specimen(*kind[:1], name, (FINDS / name).read_bytes(), *kind[1:])


def test_a_mutated_row_ends_as_a_clip_or_is_told_why() -> None:
    with prepared() as rows:
        property_of(rows, 120, SEED)()
    assert min(rows.outcomes[status] for status in ("accepted", "rejected")) > 10, "it tries one side alone"


def test_mutated_files_and_those_that_once_did_harm_end_in_words_and_leave_nothing_behind() -> None:
    originals = [*media(), *files()]
    made = mutants(originals, 70, SEED)
    tally = Session(Trials, limit=60).try_all([*finds(), *made])
    assert not tally.found, [(found.specimen.kind, found.specimen.name, found.said) for found in tally.found]
    assert not tally.left
    assert tally.grown < 150e6
    assert {"image", "video", "sound", "keypoints", "checkpoint", "lora", "table", "config"} <= {
        name.partition(" ")[0] for name in tally.outcomes
    }
    ends = {name.partition(" ")[2] for name in tally.outcomes}
    assert {"accepted", "rejected"} <= ends, "it tries one side alone"


def test_every_good_file_is_taken_as_it_is(tmp_path: Path) -> None:
    """Or its mutants would be refused for what nobody mutated."""
    trials = Trials(tmp_path)
    refused = {one.name: end.said for one in [*media(), *files()] if (end := trials(one)).status != "accepted"}
    assert set(refused) == {"moving.gif", "floats.tif", "program.ckpt", "bare.ckpt"}, refused


def test_mutators_know_how_every_format_is_built_and_repeat_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    originals = [*media(), *files()]
    unknown = {one.name for one in originals if not spans(one.data)}
    assert unknown == {"moving.gif", "bare.ckpt"}
    first = list(islice(mutants(originals, 60, SEED), 60))
    another_day = time.localtime(10**9)
    monkeypatch.setattr(time, "localtime", lambda *_: another_day)  # which a zip writes down
    assert first == list(islice(mutants(originals, 60, SEED), 60))
    changed = [one.data not in {original.data for original in originals} for one in first]
    assert np.mean(changed) > 0.9


def test_values_of_another_type_stand_in_files_that_are_well_formed() -> None:
    """As programs write them by mistake, and as blind damage hardly ever makes them."""
    good = {one.name: one.data for one in files() if one.name in ("frames.json", "frames.zip", "clips.jsonl", "uv.npz")}
    for name, data in good.items():
        made = [retyped(data, Random(seed)) for seed in range(20)]
        assert all(one and one != data for one in made), name
    rates = [json.loads(retyped(b'{"fps": 25}', Random(seed)) or b"")["fps"] for seed in range(60)]
    assert {type(rate) for rate in rates} >= {int, float, str, list, dict, bool, type(None)}


def test_a_session_sees_who_dies_who_hangs_and_what_is_left() -> None:
    tally = Session(Deadly, limit=2).try_all(
        [Specimen("x", name, b"") for name in ("kills", "hangs", "leaves", "good")]
    )
    assert [found.said for found in tally.found] == ["the process died (-9)", "no end after 2 s"]
    assert tally.outcomes == {"x fault": 2, "x accepted": 2}
    process, left = tally.left
    assert process.startswith("process ")
    assert left == "file left"
    os.kill(int(process.split(":")[0].split()[1]), signal.SIGKILL)


@pytest.mark.parametrize("wrong", [lambda: 1 / 0, lambda: bytes(-1)])
def test_an_exception_without_words_for_a_row_is_a_fault(wrong: Callable[[], object]) -> None:
    from tests.fuzz.trials import ended

    assert ended(lambda: wrong() and None).status == "fault"
