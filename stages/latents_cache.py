"""Which segments a clip has, where each is kept, and which are still to be denoised. Imports no torch."""

from __future__ import annotations

from manifests import storage
from manifests.layout import OutputLayout
from manifests.work import Work
from stages.diffusion.animator import Segment
from stages.diffusion.animators import facts_of
from stages.diffusion.segments import segments_of


def segments(work: Work) -> list[Segment]:
    """The segments of a clip, in order."""
    return segments_of(work.clip, facts_of(work.clip.animator), work.drawn or work.frames)


def latents_uri(layout: OutputLayout, work: Work, segment: Segment) -> str:
    """Where a segment's latents are stored: each under a name of its own."""
    return layout.latents(work.latents_key, None if segment.whole else segment.number)


def all_stored(layout: OutputLayout, work: Work) -> bool:
    """Whether nothing of a clip has to be denoised."""
    return all(storage.exists(latents_uri(layout, work, segment)) for segment in segments(work))
