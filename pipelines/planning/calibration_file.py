"""What a calibration has measured, kept beside the films so that later plans and runs know it."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from manifests import storage
from manifests.layout import OutputLayout
from pipelines.configuration import AnimatePool
from pipelines.planning.pace import Pace
from pipelines.settings import RunSettings

log = logging.getLogger(__name__)


class Setup(BaseModel):
    """How the workers were set up: with other settings they have another pace."""

    model_config = ConfigDict(frozen=True)

    device: str
    dtype: str
    num_gpus: float
    gpus_per_clip: int = 1
    threads: int | None
    accelerator_type: str | None
    workers: int
    own: dict[str, Setup] = {}  # of animators that have workers of their own

    @classmethod
    def of(cls, settings: RunSettings) -> Self:
        """That of a run."""
        config = settings.config
        own = {name: cls._of_pool(settings, config.pool_of(name)) for name in config.animate_pools}
        return cls._of_pool(settings, config.animate_pool).model_copy(update={"own": own})

    @classmethod
    def _of_pool(cls, settings: RunSettings, pool: AnimatePool) -> Self:
        return cls(
            device=settings.device,
            dtype=settings.dtype,
            num_gpus=pool.num_gpus,
            gpus_per_clip=pool.gpus_per_clip,
            threads=pool.threads,
            accelerator_type=pool.accelerator_type,
            workers=pool.size if settings.device == "cpu" else 0,  # which share the cores of a node
        )


class Calibration(BaseModel):
    """Seconds as they were measured; by model what it takes to load, by estimator what a driving frame takes."""

    model_config = ConfigDict(frozen=True)

    setup: Setup
    measured: datetime
    host: str
    rows: int
    paces: list[Pace]
    start_seconds: float
    end_seconds: float
    inputs_seconds: float
    load_seconds: dict[str, float]
    pose_seconds: dict[str, float]
    film_bytes: float | None  # of a megapixel of film
    missing: list[str] = []  # what could not be measured, and why

    def write(self, layout: OutputLayout) -> None:
        """Keep it in the output folder, in place of an earlier one."""
        storage.publish_json(self.model_dump(mode="json"), _uri(layout))


def _uri(layout: OutputLayout) -> str:
    return storage.join(layout.output, "calibration.json")


def stored_calibration(settings: RunSettings) -> Calibration | None:
    """The one in the output folder, if it was measured with workers that are set up alike."""
    try:
        found = storage.read_json(_uri(settings.layout))
        calibration = found and Calibration.model_validate(found)
    except (ValidationError, ValueError, OSError) as damaged:
        log.warning("the calibration in %s cannot be read: %s", storage.redact(settings.output), damaged)
        return None
    return calibration if calibration and calibration.setup == Setup.of(settings) else None
