"""Ray's label selectors, as its scheduler reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LIST = re.compile(r"(!?)in\((.*)\)")


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels has all that is selected: `value`, `!value`, `in(a, b)` or `!in(a, b)`.

    A node without the label has no value of it: what is excluded does not exclude it.
    """
    return all(_has(labels.get(key), wanted) for key, wanted in selector.items())


def _has(value: str | None, wanted: str) -> bool:
    if listed := _LIST.fullmatch(wanted):
        return (value in {one.strip() for one in listed[2].split(",")}) != bool(listed[1])
    return value != wanted[1:] if wanted.startswith("!") else value == wanted
