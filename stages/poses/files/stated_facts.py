"""What files of users state beside their points: the size of the picture and the frame rate."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from manifests.errors import Rejected
from manifests.frame_rate import FASTEST_CAMERA, frame_rate

FURTHEST = 1_000_000  # pixels from a picture's corner: no point lies further
_LONGEST = 2**62  # of a side; how large a picture may be, `limits.frame_pixels` says


def picture_size(width: Any, height: Any, field: str = "width × height") -> tuple[int, int]:
    """(width, height) in pixels as a file of a user states them: whole numbers, as 640 or 640.0. Raises `Rejected`."""
    if not (_is_side(width) and _is_side(height)):
        told = " × ".join(repr(side)[:40] for side in (width, height))
        raise Rejected(f"{field} is {told}", "write whole numbers of pixels")
    return int(width), int(height)


def stated_rate(given: Any) -> Fraction | None:
    """The frame rate; None where there is none. Raises `ValueError`, in words for the file's owner."""
    try:
        return None if given is None else frame_rate(given, FASTEST_CAMERA)
    except ValueError as wrong:
        raise ValueError(f"fps {str(given)[:40]!r} {wrong}") from None


def written_number(value: Any) -> Any:
    """The number that a text is, where a format has nothing but text for it; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _is_side(value: Any) -> bool:
    # NaN is not between; of the kinds of numbers, truth values are none
    return type(value) in (int, float) and 1 <= value <= _LONGEST and value == int(value)
