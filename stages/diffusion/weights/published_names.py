"""Parts of published checkpoint folders whose names differ from copy to copy. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from manifests.errors import Problem

ALTERNATIVES = " | "
# The remedy wherever a part is missing.
AS_PUBLISHED = "lay the folder out as published: see stages/diffusion/README.md"


def varies(part: str) -> bool:
    """Whether a part has to be looked for: it has several possible names."""
    return "*" in part or ALTERNATIVES in part


def the_one(part: str, matching: Callable[[str], Iterable[str]], folder: str) -> str | None:
    """The file or folder that `part` means, below a checkpoint `folder` ('/' between the levels).

    `*` stands for what differs within one level; of alternatives (" | ") the first that is there is meant; None if
    none is. `matching` gives the names that fit a pattern. Raises `Problem` where there are several.
    """
    for alternative in part.split(ALTERNATIVES):
        found = sorted(set(matching(alternative)))
        if len(found) > 1:
            raise Problem(
                f"checkpoint {folder} is ambiguous: {' and '.join(found)} could each be its {alternative}",
                "leave the one that is meant in the folder, and move the others elsewhere",
            )
        if found:
            return found[0]
    return None


def on_disk(folder: Path) -> Callable[[str], list[str]]:
    """`matching` for a local folder."""
    return lambda pattern: [found.relative_to(folder).as_posix() for found in folder.glob(pattern)]


def among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """`matching` for the names of all files below a folder."""
    names = list(names)

    def matching(pattern: str) -> list[str]:
        expression = re.compile("(" + "[^/]*".join(map(re.escape, pattern.split("*"))) + ")(?:/|$)")
        return [match[1] for name in names if (match := expression.match(name))]

    return matching
