"""Films that were taken out of publication as a consent ended: what tells of them, and keeps them from returning."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from manifests import storage
from manifests.consent.consents import Consents
from manifests.consent.settings import ConsentSettings
from manifests.errors import Damaged, Rejected
from manifests.layout import OutputLayout


class Withdrawals:
    """`OUTPUT/withdrawn/FILMKEY.json` says under which records a film was withdrawn, and when.

    Such a film is not made again, nor served if it is found, but for a row whose run requires consents and that names
    others than those it was withdrawn under.
    """

    def __init__(self, layout: OutputLayout, settings: ConsentSettings) -> None:
        self._layout = layout
        self._settings = settings

    def keys(self) -> set[str]:
        """Keys of all withdrawn films: one listing."""
        names = storage.listing(self._layout.withdrawn)
        return {name.removesuffix(".json") for name in names if name.endswith(".json")}

    def require_none(self, film_key: str, consents: Consents) -> None:
        """Raise `Rejected` where this film may not be shown under these consents. One small request."""
        uri = self._layout.withdrawal(film_key)
        try:
            told = storage.read_json(uri)
        except Damaged:  # it is there: that is all it has to say
            told = {}
        if told is None:
            return
        under = ids_of(told)
        named = {one.id for one in (consents.likeness, consents.performer) if one}
        if under and named and self._settings.mode == "required" and not named & set(under):
            return
        when = f" on {told['withdrawn'][:10]}" if isinstance(told.get("withdrawn"), str) else ""
        whose = f" under consent {', '.join(map(repr, under))}" if under else ""
        raise Rejected(
            f"the film was withdrawn{when}: it was made{whose}, which was revoked",
            "take the row out; where the person has agreed anew, name the new record and set consent.mode to required",
        )


def ids_of(told: dict[str, Any]) -> list[str]:
    """The records that a film was withdrawn under."""
    given = told.get("consents")
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []


def tell(layout: OutputLayout, film_key: str, consent: str, clips: Collection[str]) -> None:
    """Write down that a film is withdrawn; what was written before stays."""
    uri = layout.withdrawal(film_key)
    try:
        before = storage.read_json(uri) or {}
    except Damaged:
        before = {}
    clips = sorted({*before.get("clips", ()), *clips})
    consents = list(dict.fromkeys([*ids_of(before), consent]))
    if before and before.get("clips") == clips and before.get("consents") == consents:
        return
    now = before.get("withdrawn") or datetime.now(UTC).isoformat(timespec="seconds")
    storage.publish_json({"film_key": film_key, "clips": clips, "consents": consents, "withdrawn": now}, uri)
