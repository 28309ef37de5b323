"""What the watermark survives, what it costs, and what is taken for it: `python -m tests.bench.provenance`.

Prints Markdown, a part at a time: `films` (marked, published, then changed as people change films), `foreign` (clips
that carry no mark of ours), `cost` (what the mark does to pictures, sizes of files, metrics, and processor time).
`--media` is a folder with photographs and videos of real people, such as `../shared/media`; without it there are only
drawn ones. Films are 16 frames at 25 per second, encoded as runs do (CRF 18).
"""

from __future__ import annotations

import argparse
import itertools
import resource
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from manifests.errors import Rejected
from manifests.review import ReviewLimits
from manifests.temporary import temporary_folder
from pipelines.training.catalogue import DRIVING, REFERENCES
from pipelines.training.people import Motion, draw, random_character
from stages.provenance.watermark.detection import FALSE_ALARM, Reading
from stages.provenance.watermark.finding import frames_to_look_at
from stages.provenance.watermark.id_code import coded
from stages.provenance.watermark.spread_spectrum import SpreadSpectrum
from stages.video.image import read_image
from stages.video.limits import Limits
from stages.video.quality.truth import psnr, ssim
from stages.video.quality.vmaf import vmaf
from stages.video.read import Frames
from tests.bench.film_quality import measured
from tests.made.attacks import RE_ENCODED, encoded_again, film, frames_of, remuxed, screenshots
from tests.made.faults import footage

Made = TypeVar("Made")

FRAMES = 16
KEY, OTHER = b"the key of this benchmark", b"the key of somebody else"
METHOD = SpreadSpectrum(KEY)
SCREENSHOTS = {"screenshots, JPEG 80": 1.0, "screenshots at 1.37×": 1.37}
MORE = ("half size, CRF 28", "screenshots at 1.37×")  # than what a published film should survive: every fourth


def cpu_seconds() -> float:
    """Of this process and its children so far."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def done_by(workers: int, tasks: Iterable[Callable[[], Made]]) -> Iterator[Made]:
    """What tasks give, in no order. After Ctrl-C no more, so that what was found until then can be told."""
    with ProcessPoolExecutor(workers, initializer=partial(signal.signal, signal.SIGINT, signal.SIG_IGN)) as pool:
        going = [pool.submit(task) for task in tasks]
        try:
            for one in as_completed(going):
                print(".", end="", file=sys.stderr, flush=True)
                yield one.result()
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)


def drawn(number: int, width: int, height: int, frames: int = FRAMES) -> np.ndarray:
    """A film of a drawn person whom no other number has."""
    person, motion = random_character(3_000_000 + number), Motion.named(list(DRIVING)[number % 3], number)
    return np.stack([draw(person, motion.pose(at / 12), width, height).picture for at in range(frames)])


def photographed(picture: np.ndarray, number: int, width: int, height: int, frames: int = FRAMES) -> np.ndarray:
    """A part of a photograph, in whose middle another part of it passes by."""
    random = np.random.default_rng(number)
    scale = max(width / picture.shape[1], height / picture.shape[0]) * random.uniform(1.1, 1.6)
    whole = cv2.resize(
        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    room = whole.shape[0] - height, whole.shape[1] - width
    top, left, down = (int(random.integers(0, most + 1)) for most in (*room, room[0]))
    still = whole[top : top + height, left : left + width].astype(np.float32)
    near = np.zeros((height, width), np.float32)
    cv2.ellipse(near, (width // 2, height // 2), (width // 4, height * 2 // 5), 0, 0, 360, 1.0, -1)
    near = cv2.GaussianBlur(near, (0, 0), 6)[..., None]
    starts = [int(at * room[1] / frames) for at in range(frames)]
    passing = [whole[down : down + height, start : start + width] for start in starts]
    return np.stack([(still * (1 - near) + one * near + 0.5).clip(0, 255).astype(np.uint8) for one in passing])


def photographs(media: Path | None) -> list[np.ndarray]:
    """Pictures of real people."""
    found = sorted(path for path in media.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg")) if media else []
    pictures = []
    for path in found:
        try:
            picture = read_image(path, Limits())
        except Rejected:
            continue
        if min(picture.shape[:2]) >= 300:
            pictures.append(picture)
    return pictures


# Films of ours


@dataclass
class Tally:
    """What was read of films of one kind after one attack."""

    bits: list[float] = field(default_factory=list)
    ids: int = 0
    found: int = 0
    wrong: int = 0
    chances: list[float] = field(default_factory=list)

    def put(self, reading: Reading | None, identity: int) -> None:
        """Take in one film."""
        if reading is None:
            self.bits.append(0.5)
            self.chances.append(1.0)
            return
        found = reading.chance < FALSE_ALARM
        self.bits.append(float(((reading.soft > 0) == (coded(identity) > 0)).mean()))
        self.found += found
        self.ids += found and reading.id == identity
        self.wrong += found and reading.id not in (None, identity)
        self.chances.append(reading.chance)


def changed(published: Path, folder: Path, more: bool) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The frames of a published film, after each attack; with `more`, also after those of `MORE`."""
    attacks = {name: attack for name, attack in RE_ENCODED.items() if more or name not in MORE}
    yield "as published", frames_of(published)
    yield "remuxed", frames_of(remuxed(published, folder / "remuxed.mp4"))
    for name, attack in attacks.items():
        yield name, frames_of(encoded_again(published, folder / "again.mp4", **attack))
    for name, scale in SCREENSHOTS.items():
        if more or name not in MORE:
            yield name, list(screenshots(published, scale))


Read = list[tuple[str, Reading | None]]  # by attack


def our_films(media: Path | None, share: float) -> Iterator[Callable[[], tuple[str, int, Read]]]:
    """A task for each film, in no order: its kind, its id, and what is read of it after each attack."""
    sizes = [(192, 256, 64), (512, 512, 10), (512, 768, 8), (128, 128, 5), (96, 128, 5), (64, 64, 5)]
    asked = [(width, height) for width, height, count in sizes for _ in range(round(count * share) or 1)]
    pictures = photographs(media)
    asked += [(512, 640)] * min(len(pictures), round(12 * share) or 1)
    for number, at in enumerate(np.random.default_rng(5).permutation(len(asked)).tolist()):
        width, height = asked[at]
        if (width, height) == (512, 640):
            picture = pictures[at % len(pictures)]
            make = partial(photographed, picture, number, width, height)
            yield partial(attacked, "photographs, 512×640", make, number)
        else:
            yield partial(attacked, f"drawn, {width}×{height}", partial(drawn, number, width, height), number)


def attacked(kind: str, make: Callable[[], np.ndarray], number: int) -> tuple[str, int, Read]:
    """What is read of one film."""
    cv2.setNumThreads(1)
    identity = int(np.random.default_rng(number).integers(0, 2**63)) * 2 + 1
    with temporary_folder("bench") as folder:
        published = film(folder / "film.mp4", METHOD.mark(make(), identity))
        found: Read = []
        for attack, seen in changed(published, folder, number % 4 == 0):
            found.append((attack, METHOD.read(seen[at] for at in frames_to_look_at(len(seen)))))
        return kind, identity, found


def print_films(media: Path | None, share: float, workers: int) -> None:
    """A table for each kind of film."""
    tallies: dict[str, dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
    for kind, identity, found in done_by(workers, our_films(media, share)):
        for attack, reading in found:
            tallies[kind][attack].put(reading, identity)
    for kind, of_kind in tallies.items():
        print(f"\n{kind}, {len(of_kind['as published'].bits)} films:\n")
        print("| after | films | found | id read | wrong id | coded bits right, mean (worst) | false alarm |")
        print("|---|---|---|---|---|---|---|")
        for attack in sorted(of_kind, key=MORE.__contains__):
            one, count = of_kind[attack], len(of_kind[attack].bits)
            bits = f"{100 * np.mean(one.bits):.1f} % ({100 * min(one.bits):.1f} %)"
            read = f"{100 * one.found / count:.0f} % | {100 * one.ids / count:.0f} % | {one.wrong}"
            print(f"| {attack} | {count} | {read} | {bits} | {np.median(one.chances):.0e} |")


# Clips that are not ours


def through(frames: np.ndarray, crf: int) -> list[np.ndarray]:
    """The frames of a film as it was encoded."""
    with temporary_folder("bench") as folder:
        return frames_of(film(folder / "film.mp4", frames, crf=crf))


def people(number: int) -> list[np.ndarray]:
    """Drawn people without any mark."""
    return through(drawn(10_000 + number, *[(192, 256), (256, 256), (512, 512)][number % 3], 4), 18 + number % 11)


def of_others(number: int) -> list[np.ndarray]:
    """Drawn people with the mark of another key."""
    frames = drawn(20_000 + number, *[(192, 256), (512, 512)][number % 2], 4)
    return through(SpreadSpectrum(OTHER).mark(frames, number), 18)


def noise(number: int) -> list[np.ndarray]:
    """Grains and squares, from one pixel to sixteen."""
    grain = np.random.default_rng(number).integers(0, 255, (256 >> number % 5, 192 >> number % 5, 3), np.uint8)
    shown = cv2.resize(grain, (192, 256), interpolation=cv2.INTER_NEAREST if number % 2 else cv2.INTER_CUBIC)
    return through(np.repeat(shown[None], 4, axis=0), 23)


def part_of(picture: np.ndarray, number: int) -> list[np.ndarray]:
    """A part of a photograph."""
    return through(photographed(picture, 100 + number, *[(256, 320), (512, 512)][number % 2], 4), 23)


def given(frames: list[np.ndarray]) -> list[np.ndarray]:
    """A piece of a video as it is."""
    return frames


def looked_at(kind: str, make: Callable[[], list[np.ndarray]]) -> tuple[str, Reading | None]:
    """What is read of one clip."""
    cv2.setNumThreads(1)
    return kind, METHOD.read(make())


def foreign(media: Path | None, share: float) -> Iterator[Callable[[], tuple[str, Reading | None]]]:
    """A task for each clip; of all kinds in turn."""
    pictures = photographs(media)
    kinds: list[Iterator[tuple[str, Callable[[], list[np.ndarray]]]]] = [
        (("drawn people", partial(people, number)) for number in range(round(130 * share))),
        (("marked with another key", partial(of_others, number)) for number in range(round(100 * share))),
        (("noise and squares", partial(noise, number)) for number in range(round(50 * share))),
        (
            ("photographs", partial(part_of, pictures[number % len(pictures)], number))
            for number in range(round(120 * share) if pictures else 0)
        ),
        (("real videos", partial(given, piece)) for path in videos(media) for piece in pieces(path, share)),
    ]
    for clips in itertools.zip_longest(*kinds):
        yield from (partial(looked_at, *clip) for clip in clips if clip is not None)


def videos(media: Path | None) -> list[Path]:
    """Films of real people, and of their poses."""
    return sorted(media.rglob("*.mp4")) if media else []


def pieces(path: Path, share: float, length: int = 4) -> Iterator[list[np.ndarray]]:
    """A video in pieces of a few frames, each also as one of its quarters."""
    try:
        frames = list(Frames(path, Limits()).read())
    except Rejected:
        return
    every = max(1, round(1 / share))
    for number, start in enumerate(range(0, max(1, len(frames) - length), length)):
        if number % every == 0:
            piece = frames[start : start + length]
            height, width, _ = piece[0].shape
            top, left = (number // 2 % 2) * height // 2, number % 2 * width // 2
            yield piece
            yield [one[top : top + height // 2, left : left + width // 2] for one in piece]


def print_foreign(media: Path | None, share: float, workers: int) -> None:
    """A row for each kind of clip."""
    readings: dict[str, list[Reading]] = defaultdict(list)
    for kind, reading in done_by(workers, foreign(media, share)):
        if reading is not None:
            readings[kind].append(reading)
    readings["all"] = [one for of_kind in readings.values() for one in of_kind]
    print("\n| clips that are not ours | number | taken for ours | highest score | smallest bound of the chance |")
    print("|---|---|---|---|---|")
    for kind, found in readings.items():
        alarms = sum(one.chance < FALSE_ALARM for one in found)
        highest, least = max(one.score for one in found), min(one.chance for one in found)
        print(f"| {kind} | {len(found)} | {alarms} | {highest:.2f} | {least:.2g} |")


# What the mark costs


class Costs(NamedTuple):
    """Of one film."""

    psnr: float
    ssim: float
    vmaf: float
    vmaf_unmarked: float
    bytes: float
    mark: float
    encode: float
    detect: float
    look: float


def costs(frames: np.ndarray) -> Costs:
    """Processor seconds are per second of film at 25 frames; VMAF is of the encoded film against the frames."""

    def timed(call: Callable[[], object]) -> float:
        begun = cpu_seconds()
        call()
        return cpu_seconds() - begun

    seconds = len(frames) / 25
    METHOD.mark(frames[:1], 1)
    marking = timed(lambda: METHOD.mark(frames, 1))
    marked = METHOD.mark(frames, 1)
    with temporary_folder("bench") as folder:
        truth = film(folder / "truth.mp4", frames, crf=1)
        encoding = timed(lambda: film(folder / "unmarked.mp4", frames))
        film(folder / "marked.mp4", marked)
        (folder / "vmaf").mkdir()
        scores = [vmaf(folder / f"{name}.mp4", truth, folder / "vmaf").value for name in ("marked", "unmarked")]
        seen = frames_of(folder / "marked.mp4")
        sizes = [(folder / f"{name}.mp4").stat().st_size for name in ("marked", "unmarked")]
    pairs = list(zip(marked, frames, strict=True))
    return Costs(
        float(np.mean([psnr(*pair) for pair in pairs])),
        float(np.mean([ssim(*pair) for pair in pairs])),
        *scores,
        sizes[0] / sizes[1],
        marking / seconds,
        encoding / seconds,
        timed(lambda: METHOD.detect(seen)),
        timed(lambda: METHOD.detect(frames)),
    )


def print_costs(media: Path | None, share: float, workers: int) -> None:
    """A row for each size, and what metrics say of marked films."""
    kinds: list[tuple[str, list[np.ndarray]]] = [
        (f"drawn, {width}×{height}", [drawn(40_000 + one, width, height) for one in range(count)])
        for width, height, count in ((192, 256, 4), (512, 512, 2), (512, 768, 2), (1080, 1440, 1))
    ]
    if pictures := photographs(media):
        kinds.append(("photographs, 512×640", [photographed(one, at, 512, 640) for at, one in enumerate(pictures[:4])]))
    print(
        "\n| film | PSNR, dB | SSIM | VMAF, marked | VMAF, unmarked | file, over unmarked | CPU s per s of film: ",
        end="",
    )
    print("mark | encode | mark over encode | CPU s: detect in ours | in another |\n|" + "---|" * 11)
    for kind, films in kinds:
        mean = Costs(*np.mean([costs(one) for one in films], axis=0))
        cells = f"{mean.psnr:.1f} | {mean.ssim:.4f} | {mean.vmaf:.1f} | {mean.vmaf_unmarked:.1f} | {mean.bytes:.2f}"
        times = (
            f"{mean.mark:.3f} | {mean.encode:.3f} | {mean.mark / mean.encode:.2f} | {mean.detect:.2f} | {mean.look:.2f}"
        )
        print(f"| {kind} | {cells} | {times} |", flush=True)
    print_metrics()


def print_metrics() -> None:
    """The worst of right films, with and without the mark; reference unmarked in both."""
    limits, worst = ReviewLimits(), defaultdict(list)
    alarms = {"unmarked": 0, "marked": 0}
    for person, motion in itertools.product(REFERENCES, DRIVING):
        right = footage(person, motion)
        for name, clip in {"unmarked": right, "marked": right.faulty(METHOD.mark(right.film, 1))}.items():
            found = measured(clip)
            alarms[name] += bool(limits.reasons(found, None))
            worst[name].append({metric: one.value for metric, one in found.items()})
    print(f"\n{len(worst['marked'])} right films; with an alarm: {alarms}\n")
    metrics = list(worst["marked"][0])
    print(f"| mean | {' | '.join(metrics)} |\n|{'---|' * (len(metrics) + 1)}")
    for name, found in worst.items():
        print(f"| {name} | {' | '.join(f'{np.mean([one[metric] for one in found]):.3g}' for metric in metrics)} |")


PARTS = {"films": print_films, "foreign": print_foreign, "cost": print_costs}


def main() -> None:
    """Print the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--media", type=Path, help="folder with photographs and videos")
    parser.add_argument("--share", type=float, default=1.0, help="of the films, for a quick look")
    parser.add_argument("--workers", type=int, default=2, help="processes of films and foreign")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    for name in asked.parts or PARTS:
        PARTS[name](asked.media, asked.share, asked.workers)


if __name__ == "__main__":
    main()
