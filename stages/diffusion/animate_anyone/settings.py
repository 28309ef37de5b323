"""What no weight file of Animate Anyone holds.

Source: SPEC.md sections 1 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.diffusion.animate_anyone.facts import LONGEST_WINDOW, SCHEDULER
from stages.diffusion.weights.checkpoint import read_object


@dataclass(frozen=True)
class PublishedSettings:
    """The "v2" settings of the published weights."""

    positions: int = LONGEST_WINDOW  # frames that a motion module can tell apart
    motion_heads: int = 8
    mid_block: bool = True
    norms_per_frame: bool = True
    scheduler: dict[str, Any] = field(default_factory=lambda: dict(SCHEDULER))

    @classmethod
    def read(cls, checkpoint: Path) -> PublishedSettings:
        """The settings in `inference_config.json`, where a folder has one; the published ones where it does not."""
        file = checkpoint / "inference_config.json"
        if not file.is_file():
            return cls()
        found = read_object(file)
        unet = found.get("unet_additional_kwargs", {})
        motion = unet.get("motion_module_kwargs", {})
        return cls(
            motion.get("temporal_position_encoding_max_len", cls.positions),
            motion.get("num_attention_heads", cls.motion_heads),
            unet.get("motion_module_mid_block", cls.mid_block),
            unet.get("use_inflated_groupnorm", cls.norms_per_frame),
            {**SCHEDULER, **found.get("noise_scheduler_kwargs", {})},
        )
