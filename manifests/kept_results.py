"""Results in numbers that would not fit as objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from manifests.results import Result


class KeptResults(Sequence[Result]):
    """Results as text, each made anew when it is asked for: a tenth of what they take as objects."""

    def __init__(self, results: Iterable[Result] = ()) -> None:
        self._texts: list[tuple[int, str]] = []  # with the row
        self.extend(results)

    def extend(self, results: Iterable[Result]) -> None:
        """Take in more of them."""
        if isinstance(results, KeptResults):
            self._texts += results._texts
        else:
            self._texts += ((result.row, text_of(result)) for result in results)

    def add(self, row: int, text: str) -> None:
        """Take in one that is text already."""
        self._texts.append((row, text))

    def texts(self) -> Iterator[tuple[int, str]]:
        """(row, text) of each."""
        return iter(self._texts)

    def in_order(self) -> KeptResults:
        """The same by row number."""
        ordered = KeptResults()
        ordered._texts = sorted(self._texts, key=lambda one: one[0])
        return ordered

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[Result]:
        return (Result.model_validate_json(text) for _, text in self._texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> KeptResults: ...
    def __getitem__(self, index: int | slice) -> Result | KeptResults:
        if isinstance(index, int):
            return Result.model_validate_json(self._texts[index][1])
        some = KeptResults()
        some._texts = self._texts[index]
        return some


def text_of(result: Result) -> str:
    """A result as JSON, without what it does not say."""
    return result.model_dump_json(exclude_defaults=True)
