"""What a run has to do: what is finished already, what is the same, and the order of the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from manifests import results, storage
from manifests.kept_results import KeptResults
from manifests.layout import Film, OutputLayout
from manifests.results import AT_ONCE, Result
from manifests.review import ReviewLimits
from manifests.safety import SafetySettings
from manifests.work import Work
from pipelines.boundary import guarded
from pipelines.planned_clip import PlannedClip
from stages.poses.outdated import outdated
from stages.provenance.credentials.film_signing import FilmSigning, Tampered, whole

AT_A_TIME = 8  # finished films that are copied or signed again


@dataclass
class Plan:
    """`todo` are clips to make, each film once; `duplicates` are rows whose film another row of `todo` makes."""

    todo: list[PlannedClip] = field(default_factory=list)
    duplicates: dict[str, list[PlannedClip]] = field(default_factory=dict)  # film key → rows
    finished: KeptResults = field(default_factory=KeptResults)
    poses_ready: set[str] = field(default_factory=set)
    latents_ready: set[str] = field(default_factory=set)  # names of files
    tampered: list[str] = field(default_factory=list)  # films that are there, and are not as they were signed

    def groups(self) -> list[list[PlannedClip]]:
        """Clips of one priority by driving video; within a group by model, longest first.

        The highest priority comes first; then ready poses; then what takes longest.
        """
        groups: dict[tuple[int, str | int], list[PlannedClip]] = {}
        for clip in self.todo:
            # a clip without driving video waits for nobody; of a video, the important clips do not wait for the others
            groups.setdefault((self.priority(clip), clip.pose_key or clip.row), []).append(clip)
        costs = {key: sum(clip.cost for clip in group) for key, group in groups.items()}
        ordered = sorted(groups, key=lambda key: (-key[0], not self._ready(groups[key][0]), -costs[key]))
        return [sorted(groups[key], key=lambda clip: (clip.model, -clip.cost, clip.row)) for key in ordered]

    def clips(self) -> Iterator[PlannedClip]:
        """All clips that have no film yet."""
        return chain(self.todo, *self.duplicates.values())

    def animators(self) -> set[str]:
        """Names of those that are needed."""
        return {clip.animator for clip in self.todo}

    def priority(self, clip: PlannedClip) -> int:
        """The highest of those rows that get this clip's film."""
        return max(one.priority for one in (clip, *self.duplicates.get(clip.film_key, ())))

    def cost(self, clip: PlannedClip) -> int:
        """Relative cost of a clip of this plan; what is only encoded anew is a step at most."""
        return clip.cost // (clip.steps or 1) if self.denoised(clip) else clip.cost

    def denoised(self, clip: PlannedClip) -> bool:
        """Whether all of a clip's latents are stored."""
        return all(name in self.latents_ready for name in clip.latents_names())

    def in_words(self, refused: Sequence[Result]) -> str:
        """The plan in one line."""
        encode = [clip for clip in self.todo if self.denoised(clip)]
        make = [clip for clip in self.todo if not self.denoised(clip)]
        frames = sum(clip.frames for clip in make)
        videos = len({clip.pose_key for clip in self.todo if clip.pose_key} - self.poses_ready)
        shared = sum(map(len, self.duplicates.values()))
        parts = [f"{len(make)} films to make ({frames} frames, poses of {videos} driving videos)"]
        again = sum(clip.frames for clip in encode)
        parts += [f"{len(encode)} to encode anew from stored latents ({again} frames)"] if encode else []
        parts += [f"{shared} the same as one of these"] if shared else []
        return ", ".join([*parts, f"{len(self.finished)} finished already, {len(refused)} rejected"])

    def warnings(self) -> list[str]:
        """What to know of the films to make before they are made, a line for each kind."""
        cropped = sorted((clip for clip in self.clips() if clip.warning), key=lambda clip: clip.row)
        found = [f"warning: {said}" for said in self.tampered]
        if not cropped:
            return found
        worst = max(cropped, key=lambda clip: clip.reference_left_out or 0.0)
        rows = ", ".join(str(clip.row) for clip in cropped[:5])
        more = f" and {len(cropped) - 5} more" if len(cropped) > 5 else ""
        return [*found, f"warning (row {rows}{more}), the worst of them in row {worst.row}: {worst.warning}"]

    def _ready(self, clip: PlannedClip) -> bool:
        return clip.pose_key is None or clip.pose_key in self.poses_ready


def make_plan(
    clips: Iterable[PlannedClip],
    layout: OutputLayout,
    run_id: str,
    limits: ReviewLimits | None = None,
    signing: FilmSigning | None = None,
    safety: SafetySettings | None = None,
) -> Plan:
    """Three listings and one small read per finished clip; nothing is decoded.

    `limits` say which of the finished films are to be reviewed; those that `signing` finds signed otherwise are signed
    again here, each in a few hundredths of a second. Films that `safety` wants to be looked at are among those to do.
    A film that this very run made before it was interrupted counts as done, one of an earlier run as cached.
    """
    poses, latents = (storage.listing(storage.parent(place("key"))) for place in (layout.poses, layout.latents))
    plan = Plan(poses_ready={name.partition(".")[0] for name in poses}, latents_ready=set(latents))
    clips = list(clips)
    films = layout.finished_films()
    finished = [clip for clip in clips if clip.film_key in films]
    known: set[int] = set()
    for start in range(0, len(finished), AT_ONCE):
        some = finished[start : start + AT_ONCE]
        markers = layout.read_film_markers([films[clip.film_key] for clip in some])
        calls: list[tuple[Work, Callable[[], Result]]] = []
        for clip, marker in zip(some, markers, strict=True):
            film = films[clip.film_key]
            if safety is not None and marker is not None and safety.pending(marker):
                continue
            if results.is_marker(marker) and usable(work := clip.work, marker, film.size):
                calls.append((work, partial(reused, work, film, marker, layout, run_id, limits, signing)))
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for result in pool.map(lambda call: guarded("publish", call[0], partial(_told, call[1])), calls):
                if isinstance(result, Tampered):
                    plan.tampered.append(str(result))
                else:
                    plan.finished.extend([result])
                    known.add(result.row)
    making: set[str] = set()
    for clip in clips:
        if clip.row in known:
            continue
        if clip.film_key in making:
            plan.duplicates.setdefault(clip.film_key, []).append(clip)
        else:
            making.add(clip.film_key)
            plan.todo.append(clip)
    return plan


def _told(call: Callable[[], Result]) -> Result | Tampered:
    try:
        return call()
    except Tampered as tampered:
        return tampered


def usable(work: Work, marker: Mapping[str, Any] | None, size: int | None) -> bool:
    """Whether a finished film of that many bytes may stand: it is whole, and its poses would be drawn the same now."""
    if not results.is_marker(marker) or outdated(work, marker.get("pose") or {}):
        return False
    return whole(marker, size)


def reused(
    work: Work,
    source: Film,
    marker: dict[str, Any],
    layout: OutputLayout,
    run_id: str,
    limits: ReviewLimits | None = None,
    signing: FilmSigning | None = None,
) -> Result:
    """The result of a clip whose film is there; put under this clip's id too if another clip made it.

    Signed again where `signing` asks for it; without it, nothing of what is there changes.
    """
    own = Film(work.clip.id, work.film_key)
    shared = source.clip_id != work.clip.id
    if signing is not None and signing.outdated(work, marker):
        marker = signing.renewed(work, source, results.marker_under(work, marker), layout)
    else:
        if shared:
            layout.share_film(source, own)
        if signing is not None and results.under_other_consents(work, marker):
            storage.publish_json(results.marker_under(work, marker), layout.film_marker(own))
    made_here = not shared and marker.get("run") == run_id
    return results.of_marker(work, marker, "done" if made_here else "cached", layout, limits)
