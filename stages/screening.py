"""Whether a film may be published before a person has looked at it: what a network says of it and of its reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from manifests import storage
from manifests.consent.settings import ConsentSettings
from manifests.layout import Film, OutputLayout
from manifests.review import Measure
from manifests.safety import FILM, REFERENCE, SafetySettings
from manifests.temporary import temporary_folder
from stages.provenance.safety import score
from stages.sandbox import reading
from stages.video.limits import Limits

Reference = Callable[[], np.ndarray | None]  # the reference's pixels, uint8 (height, width, 3), where there is one


class Screening:
    """Scores films. What cannot be scored is not published: whatever is raised in here ends its clip."""

    def __init__(
        self,
        settings: SafetySettings,
        layout: OutputLayout,
        consent: ConsentSettings | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`consent`: what the run asks of consents, kept for a release; `limits`: of films, where raised."""
        self.settings = settings
        self._layout = layout
        self._consent = consent or ConsentSettings()
        ours = Limits()  # what users' media are held to, where that is less, is no bound on what is made of them
        raised = {name: max(value, getattr(ours, name)) for name, value in (limits or ours)}
        self._limits = ours.model_copy(update=raised)

    def pending(self, marker: dict[str, Any]) -> bool:
        """Whether a finished film is still to be looked at, or set aside."""
        return self.settings.pending(marker)

    def measures(self, movie: Path, reference: Reference) -> dict[str, Measure]:
        """The score of the reference and the worst one of a finished film's frames; nothing where nobody asked."""
        if not self.settings.enabled:
            return {}
        frames = reading.Frames(movie, self._limits)
        last, count = frames.facts.frames - 1, min(self.settings.frames, frames.facts.frames)
        numbers = sorted({round(at) for at in np.linspace(0, last, count)})
        scores = dict(zip(numbers, map(score, frames.read(numbers)), strict=True))
        worst = max(scores, key=lambda number: scores[number])
        found = {FILM: Measure(value=round(scores[worst], 4), frame=worst)}
        if (picture := reference()) is not None:
            found[REFERENCE] = Measure(value=round(score(picture), 4))
        return found

    def aside(self, marker: dict[str, Any], reason: str) -> dict[str, Any]:
        """The marker of a film that is set aside: why, and what is asked of its consents once it is released."""
        return {**marker, "set_aside": reason, "consent_rules": self._consent.model_dump(mode="json")}

    def finished(self, film: Film, marker: dict[str, Any], reference: Reference) -> dict[str, Any]:
        """Look at a film that is there; the marker that it has then, with `set_aside` where it was taken away."""
        quality = {name: Measure(**one) for name, one in (marker.get("quality") or {}).items()}
        if FILM not in quality:
            with temporary_folder("screening") as folder:
                quality |= self.measures(storage.fetch(self._layout.film(film), folder, None), reference)
            marker = {**marker, "quality": {name: one.model_dump() for name, one in quality.items()}}
        if reason := self.settings.reason(quality):
            marker = self.aside(marker, reason)
            self._layout.move_film(film, self._layout.aside(), marker)
        else:
            storage.publish_json(marker, self._layout.film_marker(film))
        return marker
