"""The animators Catwalk knows, its own and those from outside. Imports torch only when one is loaded."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.errors import Problem
from manifests.field_error import choose
from stages.diffusion.acceleration import DEFAULT, Acceleration, accelerate
from stages.diffusion.animate_anyone.facts import ANIMATE_ANYONE
from stages.diffusion.animator import Animator, Facts
from stages.diffusion.drawn.facts import DRAWN
from stages.diffusion.dreampose.facts import DREAMPOSE
from stages.diffusion.magicanimate.facts import MAGICANIMATE
from stages.diffusion.text2video_zero.facts import TEXT2VIDEO_ZERO
from stages.diffusion.wan_animate.facts import WAN_ANIMATE
from stages.diffusion.wan_vace.facts import WAN_VACE

if TYPE_CHECKING:
    import torch

    from stages.diffusion.weights.lora import Lora
    from stages.diffusion.weights.lora_file import LoraFile

_OWN = (MAGICANIMATE, ANIMATE_ANYONE, DREAMPOSE, TEXT2VIDEO_ZERO, WAN_VACE, WAN_ANIMATE, DRAWN)
ANIMATORS = {facts.name: facts for facts in _OWN}
OWN = frozenset(ANIMATORS)
UNUSABLE: dict[str, Problem] = {}  # names from outside, and why there is no animator behind them here
ENTRY_POINTS = "catwalk.animators"  # under which an installed package names its animators


def add_animators(configured: Mapping[str, str]) -> None:
    """Make animators from outside known in this process: those of installed packages, then the `configured` ones.

    `configured` is name → "module:Class", a class as `Animator` describes it. One that cannot be used is kept with the
    reason in `UNUSABLE`, for the rows that name it.
    """
    for name, implementation in {**_installed(), **configured}.items():
        UNUSABLE.pop(name, None)
        if name in ANIMATORS and ANIMATORS[name].implementation == implementation:
            continue
        try:
            ANIMATORS[name] = _facts_from_outside(name, implementation)
        except Problem as problem:
            UNUSABLE[name] = problem


def facts_of(name: str) -> Facts:
    """What is known of an animator. Raises `Problem` for one from outside that cannot be used here."""
    if name in UNUSABLE and name not in OWN:
        raise Problem(UNUSABLE[name].error, UNUSABLE[name].remedy)
    if name not in ANIMATORS:
        raise Problem(f"animator {name!r} is not known", choose(name, ANIMATORS))
    return ANIMATORS[name]


@functools.cache
def _installed() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def _facts_from_outside(name: str, implementation: str) -> Facts:
    what = f"animator {name} ({implementation})"
    if name in OWN:
        raise Problem(f"{what}: is the name of one of Catwalk's own", "give it another name")
    module, colon, attribute = implementation.partition(":")
    if not (colon and module and attribute):
        raise Problem(f"{what}: is not of the form module:Class", "write it like my_package.mirror:Mirror")
    try:
        animator = getattr(importlib.import_module(module), attribute)
    except Exception as broken:
        reason = (str(broken).strip() or "no message").splitlines()[0]
        raise Problem(
            f"{what}: cannot be imported: {type(broken).__name__}: {reason}",
            "install its package where Catwalk and each of its workers runs, or correct or remove the name",
        ) from None
    missing = [one for one in ("load", "segment", "frames") if not callable(getattr(animator, one, None))]
    missing += [] if isinstance(getattr(animator, "facts", None), Facts) else ["facts"]
    if missing:
        remedy = "write it as stages/diffusion/animator.py describes an Animator"
        raise Problem(f"{what}: is no animator: it lacks {', '.join(missing)}", remedy)
    return replace(animator.facts, name=name, implementation=implementation)


def import_ahead(names: Iterable[str]) -> None:
    """Import what these animators are made of, torch and diffusers with it, before a clip waits for that."""
    for name in names:
        with suppress(Exception):  # whoever loads the animator says what is wrong
            importlib.import_module(facts_of(name).implementation.partition(":")[0])


def load_animator(
    name: str,
    checkpoint: Path,
    device: str,
    dtype: torch.dtype,
    lora: LoraFile | None = None,
    acceleration: Acceleration = DEFAULT,
) -> Animator:
    """The animator of that name with the weights of that folder, made as fast as asked. Imports torch and diffusers.

    Raises `Problem` for a wrong folder and `Rejected` for a LoRA that does not fit.
    """
    module, _, attribute = facts_of(name).implementation.partition(":")
    animator: type[Animator] = getattr(importlib.import_module(module), attribute)
    added: tuple[Lora, ...] = ()
    if lora is not None:
        added = (importlib.import_module("stages.diffusion.weights.lora").Lora.read(lora, facts_of(name).lora_of),)
    try:
        loaded = animator.load(checkpoint, device, dtype, *added)
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as wrong:
        # a configuration of another network, which diffusers or transformers trip over somewhere inside
        if isinstance(wrong, RuntimeError) and "size calculation overflowed" not in str(wrong):
            raise  # of the device, not of the folder
        reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
        raise Problem(
            f"checkpoint {checkpoint} cannot be loaded as {name}: {type(wrong).__name__}: {reason}",
            f"copy the published folder again; see stages/diffusion/README.md, {name!r}",
        ) from None
    accelerate(loaded, acceleration, device, dtype)
    return loaded
