"""What is wrong with one field of one clip, in words its owner can act on."""

import difflib
import re
import reprlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from manifests.errors import Rejected

LONGEST_SHOWN = 120
LONGEST_LOOKED_AT = 10_000  # of a text whose beginning is shown: a secret is known by what follows it
MOST_LISTED = 8

_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|\d[\d.,]*")
# Bounded in depth and items, but never in text: half a URI could no longer be recognised and redacted.
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = sys.maxsize

# What pydantic calls an error → what is wrong, and what was expected where the schema cannot tell.
_WRONG_KIND = {"int": "is not a whole number", "float": "is not a number", "bool": "is neither true nor false"}
_BEYOND = {
    "greater_than_equal": "is below {ge}",
    "greater_than": "is not above {gt}",
    "less_than_equal": "is above {le}",
    "less_than": "is not below {lt}",
    "string_too_long": "is longer than {max_length} characters",
    "too_long": "is longer than {max_length} characters",
    "finite_number": "is not a finite number",
}


class FieldError(NamedTuple):
    """One field at fault. `value` is ready to be shown: shortened, and without credentials."""

    field: str
    value: str
    error: str
    remedy: str

    @property
    def fault(self) -> str:
        """Field, value and what is wrong with it, without the remedy."""
        return f"{self.field} {self.value}: {self.error}" if self.value else f"{self.field}: {self.error}"

    def __str__(self) -> str:
        return f"{self.fault} → {self.remedy}"


def rejection(errors: list[FieldError]) -> Rejected:
    """All that is wrong with a row as the one exception that ends it."""
    return Rejected("; ".join(error.fault for error in errors), "; ".join(error.remedy for error in errors))


def without_particulars(text: str) -> str:
    """The text less names, paths and numbers: errors that differ only in those are of one kind."""
    return _PARTICULARS.sub("…", text[:500])


def closest(word: str, choices: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The choice that `word` was most likely meant to be, None when nothing is near: `cutoff` is difflib's ratio."""
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(word).strip().lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[near[0]] if near else None


def choose(word: str, choices: Iterable[str]) -> str:
    """The remedy for a word that is not among the choices: the nearest one first, then all of them."""
    names = sorted(choices)
    near = closest(word, names)
    listed = "use one of " + ", ".join(names)
    if near is None:
        return listed
    return f"did you mean '{near}'?" + (f" {listed}" if len(names) <= MOST_LISTED else "")


def shown(value: Any, *, is_uri: bool = False) -> str:
    """The value as it may stand in a message or a log: on one line, short, no credentials and no query strings."""
    from manifests import storage  # here, so that a clip can be described without loading a storage library

    if isinstance(value, str):
        value = value[:LONGEST_LOOKED_AT]
    is_one = is_uri and isinstance(value, str)
    text = repr(storage.redact(value)) if is_one else storage.redact_text(_REPR.repr(value)[:LONGEST_LOOKED_AT])
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def describe(raised: Mapping[str, Any], schema: Mapping[str, Any], uris: frozenset[str]) -> FieldError:
    """One entry of pydantic's `ValidationError.errors()` in plain words.

    `schema` holds the JSON schema of every field; `uris` names those whose whole text is a URI.
    """
    context = raised.get("ctx", {})
    field = str(context.get("field") or raised["loc"][0])
    kind = raised["type"]
    value = raised["input"]
    if kind == "missing":
        return FieldError(field, "", "is missing", f"fill it in: {schema[field]['description']}")
    if kind == "extra_forbidden":
        return FieldError(field, shown(value), "is not a field of a clip", choose(field, schema))
    text = "" if "field" in context else shown(value, is_uri=field in uris)
    if "remedy" in context:
        return FieldError(field, text, raised["msg"], context["remedy"])
    remedy = f"give {expected(schema[field])}"
    if kind == "literal_error":
        return FieldError(field, text, "is not a known choice", choose(str(value), _choices(schema[field])))
    if kind in _BEYOND:
        return FieldError(field, text, _BEYOND[kind].format(**context), remedy)
    return FieldError(field, text, _WRONG_KIND.get(kind.split("_")[0], "is of the wrong kind"), remedy)


def expected(schema: Mapping[str, Any]) -> str:
    """What a field may hold, from its JSON schema: 'a whole number from 16 to 4096'."""
    shape = _not_null(schema)
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "array": "numbers"}
    name = kinds.get(str(shape.get("type")), "text")
    if "exclusiveMinimum" in shape:
        name += f" above {shape['exclusiveMinimum']:g}"
    elif "minimum" in shape:
        name += f" from {shape['minimum']}"
    if "maximum" in shape:
        name += f" to {shape['maximum']}"
    elif "minimum" in shape:
        name += " up"
    if "maxLength" in shape:
        name += f" of at most {shape['maxLength']} characters"
    return name


def _not_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    return kinds[0] if kinds else schema


def _choices(schema: Mapping[str, Any]) -> list[str]:
    return list(_not_null(schema)["enum"])
