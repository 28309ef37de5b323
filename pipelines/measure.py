"""`catwalk measure`: every metric of one film, beside its reference, its driving video and the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from manifests.errors import Problem, WrongUsage
from manifests.review import LESS_IS_WORSE, Measure
from manifests.temporary import temporary_folder
from pipelines.configuration import RunConfig
from stages.poses.torso import torso
from stages.poses.wholebody import BODY, VISIBLE
from stages.progress import Told, counted, silent
from stages.sandbox.reading import Frames, container_faults, read_image
from stages.video.image import fit
from stages.video.quality.container import Wanted
from stages.video.quality.curve import Figure
from stages.video.quality.film_quality import FilmQuality, Outlines, metrics_of
from stages.video.quality.frame import Frame, small_size
from stages.video.quality.outline import Outline, outline_of_points
from stages.video.quality.pose import PoseFidelity
from stages.video.quality.truth import MEASURES, Closeness
from stages.video.quality.vmaf import vmaf
from stages.video.quality.warping import WarpingError

if TYPE_CHECKING:
    from stages.poses.keypoints import Keypoints, People

WEIGHTS_ARE_NEEDED = ("fid", "lpips", "fvd")  # places for metrics of published networks, which nothing here brings
_NO_TRUTH, _NO_ESTIMATOR = "give --truth", "give --estimator"
_NO_POSES = "give --estimator, and --truth or a --driving of as many frames"


Place = Callable[[np.ndarray], np.ndarray]  # of points (n, 2), into the film's pixels


def _as_it_is(points: np.ndarray) -> np.ndarray:
    return points


class Beside(NamedTuple):
    """What a film is held against."""

    reference: Path | None = None
    driving: Path | None = None
    truth: Path | None = None
    borders: Sequence[int] = ()  # first frames of windows or segments
    loop: bool = False


@dataclass
class Measured:
    """What was found, by metric, in the order in which it is told; why not, of those that were skipped."""

    figures: dict[str, Figure] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def quality(self) -> dict[str, Measure]:
        """As results have it."""
        return {name: Measure(value=one.value, frame=one.frame) for name, one in self.figures.items()}

    def lines(self, limits: Mapping[str, float]) -> list[str]:
        """A table: metric, value, the worst frame, and what it is held against; then what was skipped, and why."""
        rows = [("metric", "value", "frame", "limit")]
        for name, one in self.figures.items():
            limit = f"{'at least' if name in LESS_IS_WORSE else 'at most'} {limits[name]:g}" if name in limits else ""
            rows.append((name, f"{one.value:.4g}", "" if one.frame is None else str(one.frame), limit))
        table = [f"{name:<14}{value:>10}{frame:>7}  {limit}".rstrip() for name, value, frame, limit in rows]
        return [*table, *self.remarks, *(f"{name:<14}skipped: {reason}" for name, reason in self.skipped.items())]


def measure(
    config: RunConfig, film: Path, beside: Beside, estimator: str | None = None, told: Told = silent
) -> Measured:
    """Every metric of a film. `estimator` finds people, where metrics ask where they are; `told` is told of frames.

    Raises `WrongUsage` for files that are not there or do not belong together, `Problem` for those that are unusable.
    """
    for path in (film, beside.reference, beside.driving, beside.truth):
        if path is not None and not path.is_file():
            raise WrongUsage(f"{path} does not exist", "name a file")
    if estimator is not None and getattr(config.estimators, estimator) is None:
        raise WrongUsage(f"no estimator {estimator} is configured", f"set `estimators.{estimator}` (--config)")
    return _Measuring(config, film, beside, estimator, told)()


class _Measuring:
    def __init__(self, config: RunConfig, film: Path, beside: Beside, estimator: str | None, told: Told) -> None:
        self._config, self._estimator, self._told = config, estimator, told
        self._path, self._beside = film, beside
        self._film = Frames(film, config.limits)
        self._truth = None if beside.truth is None else Frames(beside.truth, config.limits)
        self._driving = None if beside.driving is None else Frames(beside.driving, config.limits)
        facts = self._film.facts
        self._size, self._frames, self._fps = (facts.width, facts.height), facts.frames, facts.fps
        if self._truth is not None and _size(self._truth) != self._size:
            sizes = " and ".join("×".join(map(str, size)) for size in (self._size, _size(self._truth)))
            raise WrongUsage(f"film and truth are of {sizes} pixels", "give a truth of the film's size")
        self._made = Measured()

    def __call__(self) -> Measured:
        self._container()
        found, wanted = self._people()
        reference, corners = self._reference()
        pairs = [] if found is None or wanted is None else _pairs(found, wanted, self._frames)
        place = _placement(pairs) if pairs and self._truth is None else _as_it_is
        asked = found if wanted is None else wanted
        outlines = self._outlines(asked, place, asked if self._truth is not None else found)
        metrics = metrics_of(self._fps, reference, corners, self._beside.loop, self._beside.borders)
        if wanted is None:  # poses found in a film that stands still stand still
            metrics = [metric for metric in metrics if metric.name != "frozen"]
        quality = FilmQuality(metrics, outlines)
        for batch in quality.of(self._counted(self._film, "measuring, frame")):
            del batch
        self._made.figures |= quality.figures
        self._skips(found is not None, wanted is not None)
        self._fidelity(pairs, place)
        self._against_truth()
        for name in WEIGHTS_ARE_NEEDED:
            self._made.skipped[name] = "no weights"
        return self._made

    def _container(self) -> None:
        truth = self._truth
        wanted = truth and Wanted(truth.facts.frames, truth.facts.fps, *_size(truth))
        faults = container_faults(self._path, wanted or None, self._config.limits)
        self._made.figures["container"] = Figure(len(faults))
        self._made.remarks += [f"container: {fault}" for fault in faults]

    def _people(self) -> tuple[Keypoints | None, Keypoints | None]:
        """Those in the film, and those in what it should show, frame by frame."""
        if self._estimator is None:
            return None, None
        asked = self._truth or self._driving
        same = asked is not None and asked.facts.frames == self._frames
        return self._keypoints(self._film), self._keypoints(cast(Frames, asked)) if same else None

    def _keypoints(self, film: Frames) -> Keypoints:
        from stages.poses.estimators.load import load_keypoints
        from stages.poses.estimators.weights import WEIGHTS

        pictures = counted(film.read(), film.facts.frames, "finding poses, frame", self._told)
        return load_keypoints(self._config.estimators, cast(str, self._estimator), WEIGHTS)(pictures)

    def _reference(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """At the film's size, and the corners of its person's torso."""
        if self._beside.reference is None:
            return None, None
        picture = fit(read_image(self._beside.reference, self._config.limits), *self._size, "cover")
        if self._estimator is None:
            return picture, None
        from stages.poses.estimators.load import keypoints_of_still
        from stages.poses.estimators.weights import WEIGHTS

        found = keypoints_of_still(self._config.estimators, self._estimator, picture, WEIGHTS)
        return picture, torso(found.people(0))

    def _outlines(self, keypoints: Keypoints | None, place: Place, torsos: Keypoints | None) -> Outlines | None:
        """`place` puts keypoints into the film's pixels, in which `torsos` are."""
        if keypoints is None or torsos is None:
            return None
        small = small_size(*self._size)
        scale = np.divide(small, self._size)

        def outline(frame: int) -> Outline | None:
            corners = torso(torsos.people(frame))
            points = place(_joints(keypoints.people(frame)))
            points = points[np.isfinite(points).all(axis=1)] * scale
            return outline_of_points(points, small, None if corners is None else corners * scale)

        return outline

    def _skips(self, found: bool, wanted: bool) -> None:
        made, skipped = self._made.figures, self._made.skipped
        reasons = {
            "frozen": _NO_POSES,
            "background": _NO_ESTIMATOR,
            "sharpness": "give --reference",
            "garment": "give --reference and --estimator",
            "seam": "give --border",
            "loop": "give --loop",
            "pose": _NO_POSES,
        }
        too_little = {"frozen": wanted, "background": found, "pose": wanted}
        too_little |= {"sharpness": self._beside.reference is not None}
        too_little |= {"garment": found and self._beside.reference is not None, "loop": self._beside.loop}
        too_little |= {"seam": bool(self._beside.borders)}
        for name, reason in reasons.items():
            if name not in made:
                skipped[name] = "the film shows too little" if too_little[name] else reason

    def _fidelity(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], place: Place) -> None:
        """Poses that were found against those of the truth, or of the driving video put where the film's person is."""
        if not pairs:
            return
        fidelity = PoseFidelity()
        for frame, (mine, theirs) in enumerate(pairs):
            fidelity.look(frame, mine, place(theirs))
        self._made.skipped.pop("pose", None)
        self._made.figures |= fidelity.figures()

    def _against_truth(self) -> None:
        moves = self._truth or self._driving
        if moves is None:
            self._made.skipped["warping_ratio"] = "give --truth or --driving"
        elif (own := _warping(moves)) and (error := self._made.figures.get("warping_error")):
            self._made.figures["warping_ratio"] = Figure(error.value / own, error.frame)
        else:
            beside = "truth" if self._truth is not None else "driving video"
            self._made.skipped["warping_ratio"] = f"the {beside} or the film shows too little motion"
        if self._truth is None:
            self._made.skipped |= dict.fromkeys([*MEASURES, "vmaf"], _NO_TRUTH)
            return
        closeness = [Closeness(name) for name in MEASURES]
        both = zip(self._film.read(), self._truth.read(), strict=False)  # the container says where one is longer
        for number, pair in enumerate(both):
            for one in closeness:
                one.look(number, *pair)
        self._made.figures |= {one.name: figure for one in closeness if (figure := one.figure()) is not None}
        with temporary_folder("measure") as scratch:
            try:
                self._made.figures["vmaf"] = vmaf(self._path, cast(Path, self._beside.truth), scratch)
            except Problem as problem:
                self._made.skipped["vmaf"] = problem.error

    def _counted(self, film: Frames, doing: str) -> Iterator[np.ndarray]:
        return (picture[None] for picture in counted(film.read(), film.facts.frames, doing, self._told))


def _size(film: Frames) -> tuple[int, int]:
    return film.facts.width, film.facts.height


def _warping(film: Frames) -> float | None:
    """The mean warping error of a film that is right."""
    metric, before = WarpingError(), None
    for number, picture in enumerate(film.read()):
        frame = Frame(number, picture, before)
        metric.look(frame)
        frame.forget()
        before = frame
    figure = metric.figure()
    return None if figure is None else figure.value


def _joints(people: People) -> np.ndarray:
    """Joints (18, 2) of the first person; NaN where one is not seen."""
    if not len(people):
        return np.full((18, 2), np.nan)
    seen = people.scores[0, BODY] > VISIBLE
    return np.where(seen[:, None], people.points[0, BODY], np.nan)


def _pairs(found: Keypoints, wanted: Keypoints, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Joints of the film's person and of the one that it should show, frame by frame."""
    return [(_joints(found.people(at)), _joints(wanted.people(at))) for at in range(frames)]


def _placement(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Place:
    """Moves and scales driving poses so that over the whole film they lie where the film's do (least squares)."""
    mine, theirs = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    seen = np.isfinite(mine).all(axis=1) & np.isfinite(theirs).all(axis=1)
    if not seen.any():
        return _as_it_is
    mine, theirs = mine[seen], theirs[seen]
    here, there = mine.mean(axis=0), theirs.mean(axis=0)
    spread = float(((theirs - there) ** 2).sum())
    scale = float(((mine - here) * (theirs - there)).sum()) / spread if spread else 1.0
    return lambda points: here + scale * (points - there)
