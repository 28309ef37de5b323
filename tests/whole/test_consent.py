"""Consents on the whole path: what is revoked while a night runs is neither published nor served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manifests import results, storage
from manifests.consent.records_file import read_records
from pipelines import cli
from pipelines.animate import run
from pipelines.clip import StageChain
from tests.made.consents import USE, record, write_records
from tests.made.sample_media import clip_row, config, write_manifest

pytestmark = pytest.mark.usefixtures("cluster")

IDS = ("C-old", "C-new", "C-gone", "C-fine", "C-moves")


def test_what_is_revoked_while_a_night_runs_is_neither_published_nor_served(
    media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, output = media / "records.json", str(media / "out")
    write_records(records, *map(record, IDS))
    moves = {"performer_consent": "C-moves"}
    rows = [
        clip_row("old", likeness_consent="C-old", **moves),
        clip_row("new", likeness_consent="C-new", seed=1, **moves),
        clip_row("gone", likeness_consent="C-gone", seed=2, **moves),
        clip_row("fine", likeness_consent="C-fine", seed=3, **moves),
        clip_row("same", likeness_consent="C-new", seed=3, **moves),
        clip_row("unnamed", seed=4, **moves),
    ]
    manifest = write_manifest(media / "m.parquet", rows)
    consent, safety = {"mode": "required", "records": str(records), **USE}, {"enabled": True, "limit": 1.0, "frames": 2}
    required = config(consent=consent, safety=safety)
    earlier = StageChain(required, output, manifest=manifest)
    first = earlier.film(earlier.work(rows[0]))
    assert (first.status, first.likeness_consent, first.performer_consent) == ("done", "C-old", "C-moves")
    write_records(records, *(record(name, revoked=name == "C-gone" or None) for name in IDS))

    def say(line: str) -> None:
        if "finished already" in line:  # the plan stands: one film is there, three are to be made
            write_records(
                records, *(record(name, revoked=name in ("C-old", "C-new", "C-gone") or None) for name in IDS)
            )

    outcome = run(required, manifest, output, say=say)
    ended = {one.id: one for one in outcome.results}
    assert {name: (one.status, one.stage) for name, one in ended.items()} == {
        "old": ("rejected", "reconcile"),
        "new": ("rejected", "animate"),
        "gone": ("rejected", "validate"),
        "fine": ("done", None),
        "same": ("rejected", "animate"),
        "unnamed": ("rejected", "validate"),
    }
    assert "likeness_consent 'C-old': was revoked; film" in ended["old"].error
    assert first.film in ended["old"].error
    assert "catwalk revoke" in ended["old"].remedy
    assert "names no consent of the person of the reference image" in ended["unnamed"].error
    digests = {name: one.digest for name, one in read_records(str(records)).items()}
    assert ended["fine"].likeness_consent_digest == digests["C-fine"]
    assert 0 < ended["fine"].quality["safety"].value < 0.5, "workers score films too"
    assert results.read(storage.join(outcome.folder, "results.parquet")) == outcome.results
    marker = storage.read_json(ended["fine"].film.replace(".mp4", ".json"))
    assert marker["performer_consent_digest"] == digests["C-moves"]
    summary = storage.read_json(storage.join(outcome.folder, "summary.json"))
    assert summary["consents"] == [{"id": name, "digest": digests[name], "films": 1} for name in ("C-fine", "C-moves")]
    assert summary["consent"] == {"mode": "required", **USE}
    films = {name.partition(".")[0] for name in storage.listing(str(media / "out" / "films"))}
    assert films == {"old", "fine"}

    capsys.readouterr()
    assert cli.main(["revoke", "C-old", output, "--withdraw", "--json"]) == cli.OK
    (withdrawn,) = json.loads(capsys.readouterr().out)["outputs"][0]["films"]
    assert (withdrawn["id"], withdrawn["state"]) == ("old", "withdrawn")
    (off,) = run(config(), manifest, output, limit=1, dry_run=True).results
    assert (off.status, off.stage) == ("rejected", "plan")
    assert off.error.startswith("the film was withdrawn on ")
