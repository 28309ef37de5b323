"""What a person should know of a film although it can be made: said when it is planned, and kept in its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.work import Work

LEFT_OUT = 0.15  # of the reference's area: a film that leaves out more is worth a word
CUT = 0.02  # of its person's height or width


def plan_warnings(work: Work) -> list[str]:
    """What is known before anything of the film is made; each with its remedy."""
    reference, left_out = work.reference, work.reference_left_out or 0.0
    if reference is None or left_out <= LEFT_OUT or work.crops_around_person:
        return []
    return [_outside(work, f"{100 * left_out:.0f} % of the reference")]


def result_warnings(work: Work, pose: Mapping[str, Any]) -> list[str]:
    """The same, and what the report on the poses tells."""
    found = plan_warnings(work)
    if (cut := pose.get("cut") or 0.0) > CUT:
        found.append(_outside(work, f"{100 * cut:.0f} % of the reference's person"))
    if filled := [*pose.get("held", ()), *pose.get("bridged", ())]:
        frames = ", ".join(f"{first}–{last}" for first, last in sorted(filled))
        found.append(
            f"frames {frames} of the film show the nearest pose, as nobody is found there in the driving video; "
            "choose another range, or a video in which the person stays visible"
        )
    if empty := pose.get("empty"):
        frames = ", ".join(f"{first}–{last}" for first, last in empty)
        found.append(f"frames {frames} of the film follow nobody's pose; choose another range of the driving file")
    if (faceless := pose.get("faceless")) and work.clip.driving_kind == "video":
        frames = ", ".join(f"{first}–{last}" for first, last in faceless)
        found.append(
            f"frames {frames} of the film have no face to read expressions of: the driving person's is not seen there; "
            "film closer, from the front, where expressions matter"
        )
    if outside := pose.get("outside"):
        found.append(
            f"the person is outside the film in {100 * outside:.0f} % of the frames; "
            "set fit to contain, or give the film the driving video's shape"
        )
    return found


def _outside(work: Work, what: str) -> str:
    clip, reference = work.clip, work.reference
    size = f" ({reference.width}×{reference.height})" if reference else ""
    return (
        f"fit cover: {what}{size} lies outside the film ({clip.width}×{clip.height}); "
        "set fit to contain, or give the film the reference's shape"
    )
