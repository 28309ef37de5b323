"""Measures against the truth: scikit-image's figures for the same pictures, and the quirk of the papers of 2023."""

from __future__ import annotations

import numpy as np
import pytest

from stages.video.quality import truth
from stages.video.quality.truth import MEASURES, Closeness
from tests.made.faults import footage


def pair() -> tuple[np.ndarray, np.ndarray]:
    film = footage("striped-dress", "dance").film
    return film[3], film[9]


# scikit-image 0.26: `structural_similarity` with its defaults of the luma, and with a Gaussian window of the colours;
# `peak_signal_noise_ratio`
EXPECTED = {"ssim_grey": 0.7945227649, "ssim": 0.7958908295, "psnr": 19.5967451174}


@pytest.mark.parametrize("name", EXPECTED)
def test_figures_are_those_of_scikit_image(name: str) -> None:
    assert MEASURES[name](*pair()) == pytest.approx(EXPECTED[name], abs=1e-9)


def test_the_papers_psnr_takes_large_errors_for_small_ones() -> None:
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 16, np.uint8)
    assert truth.psnr(grey, black) == pytest.approx(20 * np.log10(255 / 16))
    assert truth.psnr_uint8(grey, black) == 100, "16² wraps around to 0"
    assert truth.psnr_uint8(*pair()) - truth.psnr(*pair()) > 10


@pytest.mark.parametrize("name", MEASURES)
def test_the_truth_is_like_itself(name: str) -> None:
    best = {"l1": 0.0, "psnr": 100.0, "psnr_uint8": 100.0}
    assert MEASURES[name](pair()[0], pair()[0]) == pytest.approx(best.get(name, 1.0))


def test_a_film_is_as_good_as_its_mean_and_its_worst_frame_is_named() -> None:
    film = footage("striped-dress", "dance").film[:4]
    other = film.copy()
    other[2] = 255 - other[2]
    for name in MEASURES:
        closeness = Closeness(name)
        for number in range(4):
            closeness.look(number, other[number], film[number])
        found = closeness.figure()
        assert found.frame == 2
        assert found.value == pytest.approx(np.mean([MEASURES[name](*both) for both in zip(other, film, strict=True)]))
