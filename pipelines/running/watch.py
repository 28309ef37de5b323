"""What a driver keeps an eye on while a graph runs, and the order to end a night before all of it is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from manifests.errors import Problem
from manifests.results import Result
from pipelines.console import Orders
from pipelines.progress import Say
from pipelines.running.attempts import Attempt
from pipelines.running.deadline import shown
from pipelines.running.following import TICK_SECONDS, Following
from pipelines.running.lease import Lease
from pipelines.running.stopping import Stopping
from pipelines.running.waiting import Waiting
from pipelines.settings import RunSettings

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0  # without a row, after which it is said what is waited for
LONGEST_QUIET_SECONDS = 600.0
LOOK_SECONDS = 2.0  # between looks at what is in hand, where something depends on it
SEEN_SECONDS = 3.0  # until every worker has seen an order
LAST_WORD_SECONDS = 2.0  # for a row that has just ended to come back


class Order(NamedTuple):
    """Why a run takes no new work, and for how many seconds rows in hand may go on (None: until they end)."""

    reason: str
    patience: float | None
    interrupted: bool = False


@dataclass(frozen=True)
class Ends:
    """When a run is to end, be there work left or not."""

    until: datetime | None = None
    max_gpu_hours: float | None = None


class Budget:
    """GPU-hours that a run may take: those of its films and of what failed, and those that rows in hand will take."""

    def __init__(self, hours: float, gpus: float) -> None:
        """`gpus` is what a worker holds."""
        self.hours = hours
        self._gpus = gpus
        self._spent = 0.0
        self._cost = self._paced = 0.0
        self._rows = 0

    def ended(self, result: Result, cost: float = 0.0) -> None:
        """Take in a row that this run did; `cost` tells the pace."""
        if result.status == "cached" or not result.gpu_seconds:
            return
        self._spent += result.gpu_seconds
        self._rows += 1
        if cost:
            self._cost += cost
            self._paced += result.gpu_seconds

    def exhausted(self, in_hand: Sequence[tuple[float, float]]) -> bool:
        """Whether one row more would be too much; `in_hand` are (cost, seconds so far) of rows that are being made."""
        usual = self._spent / self._rows if self._rows else 0.0
        pace = self._paced / self._cost if self._cost else None
        whole = [usual if pace is None else cost * pace for cost, _ in in_hand]
        coming = sum(max(all_of_it, took * self._gpus) for all_of_it, (_, took) in zip(whole, in_hand, strict=True))
        return self._spent + coming + usual > self.hours * 3600


class Silence:
    """Says what is waited for when nothing has come back for a while, and sees to it."""

    def __init__(self, settings: RunSettings, say: Say) -> None:
        folder = settings.layout.run(settings.run_id, "attempts")
        self._waiting = Waiting(folder, settings.session, settings.config.idle_seconds, say)
        self._every = min(QUIET_SECONDS, settings.config.idle_seconds / 4)
        self._looked = time.monotonic()
        self.broken()

    def broken(self) -> None:
        """Something came back."""
        self._waiting.something_came()
        self._heard, self._quiet = time.monotonic(), QUIET_SECONDS

    def begins(self, rows: Iterable[int]) -> None:
        """Rows are to be done, once more maybe."""
        self._waiting.goes_again(rows)
        self.broken()

    def row_came(self, row: int) -> None:
        """A row has come back."""
        self._waiting.row_came(row)
        self.broken()

    def part_came(self, row: int, unit: str) -> None:
        """A part of a row has come back."""
        self._waiting.part_came(row, unit)
        self.broken()

    def in_hand(self) -> list[Attempt]:
        """Tries that have not ended."""
        return self._waiting.in_hand()

    def __call__(self, following: Following | None = None) -> bool:
        """Look whether it lasts; it never ends what is followed. Raises `Problem` when there is nothing to wait for.

        Workers that do not end themselves are looked for every minute, whatever comes back from others.
        """
        now = time.monotonic()
        aloud = now - self._heard >= self._quiet
        if not aloud and now - self._looked < self._every:
            return False
        self._looked = now
        if aloud:
            self._quiet = min(2 * self._quiet, self._quiet + LONGEST_QUIET_SECONDS)
        try:
            self._waiting.look(following.in_words() if following else "", aloud)
        except Problem:
            raise
        except Exception as error:  # of the store
            log.warning("what is in hand could not be looked at: %s", error)
        return False


class Watch:
    """Sees signals, the STOP marker, the deadline, the budget, a lost lease, and that nothing comes back any more."""

    def __init__(
        self,
        settings: RunSettings,
        lease: Lease,
        orders: Orders,
        ends: Ends,
        say: Say,
        on_order: Callable[[Order], None],
        now_and_then: Callable[[], None],
    ) -> None:
        """`on_order` is called once the order to end is there, `now_and_then` at every look."""
        self.order: Order | None = None
        held = max(pool.num_gpus for pool in settings.config.animating())
        self.budget = None if ends.max_gpu_hours is None else Budget(ends.max_gpu_hours, held)
        self._settings = settings
        self._lease = lease
        self._orders = orders
        self._until = ends.until
        self._say = say
        self._on_order = on_order
        self._now_and_then = now_and_then
        self._stopping = Stopping(settings.layout.run(settings.run_id))
        self._costs: dict[int, float] = {}
        self._part_costs: Mapping[str, float] = {}
        self._looked = self._counted = 0.0
        self._in_hand: list[Attempt] = []
        self._silence = Silence(settings, say)
        self._ordered_at = self._idle_since = 0.0

    def spent(self, result: Result) -> None:
        """Take in a row that an earlier session of the run did."""
        if self.budget:
            self.budget.ended(result)

    def begins(self, costs: dict[int, float], parts: Mapping[str, float] | None = None) -> None:
        """A graph begins; `costs` of its rows, and of the parts that some are done in, by unit."""
        self._costs, self._part_costs = costs, parts or {}
        self._silence.begins(costs)

    def heard(self, result: Result, cost: float | None = None) -> None:
        """A row came back; `cost` is what of it was not heard of in parts, by default all."""
        self._silence.row_came(result.row)
        if self.budget:
            self.budget.ended(result, self._costs.get(result.row, 0.0) if cost is None else cost)

    def heard_part(self, result: Result, unit: str, cost: float) -> None:
        """A part of a row came back, which may have others in hand."""
        self._silence.part_came(result.row, unit)
        if self.budget:
            self.budget.ended(result, cost)

    def __call__(self, following: Following | None = None) -> bool:
        """Look at everything, at most once a tick; whether the graph is to be ended. Raises `Lost`."""
        now = time.monotonic()
        if now - self._looked < TICK_SECONDS:
            return False
        self._looked = now
        self._now_and_then()
        if self.ending():
            return self._drained(now) or self._silence(following)  # a frozen worker would never let go of its row
        return self._silence(following)

    def ending(self) -> bool:
        """Whether no new work is taken. Raises `Lost` where another driver has taken the run over."""
        if self._lease.lost_to:
            self._lease.require()
        if self.order is None or not self.order.interrupted:
            self._take(self._given())
        return self.order is not None

    def begun(self) -> dict[int, str]:
        """Rows in hand, and the stages that they are in."""
        return {attempt.row: attempt.stage for attempt in self._look_in_hand()}

    def _given(self) -> Order | None:
        """The order that stands now, if one does; a signal goes before all others."""
        grace = self._settings.config.grace_seconds
        if self._orders.first is not None:
            return Order(f"the run was told to end ({self._orders.first})", grace, interrupted=True)
        if self.order is not None:
            return None
        if (reason := self._stopping.reason()) is not None:
            return Order(f"the run was told to stop ({reason})", None)
        if self._until is not None and datetime.now(UTC) >= self._until:
            return Order(f"the deadline {shown(self._until)} came", grace)
        if self.budget and self.budget.exhausted(self._being_made()):
            return Order(f"the budget of {self.budget.hours:g} GPU-hours is spent", None)
        return None

    def _take(self, order: Order | None) -> None:
        if order is None:
            return
        self._lease.require()
        first = self.order is None
        self.order, self._ordered_at, self._idle_since = order, time.monotonic(), 0.0
        wait = "" if order.patience is None else f" for {order.patience:g} s at most"
        self._say(f"  {order.reason}: no new work is taken; rows in hand may be finished{wait}")
        if first:
            with suppress(Exception):  # what is in hand is given up after a while anyway
                self._stopping.order(order.reason)
        self._on_order(order)

    def _drained(self, now: float) -> bool:
        """Whether nothing is in hand any more, or has been for too long."""
        since = now - self._ordered_at
        if self.order and self.order.patience is not None and since >= self.order.patience:
            return True
        if since < SEEN_SECONDS:
            return False
        if self._look_in_hand():
            self._idle_since = 0.0
            return False
        self._idle_since = self._idle_since or now
        return now - self._idle_since >= LAST_WORD_SECONDS

    def _look_in_hand(self) -> list[Attempt]:
        now = time.monotonic()
        if now - self._counted >= LOOK_SECONDS:
            with suppress(Exception):  # stores have errors of their own
                self._in_hand = self._silence.in_hand()
                self._counted = now
        return self._in_hand

    def _being_made(self) -> list[tuple[float, float]]:
        making = [attempt for attempt in self._look_in_hand() if attempt.stage == "animate"]
        costs = (self._part_costs.get(one.unit, self._costs.get(one.row, 0.0)) for one in making)
        return [(cost, seconds_since(one.begun)) for cost, one in zip(costs, making, strict=True)]


def seconds_since(begun: str) -> float:
    """Seconds since a moment in ISO 8601, by this machine's clock; 0 for one to come."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(begun)).total_seconds())
