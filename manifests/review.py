"""Which films a person should look at: what was measured of each, held against limits that cost no rendering."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator


class Measure(BaseModel):
    """What a metric says of a film, and the frame that is the worst by it, where one is."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    value: float
    frame: int | None = Field(None, ge=0)


def _mapping(given: Any) -> Any:
    """Measures as a mapping, also from the JSON text that a table holds."""
    return json.loads(given) if isinstance(given, str) and given else given or {}


Quality = Annotated[dict[str, Measure], BeforeValidator(_mapping)]

LESS_IS_WORSE = frozenset({"sharpness", "pose"})


class MetricLimits(BaseModel):
    """How bad a film may be by each metric before somebody should look at it; null: a metric is of no account."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    container: float | None = Field(0, ge=0, description="faults of the file: frames, rate, size, length, its index")
    black: float | None = Field(0, ge=0, description="frames without a picture")
    frozen: float | None = Field(3, ge=0, description="frames in a row that stand still while the pose moves")
    flicker: float | None = Field(0.5, ge=0, description="change of brightness faster than a second, in per cent")
    warping_error: float | None = Field(0.012, ge=0, description="change along the motion from frame to frame, of 1")
    warping_ratio: float | None = Field(1.5, ge=0, description="the same, over that of the truth or the driving video")
    background: float | None = Field(1.5, ge=0, description="slow change of what is behind the person, of 255")
    seam: float | None = Field(1.65, ge=0, description="change at the worst border of segments, over that around")
    colour_drift: float | None = Field(3, ge=0, description="colour of a chained segment off the first one's, as ΔE00")
    contrast_drift: float | None = Field(12, ge=0, description="contrast of it off the first one's, in per cent")
    loop: float | None = Field(1.5, ge=0, description="change from last frame to first, over that between neighbours")
    garment: float | None = Field(3, ge=0, description="colour of the torso off the reference's, as ΔE00")
    sharpness: float | None = Field(0.6, ge=0, description="over that of the reference; less is worse")
    pose: float | None = Field(0.9, ge=0, description="PCK@0.1 of the poses found in the film; less is worse")


# The bundled animator is a small one: its clothes are not quite the reference's, and softer. By its films of the sample
# catalogue, of which none is beyond these.
OWN: dict[str, dict[str, float | None]] = {"drawn": {"garment": 12, "sharpness": 0.36}}


class ReviewLimits(MetricLimits):
    """The limits for all films, and what is otherwise for those of one animator."""

    animators: dict[str, dict[str, float | None]] = Field(
        OWN, description="other limits for the films of an animator, by its name"
    )

    @model_validator(mode="before")
    @classmethod
    def _limits_for_all_are_for_the_bundled_too(cls, given: Any) -> Any:
        """What the user says of one animator comes first, then what of all, then what Catwalk comes with."""
        if not isinstance(given, dict) or not isinstance(animators := given.get("animators", {}), dict):
            return given
        own = {
            animator: {name: limit for name, limit in limits.items() if name not in given}
            for animator, limits in OWN.items()
        }
        said = {animator: limits for animator, limits in animators.items() if isinstance(limits, dict)}
        return given | {"animators": animators | {name: own.get(name, {}) | said.get(name, {}) for name in own | said}}

    @field_validator("animators")
    @classmethod
    def _known(cls, given: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
        for limits in given.values():
            MetricLimits.model_validate(limits)
        return given

    def of(self, animator: str | None) -> dict[str, float]:
        """The limits for films of an animator, by metric."""
        own = self.animators.get(animator or "", {})
        limits = {**self.model_dump(exclude={"animators"}), **own}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def reasons(self, quality: Mapping[str, Measure], animator: str | None) -> list[str]:
        """Why a film is to be looked at, such as 'flicker 0.41 > 0.3 at frame 17'; empty: nothing is beyond limits."""
        limits = self.of(animator)
        return [_reason(name, one, limits[name]) for name, one in quality.items() if _beyond(name, one, limits)]


MOST_EXCESS = 100.0
_SAID = re.compile(r"\S+ (\S+) [<>] (\S+)")


def excess(reason: str) -> float:
    """How far what `reasons` told of is beyond its limit: 2 is twice as bad as allowed."""
    said = _SAID.match(reason)
    try:
        low, high = sorted(abs(float(number)) for number in said.groups()) if said else (1.0, 1.0)
    except ValueError:
        return 1.0
    return min(high / low, MOST_EXCESS) if low else MOST_EXCESS


def _beyond(name: str, measured: Measure, limits: Mapping[str, float]) -> bool:
    if name not in limits:
        return False
    return measured.value < limits[name] if name in LESS_IS_WORSE else measured.value > limits[name]


def _reason(name: str, measured: Measure, limit: float) -> str:
    sign = "<" if name in LESS_IS_WORSE else ">"
    place = "" if measured.frame is None else f" at frame {measured.frame}"
    return f"{name} {measured.value:.3g} {sign} {limit:.3g}{place}"
