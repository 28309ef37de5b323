"""Mode `fast`: what a film of it leaves out, declared. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from manifests.clip import Clip


class Fast(BaseModel):
    """The parts of a recipe, each switched off by itself; with all of them off, fast is standard in fewer steps."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    sampler: Literal["unipc", "trailing", "own"] = Field(
        "unipc", description="UniPC; DDIM with trailing timesteps, as distilled LoRAs want it; or the system's own"
    )
    guided: float = Field(0.67, ge=0, le=1, description="part of the steps, the first ones, that are guided; 1: all")
    reuse: int = Field(2, ge=1, le=4, description="steps that share what the deep layers make; 1: each makes its own")


# UniPC begins below the last noise level of a schedule of 1000, and more steps would come to one of them twice
UNIPC_STEPS = 500

NOTHING_LEFT_OUT: dict[str, Any] = {"sampler": "own", "guided": 1.0, "reuse": 1}


def fast_of(clip: Clip) -> Fast | None:
    """The recipe of a clip whose defaults are resolved; None in every other mode."""
    return Fast.model_validate(clip.options.get("fast") or {}) if clip.mode == "fast" else None


def declared(clip: Clip) -> dict[str, Any]:
    """What a film in mode fast says of itself: its steps and every part of its recipe.

    Empty in every other mode, and of an animator from outside that has no recipe.
    """
    fast = fast_of(clip) if clip.options.get("fast") else None
    return {} if fast is None else {"steps": clip.steps, **fast.model_dump()}


class Deviation(NamedTuple):
    """How far films of a recipe are from those of mode standard, by measurement on the sample catalogue's people."""

    psnr: float  # dB
    ssim: float
    warping_error: float | None  # less that of standard, of 1; None: not measured
    clips: int
    width: int  # of those clips
    height: int
    frames: int


# By `python -m tests.bench.fast_mode`. Of weights that were not here nothing is known, and nothing is said.
MEASURED: dict[str, list[tuple[dict[str, Any], Deviation]]] = {
    "bundled:drawn": [({"steps": 1, **NOTHING_LEFT_OUT}, Deviation(42.9, 0.997, 0.0, 4, 192, 256, 16))],
}


def recipe_of(clip: Clip, checkpoint: str) -> dict[str, Any]:
    """What a result in mode fast says of itself: every part of the recipe, and its `deviation` as measured.

    That is null where these weights have not been measured with this recipe. Empty in every other mode.
    """
    recipe = declared(clip)
    found = [deviation for known, deviation in MEASURED.get(checkpoint, ()) if known == recipe]
    return recipe and {**recipe, "deviation": found[0]._asdict() if found else None}


def guided_steps(fast: Fast, steps: int) -> int:
    """How many of so many steps are guided, the first ones."""
    return round(fast.guided * steps)
