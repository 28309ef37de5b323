"""Long clips whose segments several workers denoise at once, before one of them draws the film."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from manifests import results
from manifests.results import Result
from manifests.work import Work
from pipelines.boundary import Then
from pipelines.plan import Plan
from pipelines.planned_clip import PlannedClip
from pipelines.running.stopping import CONTINUE
from stages.diffusion.animators import facts_of


def unit_of(part: Work) -> str:
    """What the tries at one segment of a clip are noted under; those at others begin alike."""
    return f"{units_of(part)}{part.segment:05}"


def units_of(work: Work) -> str:
    """How the units of all segments of a clip begin."""
    return f"{work.latents_key}."


class Ended(NamedTuple):
    """What a row came to, and what the run does about it."""

    result: Result
    then: Then


class _Share:
    """A clip that is dealt: which of its segments are out, and what has come of the others."""

    def __init__(self, clip: PlannedClip, segments: list[int], cost: float) -> None:
        self.clip = clip
        self.segments = segments
        self.cost = cost / len(segments)  # of each
        self.out = set(segments)
        self.ends: list[Ended] = []  # of segments that are not stored
        self.seconds: Counter[str] = Counter()
        self.gpu_seconds = 0.0
        self.settled = False  # the clip has its result

    @property
    def stored(self) -> int:
        """How many of its segments were stored."""
        return len(self.segments) - len(self.out) - len(self.ends)

    @property
    def told(self) -> float:
        """Relative cost of what came back."""
        return self.cost * (len(self.segments) - len(self.out))


class Dealing:
    """Which segments go to which row of the graph, and what becomes of a clip once all of its are back.

    A clip is dealt where there are several workers, and several of its segments to denoise that do not continue one
    another. Its film is the same as if one worker made it.
    """

    def __init__(self, plan: Plan, workers: Callable[[str], int]) -> None:
        """`workers` tells how many an animator has at most."""
        self._plan = plan
        self._shares: dict[int, _Share] = {}
        for clip in plan.todo:
            missing = _missing(clip, plan, workers) if clip.segments > 1 else []
            if len(missing) > 1:
                self._shares[clip.row] = _Share(clip, missing, plan.cost(clip))

    def groups(self) -> list[list[PlannedClip]]:
        """The plan's groups, with the segments of a clip that is dealt in its place."""
        return [[part for clip in group for part in self._parts(clip)] for group in self._plan.groups()]

    def units(self) -> dict[str, float]:
        """Relative costs of the segments that are dealt, by unit."""
        parts = (part.work for share in self._shares.values() for part in self._parts(share.clip))
        return {unit_of(part): self.cost(part.row) for part in parts}

    def part(self, row: Mapping[str, Any]) -> Work | None:
        """The segment that a row of the graph is about; None where that is a clip."""
        if not self._shares or not row["work"]:
            return None
        work = Work.model_validate_json(row["work"])
        return None if work.segment is None else work

    def cost(self, row: int) -> float:
        """Relative cost of each segment of a row that is dealt."""
        return self._shares[row].cost

    def came(self, part: Work, result: Result, then: Then) -> Ended | None:
        """A segment is back. Returns what ends its clip, once all are back and one of them is not stored."""
        share = self._shares[part.row]
        share.out.discard(-1 if part.segment is None else part.segment)
        share.seconds.update(part.seconds)
        share.gpu_seconds += result.gpu_seconds or 0.0
        if then != "render":
            share.ends.append(Ended(result, then))
        if share.out or not share.ends:
            return None
        share.settled = True
        worst = max(share.ends, key=_weight)
        if worst.result.status == "not_reached":
            return Ended(self._unfinished(share), worst.then)
        return worst._replace(result=worst.result.model_copy(update=_spent(share)))

    def whole(self) -> list[list[PlannedClip]]:
        """Clips whose segments are all stored: they are drawn now, with the seconds that their segments took."""
        ready = [share for share in self._shares.values() if not share.out and not share.settled]
        return [[share.clip._replace(text=_with_seconds(share.clip.work, share.seconds))] for share in ready]

    def drawn(self, result: Result) -> tuple[Result, float]:
        """A clip has its result. Returns it without the GPU seconds that were told before, and their relative cost."""
        share = self._shares.get(result.row)
        if share is None:
            return result, 0.0
        ended_undrawn, share.settled = share.settled, True
        if not (ended_undrawn or result.good):  # what failed while it was drawn tells of that alone
            return result, share.told
        left = None if result.gpu_seconds is None else max(0.0, result.gpu_seconds - share.gpu_seconds)
        return result.model_copy(update={"gpu_seconds": left}), share.told

    def unfinished(self) -> Iterator[Result]:
        """Results of clips that are dealt and have none: what is stored of them was paid for."""
        return (self._unfinished(share) for share in self._shares.values() if not share.settled and share.told)

    def _unfinished(self, share: _Share) -> Result:
        error = f"not finished: {share.stored} of {share.clip.segments} segments were stored by this session"
        ended = {"stage": "animate", "error": error, "remedy": CONTINUE, **_spent(share)}
        return results.of_clip(share.clip.work, "not_reached", **ended)

    def _parts(self, clip: PlannedClip) -> list[PlannedClip]:
        share = self._shares.get(clip.row)
        if share is None:
            return [clip]
        work = clip.work
        parts = (work.model_copy(update={"segment": number}) for number in share.segments)
        return [clip._replace(text=part.model_dump_json(exclude_defaults=True)) for part in parts]


def _missing(clip: PlannedClip, plan: Plan, workers: Callable[[str], int]) -> list[int]:
    animator = clip.work.clip.animator
    rule = facts_of(animator).segments
    if rule is None or rule.carried or workers(animator) < 2:
        return []
    return [number for number, name in enumerate(clip.latents_names()) if name not in plan.latents_ready]


def _weight(ended: Ended) -> int:
    """What is wrong for good counts most, what was only not begun least."""
    if ended.result.status == "not_reached":
        return 0
    return {"again": 1, "alone": 2}.get(ended.then, 3)


def _spent(share: _Share) -> dict[str, Any]:
    return {"gpu_seconds": round(share.gpu_seconds, 3) or None}


def _with_seconds(work: Work, seconds: Mapping[str, float]) -> str:
    rounded = {part: round(spent, 3) for part, spent in seconds.items()}
    return work.model_copy(update={"seconds": rounded}).model_dump_json(exclude_defaults=True)
