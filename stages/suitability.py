"""What an animator can do, held against what a row asks for."""

from __future__ import annotations

from pydantic import ValidationError

from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.field_error import choose
from stages.diffusion.animator import Facts
from stages.diffusion.animators import ANIMATORS, UNUSABLE, facts_of
from stages.driving import driven, recipe_of, reference_estimator, replaces
from stages.poses.recipes import Estimators, ready_kinds


def known_animator(name: str) -> Facts:
    """Facts of the animator of that name.

    Raises `Rejected` with the nearest known one, and `Problem` for one from outside that cannot be used here.
    """
    if name not in ANIMATORS and ":" in name:  # code that a row names is never run
        remedy = f"name it in the configuration, animators: {{NAME: {name}}}, and use NAME in rows"
        raise Rejected(f"animator {name!r} is not known", remedy)
    if name not in ANIMATORS and name not in UNUSABLE:
        raise Rejected(f"animator {name!r} is not known", choose(name, ANIMATORS))
    return facts_of(name)


def check_suitable(clip: Clip, facts: Facts, estimators: Estimators) -> None:
    """Raise `Rejected` for the first thing in the row that the animator cannot do, with what it can."""
    if clip.mode not in facts.modes:
        raise Rejected(f"mode {clip.mode!r} is not available for {facts.name}", f"use mode {' or '.join(facts.modes)}")
    _check_heeded(clip, facts)
    _check_inputs(clip, facts, estimators)
    if clip.lora is not None and not facts.lora:
        raise Rejected(f"lora: {facts.name} has no weights that a LoRA could be added to", "leave lora out")
    _check_size(clip, facts)
    _check_windows(clip, facts)
    wanted = len(facts.guidance)
    if clip.guidance is not None and len(clip.guidance) != wanted:
        given = ", ".join(map(str, clip.guidance))
        remedy = f"give {wanted} guidance scale(s)" if wanted else "leave guidance out"
        raise Rejected(f"guidance {given}: {facts.name} takes {wanted}", remedy)
    if clip.loop and not facts.loops:
        raise Rejected(f"loop: {facts.name} cannot join the end of a film to its beginning", "leave loop out")
    if (refused := facts.own_refusal(clip)) is not None:
        raise Rejected(*refused)
    _check_masks(clip, estimators)
    try:
        facts.options(**clip.options)
    except ValidationError as wrong:
        raise Rejected(*_option_fault(wrong, facts)) from None
    if "fast" in clip.options and (clip.mode != "fast" or facts.fast is None):
        raise Rejected("options: fast is heeded in mode fast alone, by animators that have a recipe", "leave it out")


def _check_inputs(clip: Clip, facts: Facts, estimators: Estimators) -> None:
    if facts.reference and clip.reference is None:
        raise Rejected(f"reference: {facts.name} needs a reference image", "fill in the path of an image")
    if not driven(clip, facts):
        _check_undriven(clip, facts)
        return
    if clip.driving is None:
        raise Rejected(f"driving: {facts.name} needs a driving video", "fill in the path of a video")
    recipe = recipe_of(clip, estimators)
    if recipe.estimator != "none" and not estimators.has(recipe.estimator):
        raise Rejected(
            f"driving_kind {clip.driving_kind!r}: no {recipe.estimator} estimator is configured that makes the poses"
            if recipe.estimator != "people"
            else f"driving_kind {clip.driving_kind!r}: the nets that find people are not here",
            f"{_remedy(recipe.estimator)}, or give a file of driving_kind {ready_kinds(facts.pose)}",
        )
    if clip.retarget != "none" and not facts.reference:
        raise Rejected(
            f"retarget {clip.retarget!r}: {facts.name} has no reference image to fit the pose to",
            "set retarget to none",
        )
    estimator = reference_estimator(facts, estimators)
    if clip.retarget != "none" and (recipe.stored != "keypoints" or not estimators.has(estimator)):
        raise Rejected(
            f"retarget {clip.retarget!r}: needs keypoints of the driving file and of the reference",
            f"{_remedy(estimator)}, and drive by video or keypoints; or set retarget to none",
        )


def _remedy(estimator: str) -> str:
    configure = "set `estimators.{}` in the configuration"
    if estimator == "people":
        return f"run `catwalk models fetch people`, or {configure.format('dwpose')}"
    return configure.format(estimator)


def _check_heeded(clip: Clip, facts: Facts) -> None:
    """Fields that would be passed over in silence; a reference beside a driving file is left to stand."""
    if clip.lora is None and clip.lora_scale != Clip.model_fields["lora_scale"].default:
        raise Rejected(f"lora_scale {clip.lora_scale:g}: there is no lora that it could mean", "leave it out")
    if clip.reference is not None and not facts.reference and not driven(clip, facts):
        raise Rejected(f"reference: {facts.name} takes none, and there is no driving file either", "leave it out")
    if clip.mode != "parity":
        return
    if clip.loop and facts.loops:
        raise Rejected("loop: mode 'parity' joins frames as published alone", "leave it out, or use mode standard")
    if clip.retarget != "none" and not facts.retargets_as_published:
        error = f"retarget {clip.retarget!r}: mode 'parity' draws poses as they were found"
        raise Rejected(error, "leave it out, or use mode standard")


def _check_masks(clip: Clip, estimators: Estimators) -> None:
    """That it is known where the person is who is to be replaced."""
    if clip.mask is not None and not replaces(clip):
        raise Rejected("mask: nobody is replaced", "leave it out, or set options.replace of an animator that has it")
    if not replaces(clip) or clip.mask is not None:
        return
    if (estimator := recipe_of(clip, estimators).estimator) != "people":
        raise Rejected(
            f"options: replace: there are no masks of the person, as estimator {estimator} makes none",
            "fill in mask, a video that is white where the person is; or leave `estimators.dwpose` out, so that the "
            "estimator people makes them",
        )


def _check_undriven(clip: Clip, facts: Facts) -> None:
    if clip.duration is None and clip.frame_count is None:
        error = f"duration: without a driving video, {facts.name} has nothing to take it from"
        raise Rejected(error, "fill in duration or frame_count")
    given = [field for field in ("start", "first_frame") if getattr(clip, field)]
    given += ["retarget"] * (clip.retarget != "none") + ["audio"] * (clip.audio != "drop")
    if given:
        raise Rejected(f"{given[0]}: there is no driving video that it could mean", f"leave {given[0]} out")


def _check_size(clip: Clip, facts: Facts) -> None:
    unit = facts.size_multiple
    for field, value in (("width", clip.width), ("height", clip.height)):
        if value is not None and value % unit:
            lower = value - value % unit
            near = " or ".join(str(size) for size in (lower, lower + unit) if size)
            raise Rejected(f"{field} {value}: {facts.name} makes multiples of {unit}", f"use {near}")


def _check_windows(clip: Clip, facts: Facts) -> None:
    fewest, most = facts.window_limits
    if clip.window is not None and clip.window > most:
        raise Rejected(
            f"window {clip.window}: {facts.name} takes at most {most} frames at once",
            f"use {most} or fewer, or leave it out for {facts.window}",
        )
    if clip.window is not None and clip.window < fewest:
        raise Rejected(
            f"window {clip.window}: {facts.name} needs at least {fewest} frames at once",
            f"use {fewest} or more, or leave it out for {facts.window}",
        )
    if clip.overlap and not facts.overlap:
        raise Rejected(f"overlap {clip.overlap}: {facts.name} draws frames in turn, without overlap", "leave it out")
    if clip.overlap is not None and clip.overlap >= (clip.window or facts.window):
        raise Rejected(
            f"overlap {clip.overlap}: must be smaller than the window of {clip.window or facts.window}",
            f"leave it out for {facts.overlap}",
        )


def _option_fault(wrong: ValidationError, facts: Facts) -> tuple[str, str]:
    first = wrong.errors()[0]
    name = ".".join(map(str, first["loc"]))
    known = facts.options.model_fields
    remedy = f"{facts.name} has the options {', '.join(known)}" if known else f"{facts.name} has no options"
    return f"options: {name} {first['input']!r}: {first['msg']}", remedy
