"""What the ablations call a seam."""

import numpy as np
import pytest

from tests.bench.ablations.people import clip_of
from tests.bench.ablations.seams import fade, played, score
from tests.bench.ablations.variants import Variant, four_segments, segment_borders, window_borders

CLIP = clip_of("striped-dress")  # windows of 16 that overlap by 4, two steps


def steps(frames: int = 128) -> np.ndarray:
    """Of somebody who moves faster and slower, by a beat that is no multiple of the windows'."""
    found = 0.01 * (1.5 + np.sin(np.arange(frames) / 2.3))
    found[0] = np.nan
    return found


@pytest.mark.parametrize("borders", [[32, 64, 96], list(range(12, 128, 12)), [41]])
def test_a_seam_is_what_borders_add_to_a_film_that_moves_unevenly(borders: list[int]) -> None:
    without = steps()
    assert score(without, without, borders).excess == 1
    cut = without.copy()
    cut[borders] *= 1.3
    assert score(cut, without, borders).excess == pytest.approx(1.3)
    assert score(cut, without, [border + 1 for border in borders]).excess == pytest.approx(1, abs=0.05)


def test_a_fade_shows_the_frames_beside_a_border() -> None:
    without, cut = steps(), steps()
    cut[[30, 62, 94]] *= 2
    around = fade(cut, without, [32, 64, 96], reach=4)
    assert around.tolist() == pytest.approx([1, 1, 2, 1, 1, 1, 1, 1, 1])


def test_a_film_in_a_row_jumps_where_it_begins_anew() -> None:
    again, joins = played(steps(), 0.5)
    assert joins == [128, 256]
    assert np.flatnonzero(again == 0.5).tolist() == joins
    assert score(again, again, joins).here > 20


def test_borders_are_where_frames_change_windows() -> None:
    assert window_borders(CLIP, 40, Variant(ring=True)) == [12, 16, 24, 28, 36], "the last one wraps"
    assert window_borders(CLIP, 128, Variant({"overlap": 0}, ring=True)) == list(range(16, 128, 16))
    opened = window_borders(CLIP, 128, Variant())
    assert {12, 16, 24, 28} < set(opened), "of the first step"
    assert {18, 22, 30, 34} < set(opened), "of the second, half an advance on"
    assert segment_borders(128, four_segments(128, 16)) == [32, 64, 96]
    assert segment_borders(130, four_segments(130, 0)) == [33, 66, 99]
    assert segment_borders(128, None) == []
