"""What is measured of a film while it is encoded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Protocol

import numpy as np

from stages.video.quality.background import Background
from stages.video.quality.black import Black
from stages.video.quality.curve import Figure
from stages.video.quality.drift import ColourDrift, ContrastDrift
from stages.video.quality.flicker import Flicker
from stages.video.quality.frame import Frame
from stages.video.quality.frozen import Frozen
from stages.video.quality.garment import GarmentColour
from stages.video.quality.loop import Loop
from stages.video.quality.outline import Outline
from stages.video.quality.seam import Seam
from stages.video.quality.sharpness import Sharpness
from stages.video.quality.warping import WarpingError

log = logging.getLogger(__name__)


class Metric(Protocol):
    """Looks at every frame of a film in order, and says in the end what it found."""

    name: str

    def look(self, frame: Frame) -> None:
        """Take in the next frame."""

    def figure(self) -> Figure | None:
        """What it found, once, at the end; None where the film gives nothing to judge."""


Outlines = Callable[[int], Outline | None]  # where the person is in a frame, in pixels of the small picture


def metrics_of(
    fps: Fraction,
    reference: np.ndarray | None = None,
    torso: np.ndarray | None = None,
    loop: bool = False,
    borders: Collection[int] = (),
    chained: bool = False,
) -> list[Metric]:
    """The metrics that need nothing but a film and its reference, each where it can say something.

    `reference` is uint8 of the film's size, `torso` (4, 2) the corners of its person's; `borders` are the first frames
    of segments or windows, `chained` segments go on from one another.
    """
    metrics: list[Metric] = [Black(), Frozen(), Flicker(fps), WarpingError(), Background(fps)]
    if reference is not None:
        metrics.append(Sharpness(reference, fps))
    if reference is not None and torso is not None:
        metrics.append(GarmentColour(reference, torso, fps))
    if borders:
        metrics.append(Seam(borders, fps))
    if borders and chained:
        metrics += [ColourDrift(borders), ContrastDrift(borders)]
    return [*metrics, Loop()] if loop else metrics


class FilmQuality:
    """Metrics of one film, fed by the batches that pass through. What fails in here costs its figure, never a film."""

    def __init__(self, metrics: Sequence[Metric], outlines: Outlines | None = None) -> None:
        self._metrics = list(metrics)
        self._outlines = outlines
        self._frames = 0
        self._before: Frame | None = None

    def of(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The batches of uint8 (n, height, width, 3), looked at."""
        for batch in batches:
            for picture in batch:
                self._look(Frame(self._frames, picture, self._before, self._outline()))
                self._frames += 1
            yield batch

    def _look(self, frame: Frame) -> None:
        for metric in list(self._metrics):
            try:
                metric.look(frame)
            except Exception:
                log.exception("metric %s failed at frame %d, and is left out", metric.name, frame.number)
                self._metrics.remove(metric)
        frame.forget()
        self._before = frame

    def _outline(self) -> Outline | None:
        try:
            return self._outlines and self._outlines(self._frames)
        except Exception:
            log.exception("the outline of frame %d cannot be had: metrics go without from here", self._frames)
            self._outlines = None
            return None

    def put(self, name: str, figure: Figure) -> None:
        """What was found otherwise than by looking at frames."""
        self.figures[name] = figure

    def curves(self) -> dict[str, list[float]]:
        """A few points of what each metric measured over the film."""
        found = {name: figure.curve for name, figure in self.figures.items() if figure.curve is not None}
        points = {name: curve.points(self._frames) for name, curve in found.items()}
        return {name: some for name, some in points.items() if some}

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
