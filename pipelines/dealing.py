"""Long clips whose segments several workers denoise at once, before one of them draws the film."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from manifests.results import Result
from manifests.work import Work
from pipelines.plan import Plan
from pipelines.planned_clip import PlannedClip
from stages.diffusion.animators import facts_of


class Share(NamedTuple):
    """What of a long clip is dealt: its segments that are not stored yet."""

    clip: PlannedClip
    segments: list[int]


class Dealing:
    """Which segments go to which row of the graph, and which clips have all of theirs stored.

    A clip is dealt where there are several workers, and several of its segments to denoise that do not continue one
    another. Its film is the same as if one worker made it.
    """

    def __init__(self, plan: Plan, workers: int) -> None:
        self._plan = plan
        dealt = (Share(clip, _missing(clip, plan)) for clip in plan.todo if workers > 1 and clip.segments > 1)
        self._shares = {share.clip.row: share for share in dealt if len(share.segments) > 1}
        self._left = {row: set(share.segments) for row, share in self._shares.items()}
        self._seconds: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._gpu_seconds: defaultdict[int, float] = defaultdict(float)
        self._told: defaultdict[int, float] = defaultdict(float)
        self._drawn: set[int] = set()  # whose film is made now

    def groups(self) -> list[list[PlannedClip]]:
        """The plan's groups, with the segments of a clip that is dealt in its place."""
        return [[part for clip in group for part in self._parts(clip)] for group in self._plan.groups()]

    def stored(self, result: Result, work: Work) -> float:
        """A segment is stored, and took as long as its `work` and `result` say. Returns its relative cost."""
        row = result.row
        self._left.get(row, set()).discard(-1 if work.segment is None else work.segment)
        self._seconds[row].update(work.seconds)
        self._gpu_seconds[row] += result.gpu_seconds or 0.0
        share = self._shares[row]
        cost = self._plan.cost(share.clip) / len(share.segments)
        self._told[row] += cost
        return cost

    def told(self, row: int) -> float:
        """Relative cost of a row's segments that are stored."""
        return self._told.get(row, 0.0)

    def ended(self, row: int) -> bool:
        """A row came back with a result; whether that does not count: one of its segments has ended the clip before."""
        if row not in self._shares:
            return False
        if row in self._drawn:
            return False
        before = row not in self._left
        self._left.pop(row, None)
        return before

    def whole(self) -> list[list[PlannedClip]]:
        """Clips whose segments are all stored: they are drawn now, with the seconds that their segments took."""
        rows = [row for row, left in self._left.items() if not left and row not in self._drawn]
        self._drawn.update(rows)
        clips = [self._shares[row].clip for row in rows]
        return [[clip._replace(text=_with_seconds(clip.work, self._seconds[clip.row]))] for clip in clips]

    def not_told(self, result: Result) -> Result:
        """A film's result without the GPU seconds that its segments told of when they came back."""
        if result.gpu_seconds is None or result.row not in self._gpu_seconds:
            return result
        left = max(0.0, result.gpu_seconds - self._gpu_seconds[result.row])
        return result.model_copy(update={"gpu_seconds": left})

    def _parts(self, clip: PlannedClip) -> list[PlannedClip]:
        share = self._shares.get(clip.row)
        if share is None:
            return [clip]
        work = clip.work
        parts = (work.model_copy(update={"segment": number}) for number in share.segments)
        return [clip._replace(text=part.model_dump_json(exclude_defaults=True)) for part in parts]


def _missing(clip: PlannedClip, plan: Plan) -> list[int]:
    rule = facts_of(clip.work.clip.animator).segments
    if rule is None or rule.carried:
        return []
    return [number for number, name in enumerate(clip.latents_names()) if name not in plan.latents_ready]


def _with_seconds(work: Work, seconds: Mapping[str, float]) -> str:
    rounded = {part: round(spent, 3) for part, spent in seconds.items()}
    return work.model_copy(update={"seconds": rounded}).model_dump_json(exclude_defaults=True)
