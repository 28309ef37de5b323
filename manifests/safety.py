"""Which films a person has to look at before anybody else does: scores of a network, held against a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from manifests.review import Measure

FILM, REFERENCE = "safety", "safety_reference"  # among the measures of a film: its worst frame, and who it is of


class SafetySettings(BaseModel):
    """The section `safety` of a configuration. By default nothing is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enabled: bool = Field(
        False, description="score references and films by a network (extra `safety`), and set aside what is above limit"
    )
    limit: float = Field(0.5, ge=0, le=1, description="score from which on a person has to look, 0 to 1")
    frames: int = Field(12, ge=1, le=1000, description="frames of a film that are scored, evenly spread, both ends too")

    def reason(self, quality: Mapping[str, Measure]) -> str | None:
        """Why a film is not to be published before somebody has looked; None: nothing is at or above the limit."""
        if not self.enabled:
            return None
        said = []
        for name, what in ((REFERENCE, "the reference"), (FILM, "frame")):
            if (measure := quality.get(name)) is not None and measure.value >= self.limit:
                place = what if measure.frame is None else f"{what} {measure.frame}"
                said.append(f"{place} scores {measure.value:.3g}")
        return f"content safety: {', '.join(said)}, the limit is {self.limit:g}" if said else None

    def pending(self, marker: Mapping[str, Any]) -> bool:
        """Whether a finished film is to be looked at, or set aside: no person released it, and no network passed it."""
        if not self.enabled or marker.get("released"):
            return False
        quality = marker.get("quality") or {}
        return FILM not in quality or self.reason({name: Measure(**one) for name, one in quality.items()}) is not None
