"""Which segments a clip is denoised in. Imports no torch: keys and plans are made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.diffusion.animator import Facts, Segment

if TYPE_CHECKING:
    from manifests.clip import Clip


def segments_of(clip: Clip, facts: Facts, num_frames: int) -> list[Segment]:
    """The segments of a clip of which `num_frames` are drawn.

    Borders lie at multiples of the animator's segment, from frame 0 on. What is left at the end joins the last one if
    it is shorter than half of one. Parity mode denoises as published: as a whole, unless the system is a chained one.
    """
    if facts.own_segments is not None:
        return facts.own_segments(clip, num_frames)
    rule = facts.segments
    if rule is None or (clip.mode == "parity" and not rule.carried):
        return [Segment(0, num_frames)]
    borders = list(range(0, num_frames, rule.frames))
    if rule.carried:  # the first one has no predecessor to take frames over from: its own count as new
        borders = [0, *range(rule.frames + rule.carried, num_frames, rule.frames)]
    elif len(borders) > 1 and num_frames - borders[-1] < rule.frames / 2:
        borders.pop()
    if len(borders) == 1:
        return [Segment(0, num_frames)]
    stops = [*borders[1:], num_frames]
    made = []
    for number, (start, stop) in enumerate(zip(borders, stops, strict=True)):
        begin, end = start - max(rule.halo, rule.carried), stop + rule.halo
        if not clip.loop or rule.carried:
            begin, end = max(begin, 0), min(end, num_frames)
        made.append(Segment(begin, end, number, whole=False, taken_over=rule.carried if number else 0))
    return made
