"""How a driving file becomes a stored pose sequence, and what that depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from manifests.errors import Rejected

if TYPE_CHECKING:
    from manifests.clip import Clip


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DWPoseSettings(_Section):
    """The two ONNX files of DWPose, and how they are run. Only one crop at a time is exact to the bit."""

    detector: str = Field(description="YOLOX, published as yolox_l.onnx")
    pose: str = Field(description="RTMPose whole-body, published as dw-ll_ucoco_384.onnx")
    threads: int = Field(1, ge=1, description="CPU threads of each network")
    batch: int = Field(1, ge=1, description="crops the pose network sees at once, where its batch axis is free")
    detect_every: int = Field(1, ge=1, description="detect people in every n-th frame, follow them between; not parity")


class DensePoseSettings(_Section):
    """A TorchScript export of DensePose."""

    model: str = Field(description="TorchScript file with the public exports' outputs")
    channels: Literal["bgr", "rgb"] = "bgr"


class Estimators(_Section):
    """User-supplied networks that make poses from filmed people. Left out: such driving files are rejected."""

    dwpose: DWPoseSettings | None = None
    densepose: DensePoseSettings | None = None

    def files(self, estimator: str) -> list[str]:
        """URIs of an estimator's weights."""
        if estimator == "dwpose":
            return [self.dwpose.detector, self.dwpose.pose]
        return [self.densepose.model] if estimator.startswith("densepose") else []

    def moved(self, resolve: Any) -> Estimators:
        """The same with every URI put through `resolve`."""
        dwpose, densepose = self.dwpose, self.densepose
        if dwpose:
            dwpose = dwpose.model_copy(update={"detector": resolve(dwpose.detector), "pose": resolve(dwpose.pose)})
        if densepose:
            densepose = densepose.model_copy(update={"model": resolve(densepose.model)})
        return Estimators(dwpose=dwpose, densepose=densepose)


@dataclass(frozen=True)
class Recipe:
    """What is run on a driving file, and what is stored: pictures as they are conditioned on, or keypoints to draw."""

    estimator: Literal["none", "dwpose", "densepose"]
    stored: Literal["frames", "keypoints"]
    channels: str = "as_trained"  # a name of `dwpose.CALLERS`


_RECIPES = {
    ("densepose", "densepose"): Recipe("none", "frames"),
    ("skeleton", "skeleton"): Recipe("none", "frames"),
    ("densepose", "video"): Recipe("densepose", "frames"),
    ("skeleton", "video"): Recipe("dwpose", "keypoints"),
    ("skeleton", "keypoints"): Recipe("none", "keypoints"),
}


def recipe_for(pose: str, clip: Clip) -> Recipe:
    """The recipe for an animator driven by `pose`. Raises `Rejected` when it cannot be driven by such a file.

    Parity shows the networks the channel order that the animator's published code does (specs/pose.md, Q1).
    """
    recipe = _RECIPES.get((pose, clip.driving_kind))
    if recipe is None:
        kinds = [kind for wanted, kind in _RECIPES if wanted == pose]
        raise Rejected(
            f"driving_kind {clip.driving_kind!r}: {clip.animator} is driven by {pose}",
            f"set driving_kind to {' or '.join(kinds)} and give such a file",
        )
    if recipe.estimator == "dwpose" and clip.mode == "parity":
        return Recipe("dwpose", "keypoints", clip.animator)
    return recipe


def key_parts(recipe: Recipe, estimators: Estimators) -> dict[str, Any]:
    """What of recipe and settings decides the stored sequence, beside the weights' digest; JSON values."""
    settings = getattr(estimators, recipe.estimator, None)
    results = settings.model_dump(exclude={"detector", "pose", "model", "threads"}) if settings else {}
    return {**asdict(recipe), **results}
