"""YAML files that users write, read within bounds: a slip of the pen, or a stranger's file, is said in words."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from manifests.errors import WrongUsage

MOST_BYTES = 2**20
LARGEST = 2**63 - 1


class _Loader(yaml.SafeLoader):
    """As YAML says, which PyYAML does not look at: no key stands twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """The mapping in a file that messages call `what`; an empty file is an empty one.

    Raises `WrongUsage` for any other file, one of more than MOST_BYTES, and for numbers that JSON and Parquet cannot
    hold.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        given = yaml.load(text.decode("utf-8"), _Loader) or {}  # noqa: S506 - a SafeLoader
        if wrong := next((place for place, value in _leaves(given, "", set()) if not _is_plain(value)), None):
            raise ValueError(f"{wrong} is no number of at most 64 bits")
    # 5,000 digits, 3,000 brackets, a date of month 13
    except (OSError, yaml.YAMLError, ValueError, RecursionError, OverflowError) as broken:
        raise WrongUsage(f"{what} {path}: {broken}", "correct the file") from None
    if not isinstance(given, dict):
        raise WrongUsage(f"{what} {path}: holds no mapping", "write `field: value` lines")
    return given


def _leaves(value: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Every value with the names that lead to it; what aliases repeat, once."""
    if isinstance(value, Mapping | list):
        if id(value) in seen:
            return
        seen.add(id(value))
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{place}.{name}" if place else str(name), seen)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, place, seen)
    else:
        yield place, value


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) <= LARGEST
