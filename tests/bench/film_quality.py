"""What metrics find in right films and in faulty ones, and what they cost: `python -m tests.bench.film_quality`.

Prints Markdown: faults against metrics, what sets off an alarm in bold; the worst of films that are right; CPU seconds
for a film beside encoding it. With `--output FOLDER` also the worst of the films of a run there, such as `make demo`'s.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from manifests import storage
from manifests.review import LESS_IS_WORSE, Measure, ReviewLimits
from manifests.temporary import temporary_folder
from pipelines.training.catalogue import DRIVING, REFERENCES
from stages.video.encode import EncodeRecipe
from stages.video.film import write_film
from stages.video.quality.film_quality import FilmQuality, metrics_of
from stages.video.quality.frame import small_size
from stages.video.quality.outline import Outline, outline_of_points
from tests.made.faults import BORDER, FAULTS, FPS, TORSO, Footage, footage

LIMITS = ReviewLimits()


def measured(clip: Footage) -> dict[str, Measure]:
    """Every metric of a clip, with a border in it."""
    quality = FilmQuality(metrics_of(FPS, clip.reference, clip.reference_torso, borders=[BORDER]), clip.outline)
    for _ in quality.of([clip.film]):
        pass
    return {name: Measure(value=one.value, frame=one.frame) for name, one in quality.figures.items()}


def worst(found: list[dict[str, Measure]]) -> dict[str, float]:
    """Of several films, by metric."""
    names = dict.fromkeys(name for one in found for name in one)
    return {
        name: (min if name in LESS_IS_WORSE else max)(one[name].value for one in found if name in one) for name in names
    }


def print_faults(person: str, motion: str) -> None:
    """A line for each fault of one clip."""
    right = footage(person, motion)
    clips = {"none": right} | {name: right.faulty(make(right)) for name, (make, _) in FAULTS.items()}
    found = {name: measured(clip) for name, clip in clips.items()}
    names = list(found["none"])
    print(f"\n{person}, {motion}:\n\n| fault | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for fault, measures in found.items():
        alarms = {reason.split()[0] for reason in LIMITS.reasons(measures, None)}
        stars = ("**" * (name in alarms) for name in names)
        cells = (f"{star}{measures[name].value:.3g}{star}" for star, name in zip(stars, names, strict=True))
        print(f"| {fault} | {' | '.join(cells)} |")


def print_right() -> None:
    """The worst of all people in all motions, and how many of those films set off an alarm."""
    found = [measured(footage(person, motion)) for person in REFERENCES for motion in DRIVING]
    alarms = sum(bool(LIMITS.reasons(one, None)) for one in found)
    print_worst(f"{len(found)} films that are right, {alarms} of them with an alarm", worst(found), LIMITS.of(None))


def print_worst(title: str, values: Mapping[str, float], limits: Mapping[str, float]) -> None:
    """One table row of values, and one of limits."""
    print(f"\n{title}:\n\n|  | {' | '.join(values)} |\n|{'---|' * (len(values) + 1)}")
    print(f"| worst | {' | '.join(f'{value:.3g}' for value in values.values())} |")
    print(f"| limit | {' | '.join(f'{limits[name]:g}' for name in values)} |")


def print_run(output: Path) -> None:
    """The worst of a run's films, as their markers have them."""
    markers = [storage.read_json(str(path)) or {} for path in sorted((output / "films").glob("*.json"))]
    found = [{name: Measure(**one) for name, one in marker["quality"].items()} for marker in markers]
    animators = {marker["animator"] for marker in markers}
    for animator in animators:
        mine = [one for one, marker in zip(found, markers, strict=True) if marker["animator"] == animator]
        alarms = sum(bool(LIMITS.reasons(one, animator)) for one in mine)
        print_worst(f"{len(mine)} films of {animator}, {alarms} with an alarm", worst(mine), LIMITS.of(animator))


def print_cost(frames: int = 48) -> None:
    """CPU milliseconds per frame, of one process and its children."""
    clip = footage("striped-dress", "dance")
    print("\n| size | metrics, ms per frame | x264 and poster, ms per frame |\n|---|---|---|")
    for width, height in ((192, 256), (512, 768), (1080, 1920)):
        film = [cv2.resize(clip.film[at % 30], (width, height)) for at in range(frames)]
        reference = cv2.resize(clip.reference, (width, height))
        torso = clip.reference_torso * np.divide((width, height), (192, 256))
        with temporary_folder("bench") as folder:
            begun = cpu_seconds()
            quality = FilmQuality(metrics_of(Fraction(25), reference, torso), partial(outline, clip, (width, height)))
            for _ in quality.of(batches(film)):
                pass
            _ = quality.figures
            looked = cpu_seconds()
            write_film(folder / "a.mp4", folder / "a.jpg", batches(film), Fraction(25), EncodeRecipe())
            spent = looked - begun, cpu_seconds() - looked
        print(f"| {width}×{height} | {' | '.join(f'{1000 * one / frames:.1f}' for one in spent)} |")


def outline(clip: Footage, size: tuple[int, int], frame: int) -> Outline:
    """Where the person is in the small picture of a film of that size."""
    points, small = clip.keypoints[frame % len(clip.film)], small_size(*size)
    scale = np.divide(small, clip.film.shape[2:0:-1])
    return outline_of_points(points[points[:, 2] > 0, :2] * scale, small, points[list(TORSO), :2] * scale)


def batches(film: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Eight frames at a time."""
    return (np.stack(film[start : start + 8]) for start in range(0, len(film), 8))


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="of a run")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    for person, motion in (("striped-dress", "dance"), ("green-jacket", "jumping_jack"), ("polka-dots", "dance")):
        print_faults(person, motion)
    print_right()
    if given.output:
        print_run(given.output)
    print_cost()


if __name__ == "__main__":
    main()
