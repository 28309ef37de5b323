"""How a driving file becomes a stored pose sequence, and what that depends on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from manifests import storage
from manifests.errors import Rejected
from stages.bundled import SCHEME, bundled
from stages.poses import people_nets
from stages.poses.wholebody import WHOLE_IMAGE

if TYPE_CHECKING:
    from manifests.clip import Clip


# Raised by one when the estimator `people` finds other keypoints with the same nets.
PEOPLE_ALGORITHM = 1
STILL_ALGORITHM = 1  # of how the net for drawn people looks at references
WHO_ALGORITHM = 2  # of telling films of drawn people from those of real ones


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DWPoseSettings(_Section):
    """The two ONNX files of DWPose, and how they are run. Only one crop at a time is exact to the bit."""

    detector: str = Field(
        description=f"YOLOX, published as yolox_l.onnx; or the word {WHOLE_IMAGE}: every frame is one person's box"
    )
    pose: str = Field(description="RTMPose whole-body, published as dw-ll_ucoco_384.onnx")
    threads: int = Field(1, ge=1, description="CPU threads of each network")
    batch: int = Field(1, ge=1, description="crops the pose network sees at once, where its batch axis is free")
    detect_every: int = Field(1, ge=1, description="detect people in every n-th frame, follow them between; not parity")

    def files(self) -> list[str]:
        """URIs of the weights: the detector's, if there is one, then the pose net's; bundled ones as paths here."""
        return [bundled(uri) for uri in (self.detector, self.pose) if uri != WHOLE_IMAGE]

    def moved(self, resolve: Callable[[str], str]) -> DWPoseSettings:
        """The same with every URI put through `resolve`; bundled weights stay named as such."""
        given = {"detector": self.detector, "pose": self.pose}
        own = {name: uri for name, uri in given.items() if uri != WHOLE_IMAGE and not uri.startswith(SCHEME)}
        return self.model_copy(update={name: resolve(uri) for name, uri in own.items()})


class DensePoseSettings(_Section):
    """A TorchScript export of DensePose."""

    model: str = Field(description="TorchScript file with the public exports' outputs")
    channels: Literal["bgr", "rgb"] = "bgr"

    def files(self) -> list[str]:
        """URI of the weights."""
        return [self.model]

    def moved(self, resolve: Callable[[str], str]) -> DensePoseSettings:
        """The same with the URI put through `resolve`."""
        return self.model_copy(update={"model": resolve(self.model)})


class PeopleSettings(_Section):
    """MediaPipe's nets for body, hands and face, and how they are run."""

    folder: str = Field(
        people_nets.INSTALLED,
        description=f"folder or URI to which `catwalk models fetch people --to` unpacked the nets; "
        f"{people_nets.INSTALLED}: in the environment of the Python that runs",
    )
    body: str = Field(
        people_nets.FULL,
        description=f"body net: the word {people_nets.FULL}, or a path or URI of {people_nets.HEAVY}",
    )
    threads: int = Field(2, ge=1, description="CPU threads of each network")
    masks: bool = Field(False, description="also store masks of the people in driving videos, beside their poses")

    def files(self) -> list[str]:
        """URIs of the weights, the body net last; installed ones as paths here."""
        folder = people_nets.installed(self.folder)
        own = {name: storage.join(folder, name) for name in people_nets.NETS}
        full = own.pop(people_nets.BODY)
        return [*own.values(), full if self.body == people_nets.FULL else self.body]

    def moved(self, resolve: Callable[[str], str]) -> PeopleSettings:
        """The same with every URI put through `resolve`; a folder in the environment stays named as such."""
        folder = self.folder if self.folder == people_nets.INSTALLED else resolve(self.folder)
        body = self.body if self.body == people_nets.FULL else resolve(self.body)
        return self.model_copy(update={"folder": folder, "body": body})


class Estimators(_Section):
    """Networks that make poses from filmed people. Left out: such driving files are rejected.

    Two come set. `people` has nets that `make setup` fetches; `drawn` comes with Catwalk, and finds the drawn people
    that the bundled animator knows, and nobody else.
    """

    dwpose: DWPoseSettings | None = None
    densepose: DensePoseSettings | None = None
    people: PeopleSettings = PeopleSettings()
    drawn: DWPoseSettings = DWPoseSettings(detector=WHOLE_IMAGE, pose=f"{SCHEME}keypoints/keypoints.onnx")

    def files(self, estimator: str) -> list[str]:
        """URIs of an estimator's weights."""
        settings = getattr(self, estimator, None)
        return settings.files() if settings else []

    def has(self, estimator: str) -> bool:
        """Whether an estimator is configured, and its nets are there where it comes set without them."""
        if estimator == "people":
            return _are_there(tuple(self.people.files()))
        return getattr(self, estimator) is not None

    def for_keypoints(self, parity: bool = False) -> Literal["dwpose", "people"]:
        """The estimator of real people: DWPose where it is configured, and in parity mode; else `people`."""
        return "dwpose" if parity or self.dwpose is not None else "people"

    def moved(self, resolve: Callable[[str], str]) -> Estimators:
        """The same with every URI put through `resolve`."""
        return Estimators(**{name: settings and settings.moved(resolve) for name, settings in self})


@dataclass(frozen=True)
class Recipe:
    """What is run on a driving file, and what is stored.

    Stored are pictures as they are conditioned on, keypoints to draw, or DensePose's U and V.
    """

    estimator: Literal["none", "dwpose", "people", "drawn", "densepose"]
    stored: Literal["frames", "keypoints", "uv"]
    channels: str = "as_trained"  # a name of `dwpose.CALLERS`


AS_FILMED = Recipe("none", "frames")  # the driving file's pictures as they are

KeypointEstimator = Literal["dwpose", "people", "drawn"]

_RECIPES = {
    ("densepose", "densepose"): Recipe("none", "frames"),
    ("skeleton", "skeleton"): Recipe("none", "frames"),
    ("densepose", "video"): Recipe("densepose", "frames"),
    ("skeleton", "video"): Recipe("dwpose", "keypoints"),
    ("skeleton", "keypoints"): Recipe("none", "keypoints"),
    ("openpose", "skeleton"): Recipe("none", "frames"),
    ("openpose", "video"): Recipe("dwpose", "keypoints"),
    ("openpose", "keypoints"): Recipe("none", "keypoints"),
    ("toes", "skeleton"): Recipe("none", "frames"),
    ("toes", "video"): Recipe("dwpose", "keypoints"),
    ("toes", "keypoints"): Recipe("none", "keypoints"),
    ("control", "skeleton"): Recipe("none", "frames"),
    ("control", "sketch"): Recipe("none", "frames"),
    ("control", "depth"): Recipe("none", "frames"),
    ("control", "grey"): Recipe("none", "frames"),
    ("control", "video"): Recipe("dwpose", "keypoints"),
    ("control", "keypoints"): Recipe("none", "keypoints"),
    ("densepose_uv", "video"): Recipe("densepose", "uv"),
    ("densepose_uv", "densepose_uv"): Recipe("none", "uv"),
}

# What rows know an animator's poses as, where it is not the kind's own name.
_SHOWN = {"openpose": "skeletons", "toes": "skeletons", "control": "skeletons, sketches, depth or grey pictures"}


def ready_kinds(pose: str) -> str:
    """Values of `driving_kind` by which an animator driven by `pose` needs no estimator."""
    return " or ".join(kind for wanted, kind in _RECIPES if wanted == pose and kind != "video")


def recipe_for(pose: str, clip: Clip, keypoints: KeypointEstimator = "dwpose") -> Recipe:
    """The recipe for an animator driven by `pose`, where that estimator finds `keypoints`.

    Raises `Rejected` when it cannot be driven by such a file.
    Parity shows the networks the channel order that the animator's published code does (SPEC.md, Q1). There is
    none for "openpose": that code is given skeletons.
    """
    recipe = _RECIPES.get((pose, clip.driving_kind))
    if recipe is None:
        kinds = [kind for wanted, kind in _RECIPES if wanted == pose]
        lacking = (pose, clip.driving_kind) == ("densepose_uv", "densepose")
        why = ", and pictures of body parts hold no U and V" if lacking else ""
        raise Rejected(
            f"driving_kind {clip.driving_kind!r}: {clip.animator} is driven by {_SHOWN.get(pose, pose)}{why}",
            f"set driving_kind to {' or '.join(kinds)} and give such a file",
        )
    if recipe.estimator != "dwpose":
        return recipe
    published = keypoints == "dwpose" and clip.mode == "parity" and pose == "skeleton"
    return replace(recipe, estimator=keypoints, channels=clip.animator if published else recipe.channels)


def key_parts(recipe: Recipe, estimators: Estimators) -> dict[str, Any]:
    """What of recipe and settings decides the stored sequence, beside the weights' digest; JSON values."""
    settings = getattr(estimators, recipe.estimator, None)
    results = (
        settings.model_dump(exclude={"detector", "pose", "model", "folder", "body", "threads", "masks"})
        if settings
        else {}
    )
    if getattr(settings, "detector", None) == WHOLE_IMAGE:
        results["detector"] = WHOLE_IMAGE
    return {**asdict(recipe), **results, **algorithm_of(recipe.estimator)}


def reference_parts(estimator: str) -> dict[str, Any]:
    """The same for the keypoints of a reference image."""
    looks = {"algorithm": STILL_ALGORITHM} if estimator == "drawn" else algorithm_of(estimator)
    return {"reference": True, **looks}


def algorithm_of(estimator: str) -> dict[str, int]:
    """The number of what is done around an estimator's nets, where it may change without them."""
    return {"algorithm": PEOPLE_ALGORITHM} if estimator == "people" else {}


@functools.lru_cache(maxsize=8)
def _found(uris: tuple[str, ...]) -> None:
    for uri in uris:
        storage.stamp(uri)


def _are_there(uris: tuple[str, ...]) -> bool:
    """Whether all files are there; once they are, they are not asked for again."""
    try:
        _found(uris)
    except FileNotFoundError:
        return False
    return True


def remedy_for(estimator: str) -> str:
    """What to do about weights of an estimator that are not there."""
    if estimator == "people":
        return "run `catwalk models fetch people`, or correct `estimators.people` in the configuration"
    return f"correct `estimators.{estimator}` in the configuration"
