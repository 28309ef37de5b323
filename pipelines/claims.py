"""Which run is making which film, so that runs that go on at the same time make each film once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from manifests import storage
from manifests.errors import Again, Problem
from manifests.layout import OutputLayout
from pipelines.lease import alive

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
            if (other := self.elsewhere(film_key)) is not None:
                raise Elsewhere(other)
            storage.delete(uri)  # of a dead run, or of a try of this one whose worker died
        try:
            yield
        finally:
            with suppress(Exception):  # it dies with this run
                storage.delete(uri)

    def elsewhere(self, film_key: str) -> str | None:
        """The other living run that is making a film; None if none is."""
        holder = self._holder(film_key)
        return holder if holder not in (None, self._run_id) and alive(self._layout, str(holder)) else None

    def clear(self) -> None:
        """Remove what killed workers of this run have left."""
        for name in storage.listing(self._layout.claims):
            if self._holder(name.removesuffix(".json")) == self._run_id:
                storage.delete(storage.join(self._layout.claims, name))

    def _holder(self, film_key: str) -> str | None:
        try:
            claim = storage.read_json(self._layout.claim(film_key))
        except Problem:  # damaged
            return ""
        return None if claim is None else str(claim.get("run", ""))
