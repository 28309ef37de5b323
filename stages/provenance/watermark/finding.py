"""What a detector says of pictures."""

from __future__ import annotations

from dataclasses import dataclass

LOOKED_AT = 48  # frames of a film at most: more of them say hardly more


@dataclass(frozen=True)
class Finding:
    """Whether the mark was found.

    confidence: one less a bound of the chance that pictures without this mark and key would read so, 0…1; id: what they
    carry, None where it can not be read; mirrored: whether they are shown left for right.
    """

    found: bool
    confidence: float
    id: int | None = None
    mirrored: bool = False


def frames_to_look_at(frames: int) -> list[int]:
    """Numbers of the frames of a film that a detector is given, ascending and spread evenly."""
    return sorted({number * frames // LOOKED_AT for number in range(LOOKED_AT)}) if frames else []
