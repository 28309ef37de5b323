"""What `catwalk manifest check` looks at beside the table: consents, and with `--media` files, as a run would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from manifests.check import Examine
from manifests.clip import parse_clip
from manifests.consent.register import Register
from manifests.errors import Problem
from manifests.table import split_row
from manifests.temporary import temporary_folder
from pipelines import stage_of
from pipelines.boundary import explained
from pipelines.configuration import RunConfig
from pipelines.settings import require_records, settled
from stages.consenting import consents_of


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


@contextmanager
def consent_examiner(config: RunConfig) -> Iterator[Examine]:
    """Looks at the consents of a row by the records as they are now, and at no file of it."""
    require_records(config)
    register = Register(config.consent)

    def examine(row: int, fields: dict[str, Any]) -> Problem | None:
        clip, _ = parse_clip(split_row(fields))
        try:
            if clip is not None:
                consents_of(clip, register)
        except Exception as error:
            return error if isinstance(error, Problem) else Problem(*explained(error))
        return None

    yield examine
