"""What a run has to do: what is finished already, what is the same, and the order of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

from manifests import results, storage
from manifests.layout import Film, OutputLayout
from manifests.result_warnings import plan_warnings
from manifests.results import Result
from manifests.work import Work
from stages.poses.outdated import outdated


@dataclass
class Plan:
    """`todo` are clips to make, each film once; `duplicates` are rows whose film another row of `todo` makes."""

    todo: list[Work] = field(default_factory=list)
    duplicates: dict[str, list[Work]] = field(default_factory=dict)  # film key → rows
    finished: list[Result] = field(default_factory=list)
    poses_ready: set[str] = field(default_factory=set)
    latents_ready: set[str] = field(default_factory=set)

    def groups(self) -> list[list[Work]]:
        """Clips of one priority by driving video; within a group by model, longest first.

        The highest priority comes first; then ready poses; then what takes longest.
        """
        groups: dict[Any, list[Work]] = {}
        for work in self.todo:
            # a clip without driving video waits for nobody; of a video, the important clips do not wait for the others
            groups.setdefault((self.priority(work), work.pose_key or work.row), []).append(work)
        ordered = sorted(
            groups.values(),
            key=lambda group: (-self.priority(group[0]), not self._ready(group[0]), -sum(map(cost, group))),
        )
        return [sorted(group, key=lambda work: (*model(work), -cost(work), work.row)) for group in ordered]

    def works(self) -> Iterator[Work]:
        """All clips that have no film yet."""
        return chain(self.todo, *self.duplicates.values())

    def priority(self, work: Work) -> int:
        """The highest of those rows that get this clip's film."""
        return max(one.clip.priority for one in (work, *self.duplicates.get(work.film_key, ())))

    def cost(self, work: Work) -> int:
        """Relative cost of a clip of this plan."""
        return cost(work, work.latents_key in self.latents_ready)

    def maker(self, film_key: str) -> Work:
        """The row that makes a film which others share."""
        return next(work for work in self.todo if work.film_key == film_key)

    def in_words(self, refused: Sequence[Result]) -> str:
        """The plan in one line."""
        encode = [work for work in self.todo if work.latents_key in self.latents_ready]
        make = [work for work in self.todo if work.latents_key not in self.latents_ready]
        frames = sum(work.frames for work in make)
        videos = len({work.pose_key for work in self.todo if work.pose_key} - self.poses_ready)
        shared = sum(map(len, self.duplicates.values()))
        parts = [f"{len(make)} films to make ({frames} frames, poses of {videos} driving videos)"]
        again = sum(work.frames for work in encode)
        parts += [f"{len(encode)} to encode anew from stored latents ({again} frames)"] if encode else []
        parts += [f"{shared} the same as one of these"] if shared else []
        return ", ".join([*parts, f"{len(self.finished)} finished already, {len(refused)} rejected"])

    def warnings(self) -> list[str]:
        """What to know of the films to make before they are made, a line for each kind."""
        cropped = [work for works in (self.todo, *self.duplicates.values()) for work in works if plan_warnings(work)]
        if not cropped:
            return []
        worst = max(cropped, key=lambda work: work.reference_left_out or 0.0)
        rows = ", ".join(str(work.row) for work in sorted(cropped, key=lambda work: work.row)[:5])
        more = f" and {len(cropped) - 5} more" if len(cropped) > 5 else ""
        return [f"warning (row {rows}{more}), the worst of them in row {worst.row}: {plan_warnings(worst)[0]}"]

    def _ready(self, work: Work) -> bool:
        return work.pose_key is None or work.pose_key in self.poses_ready


def model(work: Work) -> tuple[str, str, str, float]:
    """What has to be loaded for a clip."""
    lora = (work.lora.digest, work.clip.lora_scale) if work.lora else ("", 0.0)
    return work.clip.animator, work.checkpoint_digest, *lora


def cost(work: Work, latents_ready: bool = False) -> int:
    """Relative cost of a clip: frames × pixels × steps; what is only encoded anew is a step at most."""
    width, height, steps = cast(tuple[int, int, int], (work.clip.width, work.clip.height, work.clip.steps))  # resolved
    return work.frames * width * height * (1 if latents_ready else steps)


def make_plan(works: Iterable[Work], layout: OutputLayout, run_id: str) -> Plan:
    """Three listings and one small read per finished clip; nothing is decoded.

    A film that this very run made before it was interrupted counts as done, one of an earlier run as cached.
    """
    poses, latents = (
        {name.partition(".")[0] for name in storage.listing(storage.parent(place("key")))}
        for place in (layout.poses, layout.latents)
    )
    plan = Plan(poses_ready=poses, latents_ready=latents)
    works = list(works)
    films = layout.finished_films()
    finished = [work for work in works if work.film_key in films]
    markers = layout.read_film_markers([films[work.film_key] for work in finished])
    known = {work.row: marker for work, marker in zip(finished, markers, strict=True)
             if usable(work, marker, films[work.film_key].size)}  # fmt: skip
    making: set[str] = set()
    for work in works:
        if marker := known.get(work.row):
            plan.finished.append(reused(work, films[work.film_key], marker, layout, run_id))
        elif work.film_key in making:
            plan.duplicates.setdefault(work.film_key, []).append(work)
        else:
            making.add(work.film_key)
            plan.todo.append(work)
    return plan


def usable(work: Work, marker: Mapping[str, Any] | None, size: int | None) -> bool:
    """Whether a finished film of that many bytes may stand: it is whole, and its poses would be drawn the same now."""
    if not results.is_marker(marker) or outdated(work, marker.get("pose") or {}):
        return False
    return size == (marker.get("film_bytes") or size)


def reused(work: Work, source: Film, marker: dict[str, Any], layout: OutputLayout, run_id: str) -> Result:
    """The result of a clip whose film is there; put under this clip's id too if another clip made it."""
    if source.clip_id != work.clip.id:
        layout.share_film(source, Film(work.clip.id, work.film_key))
        return results.of_marker(work, marker, "cached", layout)
    return results.of_marker(work, marker, "done" if marker.get("run") == run_id else "cached", layout)
