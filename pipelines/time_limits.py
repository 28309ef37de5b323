"""How long a row may take in a stage: more for more work, so that what has no end is known for it early."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from manifests.work import Source, Work

MIB = 2**20
MEGAPIXEL = 1_000_000

Seconds = Annotated[float, Field(ge=0)]


class TimeLimits(BaseModel):
    """Seconds per row and stage: `base`, in which models are loaded and files fetched, and more per unit of work.

    Many times what the work takes on slow machines: they are there for rows that would never end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: float = Field(600, gt=0, description="for any row, in any stage")
    validate_mib: Seconds = Field(4, description="more per MiB of a file that is probed")
    pose_frame: Seconds = Field(20, description="more per frame of the driving video")
    inputs_megapixel: Seconds = Field(10, description="more per megapixel of the reference")
    inputs_frame: Seconds = Field(1, description="more per frame of a driving video whose sound is kept")
    animate_cpu: Seconds = Field(1000, description="more per frame, megapixel and step, on CPUs")
    animate_gpu: Seconds = Field(10, description="the same on a GPU")

    def probing(self, size: int) -> float:
        """For a file of that many bytes."""
        return self.base + self.validate_mib * size / MIB

    def poses(self, source: Source) -> float:
        """For the poses of a driving file, or of a reference."""
        return self.base + self.pose_frame * source.frames

    def reference(self, source: Source) -> float:
        """For a reference as plain pixels."""
        return self.base + self.inputs_megapixel * source.width * source.height / MEGAPIXEL

    def sound(self, source: Source) -> float:
        """For the sound of a driving video."""
        return self.base + self.inputs_frame * source.frames

    def film(self, work: Work, device: str, frames: int | None = None) -> float:
        """For a clip's steps, and a step more for decoding and encoding; or for `frames` of it alone."""
        clip = work.clip
        pixels = (clip.width or 0) * (clip.height or 0) / MEGAPIXEL
        each = self.animate_cpu if device == "cpu" else self.animate_gpu
        return self.base + each * (frames or work.drawn or work.frames) * pixels * ((clip.steps or 0) + 1)
