"""How well the estimator `people` finds filmed people: on annotated photographs, on films made of them, on a real film.

    python -m tests.bench.people_quality MEDIA [--body FILE] [--pictures FOLDER]

MEDIA is a folder with `truth.json` (COCO-WholeBody: body, feet, face, hands of the people in its pictures) and
`street.mp4`. Errors are in percent of a person's size, the root of the area of their box; PCK@a is the share of points
nearer than a sizes; OKS is COCO's over the 17 points of the body. A part is measured over the points that are
annotated and that the estimator says it sees, `seen` is the share of those. The films show a photograph that is moved,
zoomed and turned by known amounts, through H.264; jitter is the deviation of a point from its own mean over the film,
put back into the photograph.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from stages.poses.drawing.dwpose import draw
from stages.poses.drawing.skeleton import dwpose
from stages.poses.estimators.people.estimator import PeopleEstimator, Sight
from stages.poses.keypoints import Keypoints
from stages.poses.motion.subject import follow
from stages.poses.people_nets import BODY, INSTALLED, installed
from stages.poses.wholebody import VISIBLE
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.image import read_image
from stages.video.limits import Limits
from stages.video.read import Frames

PARTS = {
    "body": slice(0, 17),
    "feet": slice(17, 23),
    "face": slice(23, 91),
    "left_hand": slice(91, 112),
    "right_hand": slice(112, 133),
}
TALL = 150  # pixels of a person's box
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
FPS, SECONDS = 25, 2


@dataclass(frozen=True)
class Annotated:
    """One person as annotated."""

    points: np.ndarray  # float64 (133, 3): x, y, above 0 where there is a point
    box: np.ndarray  # (4,): x, y, width, height
    area: float  # of the person's outline

    @property
    def size(self) -> float:
        return float(np.sqrt(self.box[2] * self.box[3]))

    def oks(self, points: np.ndarray) -> float:
        """COCO's similarity of points (133, 2) to the annotated body."""
        there = self.points[:17, 2] > 0
        apart = ((points[:17] - self.points[:17, :2]) ** 2).sum(axis=1)
        return float(np.exp(-apart / (2 * self.area * (2 * SIGMAS) ** 2))[there].mean())


def annotations(media: Path) -> dict[str, list[Annotated]]:
    """The annotated people of each picture."""
    found = {}
    for name, picture in json.loads((media / "truth.json").read_text()).items():
        found[name] = []
        for person in picture["people"]:
            points = np.zeros((133, 3))
            for part, where in PARTS.items():
                if person[part] is not None:
                    points[where] = np.reshape(person[part], (-1, 3))
            found[name].append(Annotated(points, np.array(person["bbox"]), person["area"]))
    return found


@dataclass(frozen=True)
class Matched:
    """An annotated person and who was found there."""

    truth: Annotated
    points: np.ndarray  # float64 (133, 2); NaN: nobody was
    scores: np.ndarray  # float64 (133,)

    @property
    def oks(self) -> float:
        return self.truth.oks(self.points) if np.isfinite(self.points).all() else 0.0

    def errors(self, part: slice) -> tuple[np.ndarray, float]:
        """Distances in sizes of the points of a part that are annotated and seen, and the share that is seen."""
        there, seen = self.truth.points[part, 2] > 0, self.scores[part] > VISIBLE
        apart = np.linalg.norm(self.points[part] - self.truth.points[part, :2], axis=1) / self.truth.size
        return apart[there & seen], float(seen[there].mean()) if there.any() else float("nan")


def matched(sight: Sight, people: list[Annotated]) -> list[Matched]:
    """Each annotated person with the most similar one found, nobody twice; less than 0.1 alike is nobody."""
    whole = [person.wholebody() for person in sight.people]
    alike = np.array([[one.oks(points) for points, _ in whole] for one in people]).reshape(len(people), len(whole))
    pairs = [Matched(one, np.full((133, 2), np.nan), np.zeros(133)) for one in people]
    while alike.size and alike.max() > 0.1:
        row, column = np.unravel_index(alike.argmax(), alike.shape)
        pairs[row] = Matched(people[row], *whole[column])
        alike[row], alike[:, column] = 0, 0
    return pairs


def looked_at(estimator: PeopleEstimator, media: Path) -> Iterator[tuple[str, np.ndarray, Sight, list[Matched]]]:
    """Every annotated picture, what is found in it, and whom of the annotated."""
    for name, people in annotations(media).items():
        pixels = read_image(media / name, Limits())
        (sight,) = estimator.follow([pixels])
        yield name, pixels, sight, matched(sight, people)


def measures(people: list[Matched], part: str) -> tuple[float, float, float, float, int]:
    """Mean error in sizes, PCK@0.05 and PCK@0.1, the share seen, and how many points are annotated."""
    where = PARTS[part]
    found = [one.errors(where) for one in people if (one.truth.points[where, 2] > 0).any()]
    apart = np.concatenate([errors for errors, _ in found]) if found else np.empty(0)
    annotated = sum(int((one.truth.points[where, 2] > 0).sum()) for one in people)
    if not len(apart):
        return np.nan, np.nan, np.nan, 0.0, annotated
    near, nearer = ((apart < most).mean() for most in (0.05, 0.1))
    return float(apart.mean()), float(near), float(nearer), len(apart) / annotated, annotated


@dataclass(frozen=True)
class Motion:
    """A film of a photograph that moves, and where each of its places is in each frame."""

    frames: list[np.ndarray]
    matrices: np.ndarray  # float64 (frames, 2, 3): pixels of the photograph → of the frame

    def back(self, frame: int, points: np.ndarray) -> np.ndarray:
        """Points (…, 2) of a frame → of the photograph."""
        inverse = cv2.invertAffineTransform(self.matrices[frame])
        return points @ inverse[:, :2].T + inverse[:, 2]


def moved(pixels: np.ndarray, folder: Path) -> Motion:
    """Two seconds in which the photograph swings, turns by up to 10° and is zoomed from 0.65 to 0.95, as a film."""
    height, width = (side - side % 2 for side in pixels.shape[:2])
    matrices = []
    for number in range(FPS * SECONDS):
        phase = 2 * np.pi * number / (FPS * SECONDS)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 10 * np.sin(phase), 0.8 + 0.15 * np.sin(2 * phase))
        matrix[:, 2] += 0.05 * width * np.sin(phase), 0.04 * height * np.sin(2 * phase + 1)
        matrices.append(matrix)
    frames = [cv2.warpAffine(pixels, one, (width, height), borderValue=(120, 120, 120)) for one in matrices]
    film = folder / "film.mp4"
    with Encoder(film, width, height, Fraction(FPS), EncodeRecipe(crf=20)) as encoder:
        encoder.write(np.stack(frames))
    return Motion(list(Frames(film, Limits()).read()), np.array(matrices))


@dataclass(frozen=True)
class Followed:
    """What a film of a photograph tells."""

    people: int  # annotated and tall enough
    found: float  # share of (person, frame)
    error: float  # of the body's seen points, in sizes
    jitter: float  # of the same, in sizes
    kept: int  # people whose track is the same one wherever they are found
    searched: float  # share of frames in which the detector ran
    speed: float  # frames per second of one core, after the first
    first: float  # seconds of one core for the first frame


def measured(estimator: PeopleEstimator, motion: Motion, people: list[Annotated]) -> Followed:
    """Follow the annotated people of a photograph through its film."""
    begun, times, sights = time.process_time(), [], []
    for sight in estimator.follow(motion.frames):
        sights.append(sight)
        times.append(time.process_time() - begun)
    tall = [one for one in people if one.box[3] >= TALL]
    height, width = motion.frames[0].shape[:2]
    tracks = follow(Keypoints.from_people([sight.keypoints() for sight in sights], width, height), FPS).tracks
    errors, spread, present, kept = [], [], [], 0
    for one in tall:
        still, owners = [], set()
        for number, sight in enumerate(sights):
            whole = [(motion.back(number, points), scores) for points, scores in (p.wholebody() for p in sight.people)]
            best = max(whole, key=lambda pair: one.oks(pair[0]), default=None)
            present.append(best is not None and one.oks(best[0]) > 0.3)
            if best is None or not present[-1]:
                continue
            match = Matched(one, *best)
            errors.append(match.errors(PARTS["body"])[0])
            still.append(np.where((match.scores[:17] > VISIBLE)[:, None], match.points[:17], np.nan))
            neck = motion.back(number, tracks.points[number, :, 1])
            owners.add(int(np.nanargmin(np.linalg.norm(neck - match.points[[5, 6]].mean(axis=0), axis=1))))
        kept += len(owners) == 1
        if still:
            seen = np.stack(still)
            often = np.isfinite(seen[..., 0]).mean(axis=0) > 0.5
            spread.append(np.linalg.norm(np.nanstd(seen[:, often], axis=0), axis=1).mean() / one.size)
    return Followed(
        people=len(tall),
        found=float(np.mean(present)),
        error=float(np.concatenate(errors).mean()),
        jitter=float(np.mean(spread)),
        kept=kept,
        searched=float(np.mean([sight.searched for sight in sights])),
        speed=(len(sights) - 1) / (times[-1] - times[0]),
        first=times[0],
    )


def overlaid(pixels: np.ndarray, sight: Sight) -> np.ndarray:
    """The picture, dimmed, with the skeletons of everyone found."""
    height, width, _ = pixels.shape
    drawn = draw(dwpose(sight.keypoints(), width, height), height, width)
    return np.where(drawn.any(axis=2, keepdims=True), drawn, pixels // 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, help="folder with truth.json, its pictures and street.mp4")
    parser.add_argument("--body", type=Path, help="another body net: pose_landmark_heavy.tflite")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures with what was found")
    options = parser.parse_args()
    folder = Path(installed(INSTALLED))
    estimator = PeopleEstimator.load(folder, options.body or folder / BODY)
    everyone = []
    for name, pixels, sight, people in looked_at(estimator, options.media):
        everyone += people
        similar = " ".join(f"{one.oks:.2f} ({one.truth.box[3]:.0f} px)" for one in people)
        print(f"{name}: {len(sight.people)} found, OKS of the {len(people)} annotated {similar}")
        if options.pictures:
            cv2.imwrite(str(options.pictures / name), overlaid(pixels, sight)[..., ::-1])
    tall = [one for one in everyone if one.truth.box[3] >= TALL]
    print(f"\nthe {len(tall)} people of {TALL} px and more: OKS {np.mean([one.oks for one in tall]):.3f}")
    print(f"{'':12} {'error %':>8} {'PCK@0.05':>9} {'PCK@0.1':>8} {'seen':>6} {'points':>7}")
    for part in PARTS:
        error, near, nearer, seen, points = measures(tall, part)
        print(f"{part:12} {100 * error:8.1f} {near:9.2f} {nearer:8.2f} {seen:6.2f} {points:7}")
    print("\nfilms of the same photographs, moved")
    for name, people in annotations(options.media).items():
        with tempfile.TemporaryDirectory() as scratch:
            film = measured(estimator, moved(read_image(options.media / name, Limits()), Path(scratch)), people)
        print(
            f"{name}: found {film.found:.2f}, error {100 * film.error:.1f} %, jitter {100 * film.jitter:.2f} %, "
            f"identity kept {film.kept} of {film.people}, detector in {film.searched:.2f} of the frames, "
            f"{film.speed:.1f} frames/s of one core, first frame {film.first:.2f} s"
        )
    street = list(Frames(options.media / "street.mp4", Limits()).read())
    begun = time.process_time()
    counts = [len(sight.people) for sight in estimator.follow(street)]
    print(f"street.mp4: people per frame {counts}, {time.process_time() - begun:.2f} s of one core")


if __name__ == "__main__":
    main()
