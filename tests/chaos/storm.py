"""Who breaks a night: kills workers of every stage, loses a node, freezes one, and kills the driver."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.chaos.cluster import STAGES, Nodes, has_row, is_starting, send
from tests.chaos.driver import Driver

POLL = 0.03  # seconds: the first rows of a stage pass quickly


@dataclass(frozen=True)
class Blow:
    """What is to happen as soon as that share of the films is there."""

    share: float
    what: str  # "driver", "node lost", "node frozen"


BLOWS = (Blow(0.1, "node frozen"), Blow(0.25, "driver"), Blow(0.45, "node lost"), Blow(0.7, "driver"))


@dataclass
class Storm:
    """Blows one after the other, from the main thread, where alone Ray starts nodes; `struck` counts what it did.

    Every `interval` seconds a worker of the next stage dies, until `kills` are done: one with a row in hand, if there
    is one within `patience` seconds, else one that waits for a row. A frozen node stands still for `out_seconds`, and a
    lost one is replaced after as long.
    """

    nodes: Nodes
    driver: Driver
    share: Callable[[], float]  # of the films that are there
    interval: float
    kills: int
    patience: float
    blows: Sequence[Blow] = BLOWS
    out_seconds: float = 40.0
    seed: int = 0
    struck: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._next_kill = time.monotonic()
        self._left = list(self.blows)

    @property
    def killed(self) -> int:
        """Workers."""
        return sum(self.struck.get(f"{stage} worker", 0) for stage in STAGES)

    @property
    def spent(self) -> bool:
        """Whether everything that was to happen has happened."""
        return self.killed >= self.kills and not self._left

    def rage(self, over: threading.Event) -> None:
        """Until the night is over."""
        with ExitStack() as self._frozen:
            while not over.wait(POLL):
                now = time.monotonic()
                for due in [later for later in self._later if later[0] <= now]:
                    self._later.remove(due)
                    due[1]()
                if self._left and self.share() >= self._left[0].share:
                    self._strike(self._left.pop(0).what, now)
                if self.killed < self.kills and now >= self._next_kill:
                    self._kill(busy=now < self._next_kill + self.patience)

    def _kill(self, busy: bool) -> None:
        """End a worker of the stage that had the fewest killed, or of the next one where its rows are all done."""
        there = self.nodes.workers()
        stages = list(STAGES)
        for stage in sorted(stages, key=lambda stage: self.struck.get(f"{stage} worker", 0)):
            found = [worker for worker in there[stage] if has_row(worker) or not (busy or is_starting(worker))]
            if found and send(self._random.choice(found), signal.SIGKILL):
                self.struck[f"{stage} worker"] = self.struck.get(f"{stage} worker", 0) + 1
                self._next_kill = time.monotonic() + self.interval
                return
            if there[stage] or not any(there[later] for later in stages[stages.index(stage) + 1 :]):
                return  # its turn will come

    def _strike(self, what: str, now: float) -> None:
        self.struck[what] = self.struck.get(what, 0) + 1
        if what == "driver":
            self.driver.kill()
        elif what == "node lost":
            self.nodes.lose(self._random.randrange(len(self.nodes)))
            self._later.append((now + self.out_seconds, self.nodes.heal))
        else:
            freeze = ExitStack()
            freeze.enter_context(self.nodes.frozen(self._random.randrange(len(self.nodes))))
            self._frozen.push(freeze)
            self._later += [(now + self.out_seconds, freeze.close), (now + self.out_seconds + 10, self.nodes.heal)]
