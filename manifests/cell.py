"""The plain Python value behind one cell, whichever of Parquet, pandas, NumPy, CSV or JSON it came from."""

import datetime
import decimal
import json
import math
import re
from typing import Any

DEEPEST = 32
LONGEST_JSON = 2**20

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def is_null(value: Any) -> bool:
    """True for everything that tables use to say "nothing here": None, NaN, NaT, NA and empty text."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, decimal.Decimal):
        return value.is_nan()  # `math.isnan` raises for a signalling one
    if isinstance(value, float):
        return math.isnan(value)
    if getattr(value, "shape", None) == ():  # NumPy scalar
        return is_null(value.item())
    return getattr(value, "is_valid", True) is False  # Arrow scalar


def plain(value: Any, depth: int = 0, *, lossless: bool = False) -> Any:
    """The value as None, bool, int, float, str, list or dict with text keys, all of which JSON and Parquet can hold.

    NaN becomes None, as JSON has no word for it; dates become ISO text; what is no text in UTF-8 becomes U+FFFD, or
    with `lossless` stays as lone surrogates (PEP 383), which `is_broken_text` finds. Raises ValueError when nested too
    deeply.
    """
    if depth > DEEPEST:
        raise ValueError(f"is nested more than {DEEPEST} levels deep")
    if hasattr(value, "as_py"):  # Arrow scalar
        value = value.as_py()
    if isinstance(value, str):
        return _text(value, lossless) if _SURROGATE.search(value) else value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _not_finite(value)
    if isinstance(value, dict):
        return {
            plain(str(key), lossless=lossless): plain(item, depth + 1, lossless=lossless) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1, lossless=lossless) for item in value]
    return _foreign(value, depth, lossless)


def is_broken_text(value: Any) -> bool:
    """Whether a plain value is or holds text that UTF-8 cannot write: half a character, or bytes of another encoding.

    Such text comes from JSON escapes, from file names and from columns that are not UTF-8.
    """
    if isinstance(value, dict):
        return any(is_broken_text(key) or is_broken_text(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(map(is_broken_text, value))
    return isinstance(value, str) and _SURROGATE.search(value) is not None


def mapping(value: Any, *, lossless: bool = False) -> dict[str, Any]:
    """A JSON object as text, a struct or a map (list of pairs) as a dict of values as `plain` has them; no absent keys.

    A null counts as absent: a struct column has every row's keys, null where the row did not set them.
    Raises ValueError, in words that do not repeat the value.
    """
    if hasattr(value, "as_py"):
        value = value.as_py()
    if isinstance(value, str | bytes):
        value = _json(value)
    elif isinstance(value, list | tuple):
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
            raise ValueError("is a list, but not one of (key, value) pairs")
        value = dict(value)
    if not isinstance(value, dict):
        raise ValueError("does not map names to values")
    return {key: item for key, item in plain(value, lossless=lossless).items() if item is not None}


def _text(text: str, lossless: bool) -> str:
    # UTF-16 knows surrogates: two halves that stand together become the character that they are
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass" if lossless else "replace")


def _json(text: str | bytes) -> Any:
    if len(text) > LONGEST_JSON:  # brackets become thirty times what they are as text
        raise ValueError(f"is longer than {LONGEST_JSON:,} characters")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except (ValueError, RecursionError):
        raise ValueError("is not valid JSON") from None


def _not_finite(value: float) -> str | None:
    return None if math.isnan(value) else str(float(value))


def _foreign(value: Any, depth: int, lossless: bool) -> Any:
    """What other libraries put into rows: NumPy scalars and arrays, decimals, dates, bytes."""
    if is_null(value):
        return None
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            return str(value)
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "surrogateescape" if lossless else "replace")
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind is not None and kind not in "mM" and hasattr(value, "tolist"):
        return plain(value.tolist(), depth, lossless=lossless)
    return plain(str(value), lossless=lossless)
