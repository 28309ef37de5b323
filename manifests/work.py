"""The one record that flows through the graph: a clip with everything that was found out about it."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from manifests import storage
from manifests.clip import Clip
from manifests.consent.consents import Consents

# What was measured keeps to no rule for films. Serialises as '30000/1001'.
SourceRate = Annotated[Fraction, PlainValidator(Fraction), PlainSerializer(str, return_type=str)]

COLOUR_PROFILE = "colour profile"  # `corrected` of an image whose profile changes its colours
HARDLY = 0.02  # cropped: so little of a picture's area that nobody is cut


def left_out(picture: tuple[int, int], film: tuple[int, int]) -> float:
    """Share of a picture's area outside the largest part of it in the film's shape; (width, height) of both."""
    shapes = picture[0] * film[1], picture[1] * film[0]
    return 1 - min(shapes) / max(shapes)


class Source(BaseModel):
    """A file a clip is made from, as it was when it was validated. Sizes in pixels, upright."""

    model_config = ConfigDict(frozen=True)

    uri: str
    digest: str  # hex SHA-256 of its bytes
    width: int
    height: int
    frames: int = 1
    fps: SourceRate | None = None  # of a video
    audio: bool = False
    begin: float = 0.0  # second of the file at which its first picture shows
    people: Literal["", "real", "drawn"] = ""  # of a video that may show either: what it was taken for
    corrected: str = ""  # what reading does to the pixels or times that are stored, where it does not take them as is

    @property
    def content(self) -> str:
        """What keys know it by: its digest; together with `corrected` if that is anything."""
        return storage.sha256_text(f"{self.digest} {self.corrected}") if self.corrected else self.digest


class Weights(BaseModel):
    """A file of weights that the row itself names."""

    model_config = ConfigDict(frozen=True)

    uri: str
    digest: str  # hex SHA-256 of its bytes


class Work(BaseModel):
    """One clip on its way. `clip` has every default resolved; keys are filled in by the plan."""

    model_config = ConfigDict(frozen=True)

    row: int  # of the manifest
    clip: Clip
    reference: Source | None = None
    driving: Source | None = None
    mask: Source | None = None
    frames: int  # of the film
    drawn: int | None = None  # frames that the animator draws, where it has a rate of its own; None: the film's
    begins: float = 0.0  # second of the driving file, from its first picture on, at which the film begins
    checkpoint: str = ""  # folder
    checkpoint_digest: str = ""
    lora: Weights | None = None
    reference_key: str | None = None
    pose_key: str | None = None
    frames_key: str | None = None  # of the driving video's own frames, where its animator asks for them
    reference_whole: bool = False  # the animator shows all of the reference, whatever `fit` makes of the driving file
    masks_key: str | None = None  # of masks of the person who is replaced: the file's, else beside the poses
    pose_estimator: str | None = None  # which finds the poses in the driving file, where one does
    reference_pose_key: str | None = None  # where the pose is retargeted, or the animator aligns
    latents_key: str = ""
    film_key: str = ""
    segment: int | None = None  # of the clip, that a worker denoises while others do the rest; None: the whole film
    consents: Consents = Consents()  # that its people gave, as they were last looked at
    seconds: dict[str, float] = {}  # spent in each stage so far

    @property
    def reference_left_out(self) -> float | None:
        """Share of the reference's area that `fit` cover crops away; None without a reference."""
        clip, reference = self.clip, self.reference
        if reference is None:
            return None
        if self.reference_whole or clip.fit != "cover" or not (clip.width and clip.height):
            return 0.0
        return left_out((reference.width, reference.height), (clip.width, clip.height))

    @property
    def crops_around_person(self) -> bool:
        """Whether the reference is cropped, and its keypoints say where: those of a clip that is retargeted do."""
        return self.clip.retarget != "none" and self.clip.mode != "parity" and (self.reference_left_out or 0.0) > HARDLY

    def keyed(self, **keys: str | None) -> Self:
        """The same clip with more of its keys known."""
        return self.model_copy(update=keys)

    def timed(self, stage: str, seconds: float) -> Self:
        """The same clip with the seconds that a stage took."""
        return self.model_copy(update={"seconds": {**self.seconds, stage: seconds}})
