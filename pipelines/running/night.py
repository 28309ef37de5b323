"""One session of a run: its rows as they end, why it ends before them if it does, and the table that it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, cast

import ray.data

from manifests import results
from manifests.errors import Problem
from manifests.kept_results import KeptResults
from manifests.layout import Film
from manifests.results import Result
from manifests.retries import RETRIES
from manifests.work import Work
from pipelines.boundary import ended, guarded
from pipelines.consenting import consented_to_the_end, still_consented
from pipelines.console import Orders
from pipelines.plan import Plan, reused
from pipelines.planned_clip import PlannedClip
from pipelines.progress import Progress, Say, clock
from pipelines.running.claims import Claims
from pipelines.running.deadline import shown
from pipelines.running.dealing import Dealing, Ended, unit_of
from pipelines.running.following import followed
from pipelines.running.last_tries import last_tries
from pipelines.running.lease import Lease, Lost
from pipelines.running.outcomes import Outcomes, checked, films_of
from pipelines.running.partial_results import PartialResults
from pipelines.running.record import RunRecord, RunResults
from pipelines.running.watch import LOOK_SECONDS, QUIET_SECONDS, Ends, Order, Watch
from pipelines.running.workers import outcome
from pipelines.settings import RunSettings
from pipelines.watching.metrics import Exporter

# of groups of clips, and of deaths that set one aside
Graph = Callable[[Sequence[Sequence[PlannedClip]], int], ray.data.Dataset]


class Night:
    """What is known of a run's rows while its driver is alive."""

    def __init__(
        self,
        rows: Iterable[int],
        whole: int,
        settings: RunSettings,
        record: RunRecord,
        lease: Lease,
        orders: Orders,
        ends: Ends,
        say: Say,
        live: Say | None = None,
    ) -> None:
        """`rows` are the numbers of those that the run is about, of the `whole` manifest's.

        `live` writes a line that the next one replaces, where there is a terminal.
        """
        self._whole = whole
        self._settings = settings
        self._record = record
        self._lease = lease
        self._say = say
        self._outcomes = Outcomes(rows, settings)
        self._partial = PartialResults(settings.layout.run(settings.run_id))
        self._watch = Watch(settings, lease, orders, ends, say, self._write_now, self._now_and_then)
        self._live = live
        self._progress: Progress | None = None
        self._exporter = Exporter(settings.run_id)
        self._left = 0  # clips of the plan
        self._claims = Claims(settings.layout, settings.run_id, settings.session)
        self._broke_off: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be begun."""
        return self._broke_off is not None or self._watch.ending()

    def begin(self, settled_already: KeptResults) -> None:
        """The plan stands; so have these rows ended already. Raises what reading the earlier table does."""
        self._partial.clear()
        earlier = self._record.earlier()
        if self._watch.budget:
            for result in spent_before(earlier, settled_already):
                self._watch.spent(result)
        self.settle(settled_already)

    def breaks_off(self, error: Exception) -> None:
        """Nothing more is begun, for that reason; an earlier one counts."""
        self._broke_off = self._broke_off or in_one_line(error)

    def settle(self, final: Iterable[Result]) -> None:
        """Take in final results that took this session's workers nothing."""
        kept = KeptResults(final)
        self._record.meter.settled(kept)
        self.take(kept)

    def take(self, final: Iterable[Result]) -> None:
        """Take in results that will not change any more."""
        kept = KeptResults(final)
        self._outcomes.take(kept)
        self._partial.add(kept)

    def animate(self, plan: Plan, graph: Graph) -> set[int]:
        """Run the graph over the plan; returns the rows that are to be done once more.

        A clip whose worker died too often gets one last try alone, so that a healthy one is not condemned for its
        neighbours. Rows that share the film of a row to do again are done again with it. Raises `Lost`.
        """
        self._outcomes.plan(plan.clips())  # which, if done before, came to nothing
        if not plan.todo or self.over:
            return set()
        config, by_row = self._settings.config, {clip.row: clip for clip in plan.todo}
        dealing = Dealing(plan, lambda animator: config.pool_of(animator).most)
        self._watch.begins({clip.row: plan.cost(clip) for clip in plan.todo}, dealing.units())
        meter, cost = self._record.meter, sum(map(plan.cost, plan.todo))
        progress = Progress(len(plan.todo), cost, self._say, live=self._live, busy=lambda: meter.busy_so_far)
        self._progress = progress
        made: dict[int, Result] = {}  # of rows that are not over yet, or whose film others share
        again: set[int] = set()
        condemned: list[PlannedClip] = []

        def take(row: dict[str, Any], last_try: bool) -> None:
            ended = Ended(outcome(row), row["then"])
            if (part := dealing.part(row)) is not None:
                cost = dealing.cost(part.row)
                self._watch.heard_part(ended.result, unit_of(part), cost)
                meter.part_ended(ended.result, sum(part.seconds.get(name, 0.0) for name in ("load", "denoise")))
                progress.went_on(cost)
                if (of_clip := dealing.came(part, *ended)) is None:
                    return
                ended = of_clip
            result, then = ended
            clip = by_row[result.row]
            if then or result.row in made or clip.film_key in plan.duplicates:
                made[result.row] = result
            untold, told = dealing.drawn(result)
            self._watch.heard(untold, plan.cost(clip) - told)
            if then == "alone" and not last_try:
                condemned.append(clip)
                return
            if then == "again":
                again.update({clip.row, *(sharing.row for sharing in plan.duplicates.get(clip.film_key, ()))})
                return
            meter.ended(result if part is None else untold)  # of segments, all was told
            self._left -= 1
            progress.ended(result, plan.cost(clip) - told)
            self.take([result])

        self._left = len(plan.todo)
        meter.begins()
        try:
            for row in followed(graph(dealing.groups(), config.attempts), config, self._watch):
                take(row, last_try=False)
            if (whole := dealing.whole()) and not self.over:
                meter.ends()
                meter.begins()
                for row in followed(graph(whole, config.attempts), config, self._watch):
                    take(row, last_try=False)
            if condemned and not self.over:
                meter.ends()
                meter.begins(alone=True)
                for clip in condemned:
                    self._say(f"  row {clip.row} ({clip.id}): {made[clip.row].error}; one last try alone")
                for row in last_tries(condemned, made, self._settings, self._watch):
                    take(row, last_try=True)
        except Lost:
            raise
        except Exception as error:
            self.breaks_off(error)
        finally:
            meter.ends()
            self._progress = None
        self._outcomes.take(dealing.unfinished())
        shared = {result.row: result for result in shared_films(plan, made, self._settings)}
        self.settle([result for row, result in shared.items() if row not in again])
        self._outcomes.take({**made, **shared}.values())
        self._outcomes.wait(again)
        return again

    def gives_up(self, rows: Iterable[int]) -> None:
        """Rows that are not done once more: what they ended as counts."""
        self._outcomes.stand(rows)

    def made_elsewhere(self, rows: Iterable[int]) -> set[int]:
        """Those of the rows whose films another living run is making."""
        return {row for row in rows if self._claims.elsewhere(self._outcomes.clip(row).film_key)}

    def first_ready(self, rows: set[int]) -> set[int]:
        """Rows that need not wait for another run, once there are some; none where the night is over before.

        The wait has an end: no row takes longer than `longest_row_seconds`.
        """
        begun = said = time.monotonic()
        while rows and not self.over:
            now, elsewhere = time.monotonic(), self.made_elsewhere(rows)
            if rows - elsewhere or now - begun > self._settings.config.longest_row_seconds:
                return rows - elsewhere
            if now - said >= QUIET_SECONDS:
                said = now
                row = min(rows)
                other = self._claims.elsewhere(self._outcomes.clip(row).film_key)
                self._say(f"  waiting for {clock(now - begun)} for {len(rows)} films that run {other!r} is making")
            time.sleep(LOOK_SECONDS)
        return set()

    def end(self) -> RunResults:
        """Account for every row, look for every film, and write it all down, be the store there or not."""
        self._lease.require()
        names = self._looked_for()
        final, gone = self._all_rows(self._ending(), self._watch.begun()), 0
        try:
            final = consented_to_the_end(final, self._settings)
        except Exception as error:
            self.breaks_off(Unseen(in_one_line(error), "consents could not be looked at once more"))
        if names is not None:
            final, gone = checked(final, names, self._settings.layout)
        order = self._watch.order
        interrupted = order.reason if order and order.interrupted else None
        stopped = order.reason if order and not order.interrupted else None
        if order is None and self._settings.until and any(one.status == "not_reached" for one in final):
            stopped = f"nothing was left that would be finished by {shown(self._settings.until)}"
        self._export()
        done = self._record.finish(final, self._broke_off or interrupted, stopped, gone == 0, self._say)
        if not done.kept_locally:
            self._partial.clear()
        with suppress(Exception):  # they die with this run
            self._claims.clear()
        return done

    def _looked_for(self) -> dict[str, int] | None:
        """What lies among the films, once those of rows without a result are taken in; None where nobody can tell."""
        try:
            names = films_of(self._settings.layout)
            if found := self._outcomes.found(names):
                self._outcomes.take(found)
                names = films_of(self._settings.layout)  # one may have been put under another id
        except Exception as error:
            self.breaks_off(Unseen(in_one_line(error)))
            return None
        return names

    def _now_and_then(self) -> None:
        self._partial.write()
        self._export()
        if self._progress:
            self._progress.tick()

    def _export(self) -> None:
        self._exporter.export(self._record.meter, self._left, sum(RETRIES.known().values()))

    def _ending(self) -> str | None:
        if self._watch.order:
            return self._watch.order.reason
        return self._broke_off and f"the run broke off ({self._broke_off})"

    def _write_now(self, order: Order) -> None:
        """Put down what is known as soon as the order to end is there: a kill may follow."""
        self._lease.require()
        with suppress(Exception):  # said at the end
            self._record.write_early(self._all_rows(order.reason), order.reason)

    def _all_rows(self, ending: str | None, begun: Mapping[int, str] | None = None) -> KeptResults:
        return self._record.with_earlier(self._outcomes.so_far(ending, begun), self._whole)


class Unseen(Problem):
    """Films, or the consents that they need, could not be looked for at the end of a run."""

    def __init__(self, why: str, what: str = "films could not be looked for") -> None:
        super().__init__(f"{what} ({why})", "see that the store answers, and run again")


def spent_before(earlier: Iterable[Result], settled: Iterable[Result]) -> Iterable[Result]:
    """Rows of a run that took GPU time before this session, each once: also those that it leaves out or does again.

    `earlier` is what the run's table says, `settled` what is known of them now, which is the truth where both are.
    """
    paid = (result for result in chain(earlier, settled) if result.gpu_seconds and result.status != "cached")
    return {result.row: result for result in paid}.values()


def in_one_line(error: Exception) -> str:
    """Why a run breaks off."""
    if isinstance(error, Problem):
        return str(error)
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no reason given')}"


def shared_films(plan: Plan, made: Mapping[int, Result], settings: RunSettings) -> Iterator[Result]:
    """Results of rows that asked for the very film another row was making: a copy of it under their own id.

    Where that row was not reached, neither were they; where nothing is known of it, they have none.
    """
    by_key = {result.film_key: result for result in made.values()}
    for key, clips in plan.duplicates.items():
        first = by_key.get(key)
        if first is None:
            continue
        for work in (clip.work for clip in clips):
            if first.status == "not_reached":
                yield results.of_clip(work, "not_reached", error=first.error, remedy=first.remedy)
                continue
            if not first.good:
                fault = Problem(f"row {first.row} was to make the same film: {first.error}", "run again")
                yield ended(work, "animate", fault)
                continue
            yield guarded("animate", work, partial(shared_film, work, Film(cast(str, first.id), key), settings))


def shared_film(work: Work, film: Film, settings: RunSettings) -> Result:
    """The result of a clip whose film has just been made under another id."""
    work = still_consented(work, settings)
    (marker,) = settings.layout.read_film_markers([film])
    limits, signing = settings.config.review, settings.signing()
    return reused(work, film, cast(dict, marker), settings.layout, settings.run_id, limits, signing)
