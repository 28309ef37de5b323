"""What is measured of a film while it is encoded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cached_property
from typing import Protocol

import numpy as np

from stages.video.quality.black import Black
from stages.video.quality.curve import Figure
from stages.video.quality.flicker import Flicker
from stages.video.quality.frame import Frame

log = logging.getLogger(__name__)


class Metric(Protocol):
    """Looks at every frame of a film in order, and says in the end what it found."""

    name: str

    def look(self, frame: Frame) -> None:
        """Take in the next frame."""

    def figure(self) -> Figure | None:
        """What it found, once, at the end; None where the film gives nothing to judge."""


class FilmQuality:
    """Metrics of one film, fed by the batches that pass through. What fails in here costs its figure, never a film."""

    def __init__(self, fps: Fraction) -> None:
        self._metrics: list[Metric] = [Black(), Flicker(fps)]
        self._frames = 0

    def of(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The batches of uint8 (n, height, width, 3), looked at."""
        for batch in batches:
            for picture in batch:
                self._look(Frame(self._frames, picture))
                self._frames += 1
            yield batch

    def _look(self, frame: Frame) -> None:
        for metric in list(self._metrics):
            try:
                metric.look(frame)
            except Exception:
                log.exception("metric %s failed at frame %d, and is left out", metric.name, frame.number)
                self._metrics.remove(metric)

    def curves(self) -> dict[str, list[float]]:
        """A few points of what each metric measured over the film."""
        found = {name: figure.curve for name, figure in self.figures.items()}
        return {name: curve.points(self._frames) for name, curve in found.items() if curve is not None}

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """What each metric found, by name; to be asked for at the end."""
        found: dict[str, Figure] = {}
        for metric in self._metrics:
            try:
                figure = metric.figure()
            except Exception:
                log.exception("metric %s failed, and is left out", metric.name)
                continue
            if figure is not None and np.isfinite(figure.value):
                found[metric.name] = figure
        return found
