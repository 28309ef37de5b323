"""How well the bundled animator draws people it has never seen: `python -m tests.bench.drawn_quality`.

Every clip is a held-out character with a held-out motion; the truth is drawn, so is the reference in a catalogue pose.
Prints Markdown tables: against copying the reference and the codec's ceiling, and with the warped reference, the
temporal modules and the shared noise on and off. The pose error is that of the bundled keypoint net on the film against
the keypoints that drove it; on the truth it is the net's own.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from manifests.clip import Clip
from pipelines.training.batches import person
from pipelines.training.people import draw, random_character, random_motion, standing
from pipelines.training.pictures import HELD_OUT
from stages.bundled import bundled
from stages.diffusion.animators import ANIMATORS, load_animator
from stages.diffusion.drawn.animator import Drawn
from stages.poses.conditioning import DrawnPoses
from stages.poses.drawing.dwpose import draw as draw_skeleton
from stages.poses.drawing.skeleton import dwpose
from stages.poses.estimators.dwpose import DWPose
from stages.poses.keypoints import Keypoints, People
from stages.video.quality.colour_difference import ciede2000
from stages.video.quality.film_quality import FilmQuality
from stages.video.quality.flicker import Flicker
from stages.video.quality.garment import torso_colour
from stages.video.quality.truth import psnr, ssim
from stages.video.quality.warping import WarpingError
from tests.bench.drawn_keypoints import NET, Found
from tests.made.faults import TORSO
from tests.made.seam import film_of

FPS = 12


@dataclass(frozen=True)
class Sample:
    """One held-out clip: everything there is to know about it."""

    clip: Clip
    reference: np.ndarray  # uint8 (height, width, 3)
    reference_keypoints: np.ndarray  # (23, 3)
    truth: np.ndarray  # uint8 (frames, height, width, 3)
    keypoints: np.ndarray  # (frames, 23, 3)
    poses: DrawnPoses


def samples(
    net: DWPose, count: int, frames: int, width: int, height: int, steps: int, first: int = HELD_OUT
) -> Iterator[Sample]:
    """Held-out clips, drawn one after the other; the reference's joints are what the keypoint net finds."""
    facts = ANIMATORS["drawn"]
    for seed in range(first, first + count):
        character, motion = random_character(seed), random_motion(seed)
        reference = draw(character, standing(seed), width, height)
        shown = [draw(character, motion.pose(frame / FPS), width, height) for frame in range(frames)]
        clip = Clip(
            id=f"held-out-{seed}",
            animator="drawn",
            width=width,
            height=height,
            fit="cover",
            fps=Fraction(FPS),
            steps=steps,
            window=facts.window,
            overlap=facts.overlap,
        )
        keypoints = np.stack([one.keypoints for one in shown])
        known = Keypoints.from_people([person(one) for one in keypoints], width, height)
        pictures = [draw_skeleton(dwpose(known.people(frame), width, height), height, width) for frame in range(frames)]
        poses = DrawnPoses(pictures.__getitem__, range(frames), known, found_in(net, reference.picture))
        truth = np.stack([one.picture for one in shown])
        yield Sample(clip, reference.picture, reference.keypoints, truth, keypoints, poses)


def found_in(net: DWPose, picture: np.ndarray) -> People:
    """Who the keypoint net finds in a picture."""
    return net.still(picture).people()


def animated(animator: Drawn, sample: Sample, **options: object) -> np.ndarray:
    """The film of a sample, uint8 (frames, height, width, 3)."""
    clip = sample.clip.model_copy(update={"options": options})
    return film_of(animator, clip, sample.reference, sample.poses)


def decoded_again(animator: Drawn, film: np.ndarray) -> np.ndarray:
    """What the codec alone leaves of a film."""
    with torch.inference_mode():
        latents = torch.cat([animator.images.encode(frame) for frame in film])
    return np.concatenate(list(animator.images.frames([latents])))


def pose_error(net: DWPose, film: np.ndarray, keypoints: np.ndarray) -> tuple[float, float]:
    """Mean distance in pixels of a picture 256 high, and PCK@0.2, of the body found in a film."""
    found = list(net.detect(film))
    points, scores = (np.stack([getattr(one, name)[0, :23] for one in found]) for name in ("points", "scores"))
    frames = len(film)
    pixels, _, _, near, *_ = Found(
        keypoints, points, scores, np.zeros(frames), np.full(frames, film.shape[1])
    ).measures()
    return pixels, near


def mean_of(measure: Callable[[np.ndarray, np.ndarray], float], film: np.ndarray, truth: np.ndarray) -> float:
    """A measure of two pictures, over a film."""
    return float(np.mean([measure(*pair) for pair in zip(film, truth, strict=True)]))


def garment_drift(film: np.ndarray, keypoints: np.ndarray, reference: np.ndarray, at: np.ndarray) -> float:
    """Mean ΔE00 of the torso's colour between the frames (keypoints (frames, 23, 3)) and the reference (`at`)."""
    wanted = torso_colour(reference, at[list(TORSO), :2])
    colours = (torso_colour(frame, points[list(TORSO), :2]) for frame, points in zip(film, keypoints, strict=True))
    return float(np.mean([ciede2000(wanted, colour) for colour in colours if colour is not None]))


def drift_from(truth: np.ndarray, film: np.ndarray, keypoints: np.ndarray) -> float:
    """Mean ΔE00 of the torso's colour between the frames of two films, keypoints (frames, 23, 3)."""
    pairs = (
        [torso_colour(frame, points[list(TORSO), :2]) for frame in (one, other)]
        for one, other, points in zip(truth, film, keypoints, strict=True)
    )
    return float(np.mean([ciede2000(*pair) for pair in pairs if pair[0] is not None]))


def static_flicker(film: np.ndarray, truth: np.ndarray) -> float:
    """Mean change from frame to frame, of 255, where the truth shows the same from its first frame to its last."""
    still = (truth == truth[:1]).all(axis=(0, 3))
    return float(np.abs(np.diff(film.astype(np.float32), axis=0)).mean(axis=-1)[:, still].mean())


def unrest(film: np.ndarray) -> tuple[float, float]:
    """Flicker in per cent, and the warping error, of 255."""
    quality = FilmQuality([Flicker(Fraction(FPS)), WarpingError()])
    for _ in quality.of([film]):
        pass
    return quality.figures["flicker"].value, 255 * quality.figures["warping_error"].value


VARIANTS = {
    "as shipped": {},
    "without the warped reference": {"warp": False},
    "without temporal modules": {"motion": False},
    "independent noise": {"noise": "independent"},
    "neither of these two": {"motion": False, "noise": "independent"},
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--first", type=int, default=HELD_OUT, help="seed of the first, to share the clips out")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--steps", type=int, default=ANIMATORS["drawn"].steps)
    parser.add_argument("--ablations", type=int, default=16, help="clips for the second table")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path, default=Path(bundled("bundled:drawn")))
    parser.add_argument("--sheet", type=Path, help="reference | truth | result of the first clips, as a picture")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    animator, net = load_animator("drawn", given.checkpoint, "cpu", torch.float32), DWPose.load(None, NET)
    quality: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    steadiness: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    rows = []
    for number, sample in enumerate(samples(net, given.clips, given.frames, *given.size, given.steps, given.first)):
        films = {"result": animated(animator, sample), "codec's ceiling": decoded_again(animator, sample.truth)}
        films["copy of the reference"] = np.broadcast_to(sample.reference, sample.truth.shape)
        for name, film in (films | {"truth": sample.truth}).items():
            drift = garment_drift(film, sample.keypoints, sample.reference, sample.reference_keypoints)
            close = (
                (np.inf, 1.0)
                if name == "truth"
                else (mean_of(psnr, film, sample.truth), mean_of(ssim, film, sample.truth))
            )
            drifts = drift, drift_from(sample.truth, film, sample.keypoints)
            quality[name].append((*close, *drifts, *pose_error(net, film, sample.keypoints)))
        if number < given.ablations:
            variants = {name: animated(animator, sample, **options) for name, options in VARIANTS.items()}
            for name, film in (variants | {"truth": sample.truth}).items():
                close = np.inf if name == "truth" else mean_of(psnr, film, sample.truth)
                steadiness[name].append((close, static_flicker(film, sample.truth), *unrest(film)))
        middle = len(sample.truth) // 2
        rows.append(np.hstack([sample.reference, sample.truth[middle], films["result"][middle]]))
    if given.sheet:
        pairs = [np.hstack(rows[at : at + 4]) for at in range(0, len(rows) - len(rows) % 4, 4)]
        Image.fromarray(np.vstack(pairs[:6])).save(given.sheet)
    shape = "×".join(map(str, given.size))
    print(f"{given.clips} held-out clips × {given.frames} frames, {shape}, {given.steps} steps\n")
    garment = "garment ΔE00 to the reference", "to the truth"
    print_table(("", "PSNR dB", "SSIM", *garment, "pose error px", "PCK@0.2"), quality)
    print()
    still = "flicker of static parts / 255"
    if steadiness:
        print_table(("", "PSNR dB", still, "flicker, per cent", "warping error / 255"), steadiness)
    decibels = [clip[0] for clip in quality["result"]]
    worst = ", ".join(f"{given.first + at} {decibels[at]:.1f}" for at in np.argsort(decibels)[:5])
    print(f"\nthe worst, seed and PSNR dB: {worst}; the best {max(decibels):.1f}")


def print_table(head: tuple[str, ...], rows: dict[str, list[tuple[float, ...]]]) -> None:
    """Means of every row, as Markdown."""
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(f'{mean:.3g}' for mean in np.mean(values, axis=0))} |")


if __name__ == "__main__":
    main()
