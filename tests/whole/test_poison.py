"""Rows that kill, hang, fill the memory or raise, in every stage, among good ones, on a real Ray cluster."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from manifests import results
from pipelines.animate import run
from pipelines.running.attempts import attempts_in
from tests.made.poison import STILL, bounds, poisoned
from tests.made.sample_media import clip_row, config, write_manifest

pytestmark = pytest.mark.usefixtures("cluster")


def test_poison_of_every_kind_ends_its_own_rows_by_name_and_no_others(media: Path) -> None:
    """Two rows share each poisonous file; the driving video that all others share is read by the same workers."""
    poison = [
        ("validate", "kills", "its worker died 2 times in validate"),
        ("validate", "allocates", "its worker was ended 2 times: more than 1.5 GB of memory"),
        ("pose", "hangs", "its worker was ended 2 times: no end after 8 s in pose"),
        ("pose", "raises", "was poison"),
        ("inputs", "kills", "its worker died 2 times in inputs"),
        ("animate", "hangs", "its worker was ended 2 times: no end after 8 s in animate"),
        ("animate", "allocates", "its worker was ended 2 times: more than 1.5 GB of memory"),
        ("animate", "breaks", "its worker was ended 2 times: CUDA error: an illegal memory access"),
    ]
    rows = [clip_row(f"good{number}", seed=number, **STILL) for number in range(4)]
    for number, (stage, kind, _) in enumerate(poison):
        rows.insert(2 * number, poisoned(media, stage, kind, number))
    shared = poisoned(media, "validate", "kills", 0)
    rows.append({**shared, "id": "sharing", "seed": 99})
    begun = time.monotonic()
    outcome = run(
        config(**bounds(8, attempts=1)), write_manifest(media / "m.parquet", rows), str(media / "out"), run_id="night"
    )
    by_id = {result.id: result for result in outcome.results}
    assert {name: by_id[name].status for name in by_id if name.startswith("good")} == dict.fromkeys(
        (f"good{number}" for number in range(4)), "done"
    )
    for number, (stage, kind, said) in enumerate(poison):
        result = by_id[f"{stage}-{kind}-{number}"]
        assert (result.status, result.stage) == ("failed", stage)
        assert re.search(said, result.error), result.error
        assert result.remedy
    assert by_id["sharing"].error == by_id["validate-kills-0"].error
    assert "validate-kills-0.png" in by_id["sharing"].error
    assert outcome.exit_code == 3
    assert time.monotonic() - begun < 600
    deaths = attempts_in(f"{outcome.folder}/attempts")
    second = run(
        config(**bounds(8, attempts=1)), write_manifest(media / "m.parquet", rows), str(media / "out"), run_id="night"
    )
    assert attempts_in(f"{outcome.folder}/attempts") == deaths, "what is condemned is tried again under its run id"
    assert [result.status for result in second.results] == [result.status for result in outcome.results], second.results
    assert results.read(f"{outcome.folder}/results.parquet") == second.results
