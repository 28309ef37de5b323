"""Consents around the graph: rows whose film was withdrawn, films that are shared, one more look at the very end."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Any

from manifests.consent.consents import Consents, Named
from manifests.consent.record import ROLES, Role
from manifests.consent.register import Register
from manifests.consent.settings import ConsentSettings
from manifests.consent.withdrawal import Withdrawals
from manifests.errors import Rejected
from manifests.kept_results import KeptResults
from manifests.results import Result
from manifests.work import Work
from pipelines.boundary import ended, reasons, status_of
from pipelines.planned_clip import PlannedClip
from pipelines.settings import RunSettings
from stages.consenting import consents_of


@cache
def _register(settings: ConsentSettings) -> Register:
    return Register(settings)


def still_consented(work: Work, settings: RunSettings) -> Work:
    """A clip with the consents that it has at this moment. Raises `Rejected` where its film may not be shown."""
    consents = consents_of(work.clip, _register(settings.config.consent), now=True)
    Withdrawals(settings.layout, settings.config.consent).require_none(work.film_key, consents)
    return work.model_copy(update={"consents": consents})


def without_withdrawn(clips: Iterable[PlannedClip], settings: RunSettings) -> tuple[list[PlannedClip], list[Result]]:
    """The clips that may be made, and the results of those whose film was withdrawn."""
    clips, refused = list(clips), []
    withdrawals = Withdrawals(settings.layout, settings.config.consent)
    gone = withdrawals.keys() if clips else set()
    kept = []
    for clip in clips:
        if clip.film_key in gone:
            try:
                withdrawals.require_none(clip.film_key, (work := clip.work).consents)
            except Rejected as rejected:
                refused.append(ended(work, "plan", rejected))
                continue
        kept.append(clip)
    return kept, refused


def consented_to_the_end(final: KeptResults, settings: RunSettings) -> KeptResults:
    """The results of a run; those have no film any more whose consent ended, or that were withdrawn, since it was made.

    One that was published before lies where it did, and its result says what may be done about it.
    """
    register = _register(settings.config.consent)
    withdrawals = Withdrawals(settings.layout, settings.config.consent)
    gone, kept = withdrawals.keys(), KeptResults()
    if register.settings.mode != "required" and not gone:
        return final
    with suppress(Exception):  # is met again by the rows, which can be told
        if register.settings.looks:
            register.records(now=True)
    for (row, text), result in zip(final.texts(), final, strict=True):
        if not result.good or not (register.settings.mode == "required" or result.film_key in gone):
            kept.add(row, text)
            continue
        try:
            if result.film_key in gone:
                withdrawals.require_none(result.film_key or "", _named(result))
            named: dict[Role, str | None] = {role: getattr(result, f"{role}_consent") for role in ROLES}
            files = {"likeness": result.reference, "performer": result.driving}
            register.consents(named, [role for role in ROLES if files[role]])
        except Exception as problem:
            kept.extend([_ended_since(result, problem)])
        else:
            kept.add(row, text)
    return kept


def _named(result: Result) -> Consents:
    named = {role: Named(id=name) for role in ROLES if (name := getattr(result, f"{role}_consent"))}
    return Consents(**named)


def _ended_since(result: Result, problem: Exception) -> Result:
    told = reasons(problem)
    if status_of(problem) == "rejected" and not told["error"].startswith("the film was withdrawn"):
        told["error"] += f"; film {result.film} was published before that"
        told["remedy"] = f"take it out of publication with `catwalk revoke ID OUTPUT --withdraw`; {told['remedy']}"
    gone: dict[str, Any] = {
        "status": status_of(problem),
        "stage": "reconcile",
        "film": None,
        "poster": None,
        "review": [],
    }
    return result.model_copy(update=gone | {name: told[name] for name in ("error", "remedy")})
