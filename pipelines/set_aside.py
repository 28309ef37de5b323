"""Films that a person has to look at before they are published: which there are, and how they are released."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from manifests import results, storage
from manifests.consent.consents import Consents, Named
from manifests.consent.record import ROLES, Role
from manifests.consent.register import Register
from manifests.consent.settings import ConsentSettings
from manifests.consent.withdrawal import Withdrawals
from manifests.errors import Problem, WrongUsage
from manifests.field_error import choose
from manifests.layout import Film, OutputLayout, films_among
from manifests.results import Result
from pipelines.boundary import explained
from pipelines.planned_clip import PlannedClip


@dataclass(frozen=True)
class SetAside:
    """A film that waits, and why."""

    film: Film
    uri: str
    reason: str
    marker: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """It as JSON."""
        known = {"id": self.film.clip_id, "film_key": self.film.key, "film": storage.redact(self.uri)}
        return {**known, "reason": self.reason, "quality": self.marker.get("quality") or {}}


def without_set_aside(clips: Iterable[PlannedClip], layout: OutputLayout) -> tuple[list[PlannedClip], list[Result]]:
    """The clips but for those whose film waits to be released, and the results of these: it is not made twice."""
    clips, refused, kept = list(clips), [], []
    waiting = films_among(storage.listing(layout.set_aside)) if clips else {}
    for clip in clips:
        if (film := waiting.get(clip.film_key)) is None:
            kept.append(clip)
            continue
        (marker,) = layout.aside().read_film_markers([film])
        if not results.is_marker(marker):  # damaged: it is made anew, and set aside again
            kept.append(clip)
            continue
        there = results.of_set_aside(clip.work, {"set_aside": "content safety", **marker}, layout)
        remedy = (there.remedy or "").replace(f"{clip.id}.{film.key}", f"{film.clip_id}.{film.key}")
        refused.append(there.model_copy(update={"remedy": remedy}))
    return kept, refused


def waiting_films(layout: OutputLayout) -> list[SetAside]:
    """All films that wait, by id."""
    aside = layout.aside()
    films = sorted(films_among(storage.listing(layout.set_aside)).values())
    markers = aside.read_film_markers(films)
    return [
        SetAside(film, aside.film(film), str((marker or {}).get("set_aside") or "content safety"), marker or {})
        for film, marker in zip(films, markers, strict=True)
    ]


def release(
    layout: OutputLayout, ids: Collection[str], consent: ConsentSettings | None
) -> tuple[list[SetAside], list[str]]:
    """Publish the films of these clips; returns those published, and what could not be, with the reason.

    A film whose consent does not hold any more, or that was withdrawn, stays where it is: by the rules of the run that
    set it aside where `consent` gives none. Raises `WrongUsage` for an id of which none waits.
    """
    waiting = waiting_films(layout)
    names = {one.film.clip_id for one in waiting}
    if unknown := [name for name in ids if name not in names]:
        remedy = choose(unknown[0], names) if names else "nothing waits there"
        raise WrongUsage(f"clip {unknown[0]!r}: no film of it is set aside", remedy)
    released, problems = [], []
    for one in (one for one in waiting if one.film.clip_id in ids):
        try:
            if not results.is_marker(one.marker):
                raise Problem("its marker is damaged", "run again: the film is made anew, and set aside again")
            rules = consent or _rules(one.marker)
            named: dict[Role, str | None] = {role: one.marker.get(f"{role}_consent") for role in ROLES}
            digests = {"likeness": "reference_digest", "performer": "driving_digest"}
            Register(rules).consents(named, [role for role in ROLES if one.marker.get(digests[role])], now=True)
            given = {role: Named(id=name) for role, name in named.items() if name}
            Withdrawals(layout, rules).require_none(one.film.key, Consents(**given))
            marker = {name: value for name, value in one.marker.items() if name not in ("set_aside", "consent_rules")}
            marker["released"] = datetime.now(UTC).isoformat(timespec="seconds")
            layout.aside().move_film(one.film, layout, marker)
            released.append(one)
        except Exception as error:  # of the store, too: the others are released all the same
            reason, remedy = explained(error)
            problems.append(f"{one.film.clip_id}: {reason} → {remedy}")
    return released, problems


def _rules(marker: dict[str, Any]) -> ConsentSettings:
    """What the run that set a film aside asked of consents. Raises `Problem` where its marker does not say."""
    try:
        return ConsentSettings.model_validate(marker["consent_rules"])
    except (KeyError, ValidationError):
        remedy = "give --config with the run's `consent`"
        raise Problem("its marker does not say what its run asked of consents", remedy) from None
