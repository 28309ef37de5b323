"""An animator's seam for tests of one segment: tensors in, tensors and frames out."""

from collections.abc import Iterator
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
