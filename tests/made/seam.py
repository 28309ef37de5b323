"""An animator's seam for tests of one segment: tensors in, tensors and frames out."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from manifests.clip import Clip
from stages.diffusion.animator import Driving, Segment


def latents_of(animator: Any, clip: Clip, reference: Any, poses: Any, segment: Segment) -> torch.Tensor:
    """What `animator` denoises one segment to."""
    return animator.segment(clip, reference, Driving(poses), segment).latents


def frames_of(animator: Any, latents: torch.Tensor, clip: Clip) -> Iterator[np.ndarray]:
    """The film of a clip of one segment, in batches."""
    return animator.frames([(Segment(0, len(latents)), latents)], clip)


def film_of(animator: Any, clip: Clip, reference: Any, poses: Any) -> np.ndarray:
    """The film of a clip of one segment, uint8 (frames, height, width, 3)."""
    segment = Segment(0, len(poses))
    denoised = animator.segment(clip, reference, Driving(poses), segment)
    parts = [(replace(segment, kept=denoised.kept), denoised.latents)]
    return np.concatenate(list(animator.frames(parts, clip)))
