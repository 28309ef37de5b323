"""Which run is making which film, so that runs that go on at the same time make each film once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from manifests import storage
from manifests.errors import Again, Problem
from manifests.layout import OutputLayout
from pipelines.running.lease import alive

log = logging.getLogger(__name__)


class Elsewhere(Again):
    """Another living run is making the same film: the row is looked at again when that is there, or that run dead."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {run_id!r} is making the same film", "run again: the film is taken over once it is there"
        )


class Claims:
    """`OUTPUT/claims/FILMKEY.json` says which run is making a film; it is removed when the film is there, or failed.

    A claim of a run without a living driver is taken over.
    """

    def __init__(self, layout: OutputLayout, run_id: str, session: str) -> None:
        self._layout = layout
        self._run_id = run_id
        self._content = json.dumps({"run": run_id, "session": session}).encode()

    @contextmanager
    def held(self, film_key: str) -> Iterator[None]:
        """The claim to a film for the block. Raises `Elsewhere` where another living run has it."""
        uri = self._layout.claim(film_key)
        while not storage.create_exclusive(uri, self._content):
            claim = self._read(film_key)
            if (other := self._other(claim)) is not None:
                raise Elsewhere(other)
            self._remove(film_key, claim)  # of a dead run, or of a try of this one whose worker died
        own = self._read(film_key)
        try:
            yield
        finally:
            with suppress(Exception):  # it dies with this run
                self._remove(film_key, own)

    def joined(self, film_key: str) -> None:
        """Claim a film of which only a part is made here; who draws it gives the claim back.

        Raises `Elsewhere` where another living run has it.
        """
        uri = self._layout.claim(film_key)
        while not storage.create_exclusive(uri, self._content):
            claim = self._read(film_key)
            if (other := self._other(claim)) is not None:
                raise Elsewhere(other)
            if (claim or {}).get("run") == self._run_id:
                return
            self._remove(film_key, claim)  # of a dead run

    def elsewhere(self, film_key: str) -> str | None:
        """The other living run that is making a film; None if none is."""
        return self._other(self._read(film_key))

    def clear(self) -> None:
        """Remove what killed workers of this run have left."""
        for name in storage.listing(self._layout.claims):
            film_key = name.removesuffix(".json")
            if (claim := self._read(film_key)) and claim.get("run") == self._run_id:
                self._remove(film_key, claim)

    def _other(self, claim: dict[str, Any] | None) -> str | None:
        holder = str((claim or {}).get("run", ""))
        return holder if holder not in ("", self._run_id) and alive(self._layout, holder) else None

    def _remove(self, film_key: str, claim: dict[str, Any] | None) -> None:
        """Remove a claim, if it is still that one: no two are alike, and another run may have taken it over."""
        if claim is not None and self._read(film_key) == claim:
            storage.delete(self._layout.claim(film_key))

    def _read(self, film_key: str) -> dict[str, Any] | None:
        """A claim, {} for a damaged one, None where there is none."""
        try:
            return storage.read_json(self._layout.claim(film_key))
        except Problem:
            return {}
