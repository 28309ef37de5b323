"""An animator's seam for tests of one segment: tensors in, tensors and frames out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from manifests.clip import Clip
from stages.diffusion.animator import Denoised, Driving, Segment


def latents_of(animator: Any, clip: Clip, reference: Any, poses: Any, segment: Segment) -> torch.Tensor:
    """What `animator` denoises one segment to."""
    return animator.segment(clip, reference, Driving(poses), segment).latents


def frames_of(animator: Any, denoised: Denoised, clip: Clip) -> Iterator[np.ndarray]:
    """The film of a clip of one segment, in batches."""
    segment = Segment(0, len(denoised.latents), kept=denoised.kept)
    return animator.frames([(segment, denoised.latents)], clip)


def film_of(animator: Any, clip: Clip, reference: Any, poses: Any) -> np.ndarray:
    """The film of a clip of one segment, uint8 (frames, height, width, 3)."""
    denoised = animator.segment(clip, reference, Driving(poses), Segment(0, len(poses)))
    return np.concatenate(list(frames_of(animator, denoised, clip)))
