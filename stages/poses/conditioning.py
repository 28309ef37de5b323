"""Stored keypoints to the pictures a clip is conditioned on: follow, judge, repair, retarget, fit, draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from manifests.errors import Rejected
from stages.poses.drawing import skeleton, wan
from stages.poses.drawing.controlnet10 import draw_controlnet10
from stages.poses.drawing.dwpose import draw
from stages.poses.drawing.resize import resized_size
from stages.poses.keypoints import Keypoints, People
from stages.poses.motion.absence import fill_absence, spans
from stages.poses.motion.framing import Framing, Window, cut_to, frame_person
from stages.poses.motion.published_retarget import measure, retargeted
from stages.poses.motion.quality import QualityRules, assess, judge
from stages.poses.motion.repair import repair
from stages.poses.motion.retarget import retarget
from stages.poses.motion.subject import Choice, follow
from stages.poses.torso import torso
from stages.poses.wholebody import BODY, FEET, VISIBLE
from stages.video.letterbox import letterbox

if TYPE_CHECKING:
    from manifests.clip import Clip


def followed(
    keypoints: Keypoints,
    fps: Fraction,
    subject: Choice,
    rules: QualityRules | None = None,
    shown: range | None = None,
) -> tuple[Keypoints, dict[str, Any]]:
    """One person, told apart from the others and repaired, and the report on it as JSON values.

    The whole sequence is followed and repaired; the frames `shown` (by default all) are reported on and judged.
    Raises `Rejected` when `rules` call the poses unusable.
    """
    found = follow(keypoints, float(fps), subject, shown=shown)
    mended, repairs = repair(found.subject, float(fps))
    report = assess(found, float(fps), mended, repairs, shown)
    judge(report, rules)
    return mended, report.to_dict()


class DrawnPoses:
    """The pictures of a film's frames in its order, each drawn when it is asked for, and who is in them."""

    def __init__(
        self,
        draw_frame: Callable[[int], np.ndarray],
        shown: Sequence[int],
        person: Keypoints | None = None,
        reference: People | None = None,
    ) -> None:
        """`draw_frame` draws a frame of the sequence, `shown` are those that the film shows.

        `person` are the keypoints of who is drawn in every frame of the sequence, `reference` those of the reference's
        person, both in the film's pixels, where they are known.
        """
        self._draw_frame = draw_frame
        self._shown = shown
        self._person = person
        self.reference_joints = reference and joints_of(reference)

    def __len__(self) -> int:
        return len(self._shown)

    def __getitem__(self, frame: int) -> np.ndarray:
        """uint8 (height, width, 3) of one frame of the film."""
        return self._draw_frame(self._shown[frame])

    def joints(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Of the person drawn in one frame of the film, as `joints_of` them; None where nobody is, or is known."""
        people = self._people(frame)
        return None if people is None else joints_of(people)

    def torso(self, frame: int) -> np.ndarray | None:
        """Corners (4, 2) of the torso in one frame of the film, x and y in its pixels, where they are known."""
        people = self._people(frame)
        return None if people is None else torso(people)

    def _people(self, frame: int) -> People | None:
        people = None if self._person is None else self._person.people(self._shown[frame])
        return people if people is not None and len(people) else None


def joints_of(people: People) -> tuple[np.ndarray, np.ndarray]:
    """The first one's 18 joints: points (18, 2) in pixels and whether they are seen, bool (18,)."""
    return people.points[0, BODY], people.scores[0, BODY] > VISIBLE


def skeleton_pictures(
    keypoints: Keypoints,
    fps: Fraction,
    clip: Clip,
    shown: Sequence[int],
    reference: Keypoints | None = None,
    rules: QualityRules | None = None,
    style: str = "skeleton",
) -> tuple[DrawnPoses, dict[str, Any]]:
    """Pictures of the film's frames, and the report on the poses.

    `shown` are the frames of the sequence that the film shows, in its order; `reference` the keypoints of the reference
    image, where the clip is retargeted or its animator aligns. They are drawn at the clip's size in the `style` (a name
    of `DRAWINGS`) that the animator knows. Frames in which nobody is found show the nearest pose; the report's `held`
    and `bridged` are such stretches at the ends of the film and inside it. A clip that is retargeted and has another
    shape than its reference shows that part of it in which its person is: the report's `window` (left, top, width,
    height), None for the middle; `cut` is the share of the person outside. `outside` is the share of frames in which no
    joint of the body is in the film's picture. In parity mode, skeletons are what the published tool would draw, at its
    size: the best person of every frame by itself.

    Raises `Rejected` where the poses that the film would show are unusable by `rules`, or there are none.
    """
    if draws_as_published(clip, style):
        _require_somebody(keypoints, shown)
        return DrawnPoses(PUBLISHED[style](keypoints, clip, shown, reference), shown), {}
    frames = range(shown[0], shown[-1] + 1)
    person, report = followed(keypoints, fps, clip.subject, rules, frames)
    window = None
    if reference is not None and clip.retarget != "none":
        size = reference.height, reference.width
        person = retarget(person, _reference_person(reference), size, float(fps), clip.retarget).keypoints
        framing = framing_of(reference, clip)
        report |= framing._asdict()
        window = framing.window
        person = person if window is None else cut_to(person, window)
    person, held, bridged = fill_absence(person, frames)
    report |= {"held": spans(held, shown), "bridged": spans(bridged, shown)}
    person = placed(person, clip)
    report["outside"] = _outside(person, frames, rules or QualityRules())
    drawing = DRAWINGS[style]

    def drawn(frame: int) -> np.ndarray:
        return drawing(person.people(frame), clip.width, clip.height)

    aligned = None if reference is None else _in_film(reference, window, clip)
    return DrawnPoses(drawn, shown, person, aligned), report


def _bodies(people: People, width: int, height: int) -> np.ndarray:
    drawn = skeleton.dwpose(people, width, height)
    return draw_controlnet10(drawn.candidate * [width, height], drawn.subset, height, width)


def _with_hands_and_faces(people: People, width: int, height: int) -> np.ndarray:
    return draw(skeleton.dwpose(people, width, height), height, width)


def _with_toes(people: People, width: int, height: int) -> np.ndarray:
    return wan.draw(wan.figure_of(_as_sure_as_drawn(people)) if len(people) else None, height, width)


def _as_sure_as_drawn(people: People) -> People:
    """One person whose joints are drawn by `wan` where they are by others, and whose feet are without small toes too.

    Its threshold is for scores of the original's estimator, which also finds both toes of a foot; `people` finds one.
    """
    points, scores = people.points.copy(), people.scores.copy()
    for big in (FEET.start, FEET.start + 3):
        alone = scores[:, big + 1] <= 0
        points[alone, big + 1], scores[alone, big + 1] = points[alone, big], scores[alone, big]
    for part in (BODY, FEET):
        scores[:, part] = np.where(scores[:, part] > VISIBLE, np.maximum(scores[:, part], wan.SEEN), scores[:, part])
    return People(points, scores, people.boxes)


# How the animators of a kind of pose were shown people: (people in the film's pixels, width, height) → uint8 RGB.
DRAWINGS: dict[str, Callable[[People, int, int], np.ndarray]] = {
    "skeleton": _with_hands_and_faces,
    "control": _with_hands_and_faces,
    "openpose": _bodies,
    "toes": _with_toes,
}


def framing_of(reference: Keypoints, clip: Clip) -> Framing:
    """Which part of the reference, whose keypoints are given, a clip shows. Raises `Rejected` as retargeting does."""
    if clip.fit != "cover":
        return Framing(None, 0.0)
    film = cast(int, clip.width), cast(int, clip.height)
    return frame_person(_reference_person(reference), (reference.width, reference.height), film)


def reference_torso(reference: Keypoints, clip: Clip, window: Sequence[int] | None) -> np.ndarray | None:
    """Corners (4, 2) of the torso of the reference's person, where the reference lies in the film; None: not seen.

    `window` is the part of the reference that the film shows, None for all of it.
    """
    person = _in_film(reference, None if window is None else Window(*window), clip)
    return None if person is None else torso(person)


def placed(keypoints: Keypoints, clip: Clip) -> Keypoints:
    """Keypoints in the film's pixels, moved as `fit` moves the reference's."""
    film, own = np.array([clip.width, clip.height]), np.array([keypoints.width, keypoints.height])
    ratio = film / own
    scale = {"stretch": ratio, "cover": ratio.max().repeat(2), "contain": ratio.min().repeat(2)}[clip.fit]
    # pixel centres are whole numbers: the picture reaches from −½ to size − ½
    points = (keypoints.points + 0.5 - own / 2) * scale + film / 2 - 0.5
    boxes = (keypoints.boxes + 0.5 - np.tile(own, 2) / 2) * np.tile(scale, 2) + np.tile(film, 2) / 2 - 0.5
    return replace(keypoints, points=points, boxes=boxes, width=clip.width, height=clip.height)


def _outside(person: Keypoints, frames: range, rules: QualityRules) -> float:
    """Share of the frames in which one person in the film's pixels is beyond its border; too many are `Rejected`."""
    part = person.part(frames)
    points, size = part.points[:, 0, BODY], np.array([part.width, part.height])
    inside = (points > -0.5).all(axis=-1) & (points < size - 0.5).all(axis=-1)
    share = float((~(inside & (part.scores[:, 0, BODY] > VISIBLE)).any(axis=1)).mean())
    if rules.missing is not None and share > rules.missing:
        raise Rejected(
            f"the person is outside the film ({part.width}×{part.height}) in {100 * share:.0f} % of the frames",
            "set fit to contain, give the film the driving video's shape, or choose another range",
        )
    return share


def _require_somebody(keypoints: Keypoints, shown: Sequence[int]) -> None:
    if not (keypoints.scores[list(shown)][..., BODY] > VISIBLE).any():
        raise Rejected(
            f"nobody is found in any of the {len(set(shown))} frames that the film shows of the driving file",
            "choose another range of it, or another file",
        )


def _published(
    sequence: Keypoints, clip: Clip, shown: Sequence[int], reference: Keypoints | None
) -> Callable[[int], np.ndarray]:
    height, width = resized_size(sequence.height, sequence.width)

    def drawn(frame: int) -> np.ndarray:
        people = sequence.people(frame)
        return draw(skeleton.animate_anyone(people, sequence.width, sequence.height), height, width)

    return drawn


def _published_toes(
    sequence: Keypoints, clip: Clip, shown: Sequence[int], reference: Keypoints | None
) -> Callable[[int], np.ndarray]:
    """At the driving film's size, letterboxed; where the clip is retargeted, at the film's own."""
    film, size = (cast(int, clip.width), cast(int, clip.height)), (sequence.width, sequence.height)

    def figure(frame: int) -> wan.Figure | None:
        people = sequence.people(frame)
        return wan.figure_of(largest(people)) if len(people) else None

    if reference is None:
        return lambda frame: letterbox(wan.draw(figure(frame), size[1], size[0]), *film)
    first = next(found for frame in shown if (found := figure(frame)) is not None)
    own = placed(Keypoints.from_people([_reference_person(reference)], reference.width, reference.height), clip)
    measures = measure(first, wan.figure_of(own.people(0)), size, film)

    def drawn(frame: int) -> np.ndarray:
        found = figure(frame)
        return wan.draw(found and retargeted(found, measures, size), film[1], film[0])

    return drawn


# What the published tools draw, without following, judging or repairing anybody.
PUBLISHED = {"skeleton": _published, "control": _published, "toes": _published_toes}


def draws_as_published(clip: Clip, style: str) -> bool:
    """Whether a clip's poses of that style are drawn without following anybody: who is in each frame by itself."""
    return clip.mode == "parity" and style in PUBLISHED


def largest(people: People) -> People:
    """The one whose box is largest; nobody of nobody."""
    if not len(people):
        return people
    boxes = people.boxes
    areas = np.nan_to_num((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), nan=-1.0)
    best = slice(int(areas.argmax()), int(areas.argmax()) + 1)
    return People(people.points[best], people.scores[best], boxes[best])


def _in_film(reference: Keypoints, window: Window | None, clip: Clip) -> People | None:
    """The person of the reference, or of the `window` of it that the film shows, in the film's pixels."""
    found = _found(reference)
    if found is None:
        return None
    alone = Keypoints.from_people([found], reference.width, reference.height)
    return placed(alone if window is None else cut_to(alone, window), clip).people(0)


def _reference_person(reference: Keypoints) -> People:
    """The largest person of the reference image. Raises `Rejected` when there is none."""
    found = _found(reference)
    if found is None:
        raise Rejected("reference: no person was found to retarget to", "use another picture, or set retarget to none")
    return found


def _found(reference: Keypoints) -> People | None:
    found = reference.detected[0]
    if not found.any():
        return None
    boxes = reference.boxes[0]
    areas = np.where(found, (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), -1)
    best = slice(int(np.nanargmax(areas)), int(np.nanargmax(areas)) + 1)
    return People(reference.points[0, best], reference.scores[0, best], boxes[best])
