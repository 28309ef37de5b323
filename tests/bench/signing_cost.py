"""What it costs to sign films: processor time beside that of encoding them, and bytes.

    python -m tests.bench.signing_cost [--times N]

Films of a moving test picture of 512², 25 frames a second, as Catwalk encodes them. Seconds on the clock tell nothing
on a busy machine; the ratio of processor seconds of one run does, a little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from manifests.temporary import temporary_folder
from stages.provenance.credentials.embedding import sign_file
from stages.provenance.credentials.signing import signing_of
from stages.provenance.facts import FilmFacts, Input
from stages.provenance.settings import Credentials
from stages.video.encode import Encoder, EncodeRecipe
from tests.made.certificates import issue

SECONDS = (1, 10, 60)
FACTS = FilmFacts(
    film_key="0" * 32,
    animator="drawn",
    mode="standard",
    checkpoint_digest="0" * 64,
    inputs=(Input(role="reference", digest="1" * 64), Input(role="driving", digest="2" * 64)),
)


def processor(call: Callable[[], object]) -> float:
    """Seconds of processor time that it takes, here and in processes that have ended."""
    before = time.process_time() + sum(os.times()[2:4])
    call()
    return time.process_time() + sum(os.times()[2:4]) - before


def encode(film: Path, seconds: int) -> None:
    """A film in which everything moves a little."""
    tile = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with Encoder(film, 512, 512, Fraction(25), EncodeRecipe()) as encoder:
        for number in range(25 * seconds):
            encoder.write(np.roll(tile, 3 * number, axis=1)[None])


def main() -> None:
    """Print a line for each length of film."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=9)
    times = parser.parse_args().times
    with temporary_folder("signing") as folder:
        issued = issue(folder / "house")
        signing = signing_of(Credentials(**issued.section()["credentials"]), None)
        assert signing is not None
        print("| film | MB | encode, s | sign, ms | of encoding | bytes added |")
        for seconds in SECONDS:
            film, signed = folder / f"{seconds}.mp4", folder / f"{seconds}.signed.mp4"
            encoding = processor(lambda film=film, seconds=seconds: encode(film, seconds))
            sign = lambda film=film, signed=signed: sign_file(film, signed, FACTS, "0" * 32, "0", signing)  # noqa: E731
            sign()  # what is imported is not counted
            signs = statistics.median(processor(sign) for _ in range(times))
            size, more = film.stat().st_size, signed.stat().st_size - film.stat().st_size
            print(
                f"| {seconds} s | {size / 1e6:.1f} | {encoding:.2f} | {1e3 * signs:.0f} | {signs / encoding:.2%} "
                f"| {more} |"
            )


if __name__ == "__main__":
    main()
