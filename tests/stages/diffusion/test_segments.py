"""How long clips are cut, and how independent segments become one clip again."""

from dataclasses import replace

import pytest
import torch

from manifests.clip import Clip
from stages.diffusion.animator import Segment, Segments
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.sampling.cross_fade import cross_faded
from stages.diffusion.sampling.windows import open_windows
from stages.diffusion.segments import segments_of

FACTS = replace(ANIMATORS["magicanimate"], segments=Segments(40, halo=6))


def clip(**fields: object) -> Clip:
    return Clip(**{"id": "a", "animator": "magicanimate", "window": 8, "overlap": 2, **fields})


def spans(num_frames: int, rule: Segments | None = FACTS.segments, **fields: object) -> list[tuple[int, int]]:
    made = segments_of(clip(**fields), replace(FACTS, segments=rule), num_frames)
    assert [segment.number for segment in made] == list(range(len(made)))
    assert all(segment.whole == (len(made) == 1) for segment in made)
    return [(segment.start, segment.stop) for segment in made]


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (1, [(0, 1)]),
        (40, [(0, 40)]),
        (59, [(0, 59)]),  # what is left is shorter than half a segment
        (60, [(0, 46), (34, 60)]),
        (100, [(0, 46), (34, 86), (74, 100)]),
        (99, [(0, 46), (34, 99)]),
    ],
)
def test_segments_lie_at_fixed_frames_with_a_halo_on_either_side(num_frames: int, expected: list) -> None:
    assert spans(num_frames) == expected


def test_a_loop_goes_on_beyond_its_ends() -> None:
    num_frames = 100
    assert spans(num_frames, loop=True) == [(-6, 46), (34, 86), (74, 106)]
    last = segments_of(clip(loop=True), FACTS, num_frames)[-1]
    assert last.shown(num_frames)[-8:] == [98, 99, 0, 1, 2, 3, 4, 5]
    assert spans(40, loop=True) == [(0, 40)], "one segment has its own way to close a loop"


def test_chained_segments_begin_with_the_frames_that_they_take_over() -> None:
    wan = Segments(76, carried=1, per_latent=4)
    assert spans(77, wan) == [(0, 77)]
    assert spans(78, wan) == [(0, 77), (76, 78)]
    assert spans(200, wan) == [(0, 77), (76, 153), (152, 200)]
    assert spans(200, wan, mode="parity") == spans(200, wan), "published chained systems draw in segments"
    assert [wan.latent_frames(frames) for frames in (1, 2, 5, 6, 77)] == [1, 2, 2, 3, 20]


def test_parity_and_systems_without_segments_denoise_the_whole_clip() -> None:
    assert spans(1000, mode="parity") == [(0, 1000)]
    assert spans(1000, None) == [(0, 1000)]


@pytest.mark.parametrize("name", ["magicanimate", "animate_anyone", "dreampose", "text2video_zero", "drawn"])
def test_half_a_segment_holds_two_halos_and_a_window(name: str) -> None:
    """Else a frame could lie in the overlap of three segments, or a segment be shorter than what it is made of."""
    facts = ANIMATORS[name]
    assert facts.segments.frames / 2 >= 2 * facts.segments.halo + facts.window_limits[1]


@pytest.mark.parametrize("step", range(9))
@pytest.mark.parametrize("begin", [0, 34, 7, -6])
def test_a_segment_sees_the_windows_of_the_whole_clip(begin: int, step: int) -> None:
    whole = {tuple(window.frames): window.weights for window in open_windows(400, 8, 2, step)}
    own = open_windows(60, 8, 2, step, begin)
    inner = [window for window in own if window.frames[0] > 0 and window.frames[-1] < 59]
    if begin >= 0:
        assert inner
        for window in inner:
            assert whole[tuple(frame + begin for frame in window.frames)] == window.weights
    assert {frame for window in own for frame in window.frames} == set(range(60))
    starts = sorted(window.frames[0] for window in inner)
    assert {(start + begin - starts[0] - begin) % 6 for start in starts} == {0}


def latents(spans: list[tuple[int, int]], seed: int = 0) -> list[tuple[Segment, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    many = len(spans) > 1
    return [
        (Segment(start, stop, number, whole=not many), torch.randn(stop - start, 4, 2, 3, generator=generator))
        for number, (start, stop) in enumerate(spans)
    ]


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("halo", [0, 1, 6])
@pytest.mark.parametrize("num_frames", [40, 60, 100, 125])
def test_segments_that_agree_are_the_clip_itself(num_frames: int, halo: int, loop: bool) -> None:
    whole = torch.randn(num_frames, 4, 2, 3, generator=torch.Generator().manual_seed(1))
    made = segments_of(clip(loop=loop), replace(FACTS, segments=Segments(40, halo=halo)), num_frames)
    parts = [(segment, whole[segment.shown(num_frames)]) for segment in made]
    joined = torch.cat(list(cross_faded(parts)))
    assert joined.shape == whole.shape
    assert torch.allclose(joined, whole, atol=1e-6)


def test_one_segment_fades_into_the_next_in_even_steps() -> None:
    parts = latents([(0, 46), (34, 100)])
    joined = torch.cat(list(cross_faded(parts)))
    (_, first), (_, second) = parts
    assert torch.equal(joined[:34], first[:34])
    assert torch.equal(joined[46:], second[12:])
    for place in range(12):
        share = (place + 1) / 13
        assert torch.allclose(joined[34 + place], (1 - share) * first[34 + place] + share * second[place], atol=1e-6)


def test_the_end_of_a_loop_fades_into_its_beginning() -> None:
    parts = latents([(-6, 46), (34, 86), (74, 106)])
    joined = torch.cat(list(cross_faded(parts)))
    assert len(joined) == 100
    first, last = parts[0][1], parts[2][1]
    for place in range(12):
        frame, share = (94 + place) % 100, (place + 1) / 13
        expected = (1 - share) * last[20 + place] + share * first[place]
        assert torch.allclose(joined[frame], expected, atol=1e-6), frame


def test_no_more_than_a_segment_and_what_overlaps_is_held_at_once() -> None:
    alive: list[int] = []

    class Read(list):
        def __getitem__(self, place: int) -> tuple[Segment, torch.Tensor]:
            segment, made = super().__getitem__(place)
            alive.append(place)
            return segment, made

    parts = Read(latents([(0, 46), (34, 86), (74, 126), (114, 160)]))
    seen = [len(alive) and alive[-1] for _ in cross_faded(parts)]
    assert seen == sorted(seen), "a segment is asked for when it is due, not before"
