"""Frame rates are exact fractions; this reads the ways in which people write them."""

import re
from fractions import Fraction
from typing import Any

FASTEST = 240  # film
FASTEST_CAMERA = 1_000_000
NTSC = tuple(Fraction(nominal * 1000, 1001) for nominal in (24, 30, 48, 60, 120))
FORMAT = "a whole number (25), a fraction ('30000/1001') or one of the decimals 23.976, 29.97, 59.94"

# How people round them; five digits also recognise what a 32-bit float column makes of 29.97.
_ROUNDED = {round(float(rate), digits): rate for rate in NTSC for digits in range(2, 6)}
_TEXT = re.compile(r"(\d{1,9})(?:/(\d{1,9}))?")


def frame_rate(value: Any, fastest: int = FASTEST) -> Fraction:
    """The rate in frames per second, above 0 and at most `fastest`.

    Takes an int, a fraction, text of either, or a decimal that is whole or is one of the NTSC rates as people round
    them (29.97 is 30000/1001). Any other decimal is refused: its exact value is not what its author meant.
    Raises ValueError, in words that do not repeat the value.
    """
    rate = _fraction(value, fastest)
    if not 0 < rate <= fastest:
        raise ValueError(_out_of_bounds(fastest))
    if max(rate.numerator, rate.denominator) >= 2**31:  # what a video container can hold
        raise ValueError("is a fraction with too many digits")
    return rate


def _fraction(value: Any, fastest: int) -> Fraction:
    if isinstance(value, bool):
        raise ValueError("is not a frame rate")
    if isinstance(value, int | Fraction):
        return Fraction(value)
    if isinstance(value, str):
        written = _TEXT.fullmatch(value.strip())
        if written and int(written[2] or 1) > 0:
            return Fraction(int(written[1]), int(written[2] or 1))
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("is not a frame rate") from None
    if number.is_integer():
        return Fraction(int(number))
    if round(number, 5) in _ROUNDED:
        return _ROUNDED[round(number, 5)]
    if not 0 < number <= fastest:
        raise ValueError(_out_of_bounds(fastest))
    exact = Fraction(number).limit_denominator(1001)
    raise ValueError(f"is a decimal, which may not be the exact rate (perhaps {exact} is meant)")


def _out_of_bounds(fastest: int) -> str:
    return f"is not above 0 and at most {fastest} frames per second"
