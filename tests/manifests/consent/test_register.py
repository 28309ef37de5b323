"""Consents: every rule has a record, or a row, that breaks it, and the days at its edges."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from manifests import storage
from manifests.consent.records_file import mark_revoked
from manifests.consent.register import Register
from manifests.consent.settings import ConsentSettings
from manifests.errors import Problem, Rejected
from pipelines.configuration import RunConfig
from tests.made.consents import USE, record, write_records

DAY = date(2026, 11, 29)
BOTH = ("likeness", "performer")


def register(
    folder: Path, mode: str = "required", day: date = DAY, use: dict[str, Any] = USE, **fields: Any
) -> Register:
    """One with the record C-1, with these fields, and a plain one, C-2."""
    records = write_records(folder / "records.json", record("C-1", **fields), record("C-2"))
    return Register(ConsentSettings(mode=mode, records=records, **use), lambda: day)


def judged(of: Register, likeness: str | None = "C-1", performer: str | None = "C-2", now: bool = False) -> Any:
    return of.consents({"likeness": likeness, "performer": performer}, BOTH, now)


HOLDING = {
    "plain": {},
    "its own role": {"role": "likeness"},
    "everything": {"brands": "*", "channels": "*", "territories": ["*"]},
    "other case": {"brands": ["ACME "], "channels": ["WEB"], "territories": ["de"]},
    "first day": {"starts": DAY},
    "last day": {"ends": DAY},
    "to be revoked": {"revoked": "2026-11-30"},
    "not revoked": {"revoked": False},
    "minor with a guardian": {"minor": True, "guardian_document": "9" * 64},
    "a moment in another zone": {"starts": "2026-11-30T01:30:00+02:00"},
}


@pytest.mark.parametrize("name", HOLDING)
def test_a_consent_holds(name: str, tmp_path: Path) -> None:
    fields = {key: value.isoformat() if isinstance(value, date) else value for key, value in HOLDING[name].items()}
    consents = judged(register(tmp_path, **fields))
    assert (consents.likeness.id, consents.performer.id, consents.missing) == ("C-1", "C-2", ())
    assert len(consents.likeness.digest) == 64


BREAKING = {
    "other role": ({"role": "performer"}, "was given for a performer, not for a likeness", "gave as a likeness"),
    "other brand": ({"brands": ["Umbra"]}, "does not cover brand 'Acme', only Umbra", "extended"),
    "other channel": ({"channels": ["print"]}, "does not cover channel 'web', only print", "extended"),
    "other country": ({"territories": ["FR", "EU"]}, "does not cover territory 'DE', only FR, EU", "extended"),
    "too early": ({"starts": "2026-11-30"}, "holds from 2026-11-30 on, it is 2026-11-29", "wait"),
    "over": ({"ends": "2026-11-28"}, "held until 2026-11-28, it is 2026-11-29", "renewed"),
    "revoked": ({"revoked": "2026-03-01"}, "was revoked on 2026-03-01", "take the row out"),
    "revoked today": ({"revoked": "2026-11-29"}, "was revoked on 2026-11-29", "take the row out"),
    "revoked today, late": ({"revoked": "2026-11-29T23:59:00Z"}, "was revoked on 2026-11-29", "take the row out"),
    "revoked some day": ({"revoked": True}, "was revoked", "take the row out"),
    "a minor alone": ({"minor": True}, "is a minor's, without the consent of a guardian", "guardian_document"),
}


@pytest.mark.parametrize("mode", ["required", "recorded"])
@pytest.mark.parametrize("name", BREAKING)
def test_a_rule_that_is_broken_ends_the_row_or_is_written_down(name: str, mode: str, tmp_path: Path) -> None:
    fields, error, remedy = BREAKING[name]
    of = register(tmp_path, mode, **fields)
    if mode == "recorded":
        consents = judged(of)
        assert consents.missing == (f"likeness_consent 'C-1': {error}",)
        assert consents.likeness.digest
        return
    with pytest.raises(Rejected) as raised:
        judged(of)
    assert raised.value.error == f"likeness_consent 'C-1': {error}"
    assert remedy in raised.value.remedy


ROWS = {
    "no likeness": ((None, "C-2"), "likeness_consent: names no consent of the person of the reference image"),
    "no performer": (("C-1", None), "performer_consent: names no consent of the person of the driving file"),
    "unknown": (("C-1", "C-11"), "performer_consent 'C-11': there is no such record"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_without_a_record_is_refused(name: str, tmp_path: Path) -> None:
    named, error = ROWS[name]
    with pytest.raises(Rejected) as raised:
        judged(register(tmp_path), *named)
    assert raised.value.error == error
    assert judged(register(tmp_path, "recorded"), *named).missing == (error,)
    assert judged(register(tmp_path, "off"), *named).missing == ()


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as raised:
        judged(register(tmp_path, ends="2026-02-01", channels=["print"], minor=True), performer=None)
    assert raised.value.error.count(";") == 3


def test_nobody_is_asked_for_who_is_not_in_the_film(tmp_path: Path) -> None:
    assert register(tmp_path).consents({}, ()).missing == ()
    with pytest.raises(Rejected, match="no such record"):
        register(tmp_path).consents({"likeness": "C-9"}, ())


def test_every_channel_and_country_of_the_run_must_be_covered(tmp_path: Path) -> None:
    use = {"brand": "Acme", "channels": ["web", "tv"], "territories": ["DE", "US", "FR", "JP"]}
    with pytest.raises(Rejected, match=r"channel 'tv', .*territory 'US', 'JP'"):
        judged(register(tmp_path, use=use))


def test_what_the_run_does_not_say_is_written_down(tmp_path: Path) -> None:
    missing = judged(register(tmp_path, "recorded", use={})).missing
    assert len([one for one in missing if "the run does not say for which" in one]) == 6


@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_record_that_is_revoked_meanwhile_no_longer_holds(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = str(tmp_path) if place == "local" else request.getfixturevalue("s3")
    uri = storage.join(folder, "records.json")
    register(tmp_path)
    storage.publish(tmp_path / "records.json", uri)
    of = Register(ConsentSettings(mode="required", records=uri, **USE), lambda: DAY)
    judged(of)
    mark_revoked(uri, "C-1", DAY)
    judged(of)  # a look ahead may be a moment old
    with pytest.raises(Rejected, match="was revoked on 2026-11-29"):
        judged(of, now=True)
    with pytest.raises(Rejected, match="was revoked"):
        judged(of)


def test_records_that_are_gone_stop_films_or_are_written_down(tmp_path: Path) -> None:
    required, recorded = (register(tmp_path, mode) for mode in ("required", "recorded"))
    for of in (required, recorded):
        judged(of)
    storage.delete(str(tmp_path / "records.json"))
    with pytest.raises(Problem, match="there is no such file"):
        judged(required, now=True)
    assert judged(recorded, now=True).missing == ("the consent records could not be looked at",)


def test_the_terms_decide_the_digest_and_the_revocation_does_not(tmp_path: Path) -> None:
    plain = judged(register(tmp_path)).likeness.digest
    assert judged(register(tmp_path, revoked="2030-01-01")).likeness.digest == plain
    assert judged(register(tmp_path, ends="2030-01-01")).likeness.digest != plain


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "required", **USE}, "needs `records`"),
        ({"mode": "recorded"}, "needs `records`"),
        ({"mode": "required", "records": "r.json", "brand": "Acme"}, "needs channels, territories"),
        ({"mode": "required", "records": "r.json", **USE, "territories": ["*"]}, "stands in records"),
        ({"mode": "required", "records": "r.json", **USE, "brand": "*"}, "stands in records"),
        ({"mode": "on"}, "off"),
        ({"record": "r.json"}, "records"),
    ],
)
def test_a_configuration_that_does_not_say_enough_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Problem, match=said):
        RunConfig.load(None, {"consent": given})


@pytest.mark.parametrize("text", ["consent: off", "consent: {mode: off}", "consent: {}", ""])
def test_off_may_be_written_plainly(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert RunConfig.load(tmp_path / "c.yaml").consent == ConsentSettings()
