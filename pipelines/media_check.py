"""What `catwalk manifest check --media` adds: every row held against its files as a run would, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from manifests.check import Examine
from manifests.errors import Problem
from manifests.temporary import temporary_folder
from pipelines import stage_of
from pipelines.boundary import explained
from pipelines.configuration import RunConfig
from pipelines.settings import settled


@contextmanager
def media_examiner(config: RunConfig, manifest: str) -> Iterator[Examine]:
    """Looks at the media of a row: files, sizes and frame ranges, and whether its animator can do what it asks.

    Weights are not opened. What is found out about a file is kept in the configured cache for the run to find, or,
    without one, until the check is over.
    """
    with temporary_folder("check") as scratch:
        validate = stage_of.validate(settled(config, manifest, str(scratch), None))

        def examine(row: int, fields: dict[str, Any]) -> Problem | None:
            try:
                validate(row, fields)
            except Exception as error:  # as a run: whatever happens to one row, the others are looked at
                return error if isinstance(error, Problem) else Problem(*explained(error))
            return None

        yield examine
