"""What a clip is: one row of a manifest, one finished film."""

import functools
import re
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from manifests import cell, frame_rate
from manifests.consent.record import ConsentId
from manifests.field_error import FieldError, describe, rejection, shown

__all__ = ["Clip", "FieldError", "parse_clip", "rejection"]

URI_FIELDS = frozenset({"reference", "driving", "mask", "checkpoint", "lora"})
MAPPINGS = frozenset({"options", "metadata"})
PROMPTS = frozenset({"prompt", "negative_prompt"})

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_BROKEN_TEXT = "holds a piece that is no character of Unicode"
_WHOLE_TEXT = "write it anew in UTF-8; a file whose name is in another encoding needs a new name"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _fault(error: str, remedy: str, field: str | None = None) -> PydanticCustomError:
    """An error that carries its own remedy through pydantic; `field` where a rule spans several."""
    context = {"error": error, "remedy": remedy}
    return PydanticCustomError("clip", "{error}", {**context, "field": field} if field else context)


def _id(value: Any) -> Any:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise _fault("is not text", "write the ids as text")
    if not _ID.fullmatch(text) or ".." in text:
        raise _fault(
            "is not a safe name for files",
            "use 1 to 128 letters, digits, '.', '_' and '-', a letter or digit first, no '..'",
        )
    return text


def _uri(value: str) -> str:
    if _CONTROL.search(value):
        raise _fault("contains a control character", "remove line breaks and other invisible characters")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise _fault("is true or false, not a number", "write a number")
    if isinstance(value, float) and value.is_integer() and abs(value) >= 2**53:
        raise _fault(
            "is too large to be exact in a column of floating-point numbers",
            "store the column as 64-bit integers, or as text",
        )
    return value


def _rate(value: Any) -> Fraction:
    try:
        return frame_rate.frame_rate(value)
    except ValueError as error:
        raise _fault(str(error), f"write {frame_rate.FORMAT}") from None


def _scales(value: Any) -> Any:
    """One number, a list of them, or either as text, as a CSV cell or a column of mixed types has it."""
    remedy = "write one number (7.5) or several ('7.5, 3.0'), or leave it out for the animator's own"
    if isinstance(value, str):
        value = [part for part in re.split(r"[\s,;]+", value.strip("[]() \t\n")) if part]
    scales = value if isinstance(value, list | tuple) else [value]
    if not scales:
        raise _fault("is an empty list", remedy)
    try:
        return tuple(float(_number(scale)) for scale in scales)
    except (TypeError, ValueError, OverflowError):
        raise _fault("is not a number or a list of numbers", remedy) from None


def _options(value: Any) -> dict[str, Any]:
    options = _mapping(value, lossless=True)
    if cell.is_broken_text(options):
        raise _fault(_BROKEN_TEXT, _WHOLE_TEXT)
    return options


def _mapping(value: Any, *, lossless: bool = False) -> dict[str, Any]:
    try:
        return cell.mapping(value, lossless=lossless)
    except ValueError as error:
        raise _fault(str(error), 'write a JSON object such as {"sku": "A-17"}, or use a struct or map column') from None


Uri = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_uri)]
Prompt = Annotated[str, Field(max_length=20_000)]
SHORTEST_SIDE, LONGEST_SIDE = 16, 4096  # of a film, in pixels
Pixels = Annotated[int, Field(ge=SHORTEST_SIDE, le=LONGEST_SIDE), BeforeValidator(_number)]
FrameNumber = Annotated[int, Field(ge=0, le=10**9), BeforeValidator(_number)]
FrameCount = Annotated[int, Field(ge=1, le=10**9), BeforeValidator(_number)]
Priority = Annotated[int, Field(ge=-1000, le=1000), BeforeValidator(_number)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1), BeforeValidator(_number)]
Steps = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_number)]
StartSeconds = Annotated[float, Field(ge=0, le=10**9), BeforeValidator(_number)]
Seconds = Annotated[float, Field(gt=0, le=10**9), BeforeValidator(_number)]
LoraScale = Annotated[float, Field(ge=-10, le=10), BeforeValidator(_number)]
Scale = Annotated[float, Field(allow_inf_nan=False)]
Scales = Annotated[tuple[Scale, ...], BeforeValidator(_scales)]
Options = Annotated[dict[str, Any], BeforeValidator(_options)]
Metadata = Annotated[dict[str, Any], BeforeValidator(lambda value: _mapping(value))]
FrameRate = Annotated[
    Fraction,
    PlainValidator(_rate),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string"}),
]


class Clip(BaseModel):
    """One reference image animated by one driving video: all that decides how the film looks, and nothing else.

    What an animator, a file or a machine can or cannot do is not judged here. Frame rates serialise as '30000/1001'.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: Annotated[
        str,
        BeforeValidator(_id),
        Field(description="Name of the clip, unique in its manifest and safe as a file name; the film is named by it."),
    ]
    reference: Uri | None = Field(None, description="Image of the person or garment to animate: a path or URI.")
    driving: Uri | None = Field(None, description="Video whose motion is followed: a path or URI.")
    driving_kind: Literal["video", "densepose", "densepose_uv", "skeleton", "keypoints", "sketch", "depth", "grey"] = (
        Field(
            "video",
            description="What the driving file shows: a filmed person, poses that were already extracted, or the scene "
            "as a sketch, as depth or in grey.",
        )
    )
    mask: Uri | None = Field(
        None, description="Video that is white where the person is who is replaced, frame by frame as driving."
    )
    animator: Annotated[str, Field(min_length=1, max_length=128, description="System that draws the film.")]
    checkpoint: Uri | None = Field(
        None, description="Weights: a path or URI; left out, the animator's configured ones."
    )
    lora: Uri | None = Field(None, description="LoRA to add to the weights: a path or URI of a .safetensors file.")
    lora_scale: LoraScale = Field(1.0, description="How strongly the LoRA is added; 0 is not at all.")
    prompt: Prompt = Field("", description="What the film should show, for animators that take text.")
    negative_prompt: Prompt = Field("", description="What the film should not show.")
    width: Pixels | None = Field(None, description="Width of the film in pixels, together with height.")
    height: Pixels | None = Field(None, description="Height of the film in pixels, together with width.")
    fit: Literal["stretch", "cover", "contain"] | None = Field(
        None, description="How images meet the film's shape; left out, stretch in parity mode and cover otherwise."
    )
    fps: FrameRate | None = Field(
        None, description="Frames per second of the film: 25, '30000/1001' or 29.97; left out, the driving video's own."
    )
    start: StartSeconds = Field(0.0, description="Second of the driving video at which the film starts.")
    duration: Seconds | None = Field(None, description="Seconds of the driving video to follow; left out, to its end.")
    first_frame: FrameNumber | None = Field(None, description="First frame to follow, from 0, in place of start.")
    frame_count: FrameCount | None = Field(None, description="Number of frames to follow, in place of duration.")
    seed: Seed = Field(0, description="Seed of the noise.")
    steps: Steps | None = Field(None, description="Denoising steps; left out, the animator's own.")
    guidance: Scales | None = Field(None, description="Guidance scale or scales; left out, the animator's own.")
    mode: Literal["parity", "standard", "fast"] = Field(
        "standard", description="parity: as published; standard: its defects mended; fast: a measured shortcut."
    )
    window: FrameCount | None = Field(None, description="Frames that go through the network together.")
    overlap: FrameNumber | None = Field(None, description="Frames that neighbouring windows share, fewer than window.")
    loop: bool = Field(False, description="Whether the film's end joins its beginning.")
    subject: Literal["persistent", "largest", "central"] = Field(
        "persistent", description="Whom to follow where the driving file shows several people."
    )
    retarget: Literal["none", "similarity", "bone_length"] = Field(
        "none",
        description="Fit the driving pose to the reference's height, or to all its limbs; in parity as published.",
    )
    audio: Literal["drop", "driving"] = Field("drop", description="Whether the film keeps the driving video's sound.")
    priority: Priority = Field(0, description="Rows of a higher priority are made first; it changes no film.")
    likeness_consent: ConsentId | None = Field(
        None, description="Id of the consent record of the person in the reference image; no film depends on it."
    )
    performer_consent: ConsentId | None = Field(
        None, description="Id of the consent record of the person in the driving file; no film depends on it."
    )
    options: Options = Field({}, description="What only this animator knows, as a JSON object, struct or map.")
    metadata: Metadata = Field({}, description="The owner's own values, passed through to the results.")

    @model_validator(mode="after")
    def _size_is_a_pair(self) -> Self:
        if (self.width is None) != (self.height is None):
            given, absent = ("height", "width") if self.width is None else ("width", "height")
            raise _fault(f"is missing while {given} is given", "give both width and height, or neither", absent)
        return self

    @model_validator(mode="after")
    def _range_is_in_seconds_or_frames(self) -> Self:
        in_seconds = self.start != 0 or self.duration is not None
        in_frames = self.first_frame is not None or self.frame_count is not None
        if in_seconds and in_frames:
            field = "first_frame" if self.first_frame is not None else "frame_count"
            raise _fault(
                "is given together with start or duration",
                "give either start and duration in seconds, or first_frame and frame_count",
                field,
            )
        return self

    @model_validator(mode="after")
    def _windows_advance(self) -> Self:
        if self.window is not None and self.overlap is not None and self.overlap >= self.window:
            error = f"is {self.overlap}, not fewer than the window of {self.window} frames"
            raise _fault(error, f"choose an overlap from 0 to {self.window - 1}", "overlap")
        return self


REQUIRED = tuple(name for name, field in Clip.model_fields.items() if field.is_required())


@functools.cache
def _schema() -> dict[str, Any]:
    return Clip.model_json_schema()["properties"]


def parse_clip(row: dict[str, Any]) -> tuple[Clip | None, list[FieldError]]:
    """The clip in a row as Parquet, pandas, CSV or JSON give it, or everything that is wrong with the row.

    Nulls, NaN and empty text count as absent. Text that UTF-8 cannot write is an error, as it would name another file;
    in metadata it is replaced. Columns that are no field of a clip are errors: `table.split_row`
    moves them to metadata first.
    """
    fields: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, value in row.items():
        try:
            is_mapping = name in MAPPINGS and isinstance(value, dict | list | tuple)
            value = value if is_mapping else cell.plain(value, lossless=True)
        except ValueError as error:
            errors.append(FieldError(str(name), shown(value), str(error), "write a single value"))
            continue
        if name not in MAPPINGS and cell.is_broken_text(value):
            errors.append(FieldError(str(name), shown(value, is_uri=name in URI_FIELDS), _BROKEN_TEXT, _WHOLE_TEXT))
            continue
        if not cell.is_null(value):
            # Blanks around a cell are an accident of typing, except in a prompt, which the tokenizer gets as written.
            fields[str(name)] = value.strip() if isinstance(value, str) and name not in PROMPTS else value
    try:
        clip = Clip.model_validate(fields)
    except ValidationError as error:
        unread = {one.field for one in errors}  # named already, so not missing
        found = [describe(one, _schema(), URI_FIELDS) for one in error.errors(include_url=False)]
        return None, errors + [one for one in found if one.field not in unread]
    return (None, errors) if errors else (clip, [])
