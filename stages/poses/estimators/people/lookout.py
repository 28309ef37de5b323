"""When to look for people again, and where: to find somebody costs ten times as much as to follow them."""

from __future__ import annotations

import numpy as np

from stages.poses.estimators.people.region import Region

GLANCE_EVERY = 8  # frames: who has come into the picture is looked for so often
LONGEST_PAUSE = 32  # frames between two searches in vain, at most


class Lookout:
    """The searches that are due. In vain they become rarer: after 1, 2, 4 … frames."""

    def __init__(self) -> None:
        self._everywhere = Backoff(0)
        self._lost: list[tuple[Region, Backoff]] = []

    def restart(self, number: int) -> None:
        """Nothing is known of the frame of that number."""
        self._everywhere, self._lost = Backoff(number), []

    def lost(self, number: int, region: Region) -> None:
        """Somebody who was there is not seen any more in the frame of that number."""
        self._lost.append((region, Backoff(number)))

    def found(self, number: int, region: Region) -> None:
        """Somebody new is in that region, perhaps one of those who were lost there."""
        self._everywhere = Backoff(number + 1)
        self._lost = [
            (place, backoff)
            for place, backoff in self._lost
            if np.linalg.norm(place.centre - region.centre) > place.side / 2
        ]

    def everywhere(self, number: int, nobody: bool) -> bool:
        """Whether to search square by square: at the beginning, and as long as nobody is known."""
        return nobody and self._everywhere.is_due(number)

    def at_a_glance(self, number: int) -> bool:
        """Whether to look at the whole picture once."""
        return number % GLANCE_EVERY == 0

    def places(self, number: int) -> list[Region]:
        """Where to look for those who were lost. After the longest pause they are given up."""
        self._lost = [(place, backoff) for place, backoff in self._lost if backoff.pause <= LONGEST_PAUSE]
        return [place for place, backoff in self._lost if backoff.is_due(number)]


class Backoff:
    """A moment, and a later one after each time that it was used: pauses double."""

    def __init__(self, due: int) -> None:
        self._due, self.pause = due, 1

    def is_due(self, number: int) -> bool:
        """Whether frame `number` is late enough; the next moment is then farther away."""
        if number < self._due:
            return False
        self._due, self.pause = number + min(self.pause, LONGEST_PAUSE), self.pause * 2
        return True
