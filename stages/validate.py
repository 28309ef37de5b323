"""Validation: a manifest row becomes the work it asks for, or the reasons it is rejected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple, cast

from manifests import storage, table
from manifests.clip import LONGEST_SIDE, SHORTEST_SIDE, Clip, parse_clip, rejection
from manifests.consent.consents import Consents
from manifests.consent.register import Register
from manifests.consent.settings import ConsentSettings
from manifests.errors import Rejected
from manifests.frame_rate import FASTEST
from manifests.source_memo import SourceMemo, memoised_digest
from manifests.storage import Allowed, Stamp
from manifests.temporary import temporary_folder
from manifests.work import COLOUR_PROFILE, Source, Weights, Work
from stages.consenting import consents_of
from stages.diffusion.animator import Facts, Options, Shape
from stages.diffusion.fast import UNIPC_STEPS, fast_of
from stages.driving import driven, replaces, shown_count
from stages.poses.recipes import WHO_ALGORITHM, Estimators
from stages.sandbox import reading
from stages.sandbox.held_file import HeldFile, held
from stages.suitability import check_suitable, known_animator
from stages.video.limits import Limits
from stages.video.timing import EvenTimestamps, KeptTimestamps

# Raised by one when probing finds out more, or other things, about the same file.
PROBE_ALGORITHM = 4

MOST_REMEMBERED = 20_000  # files of which a process keeps in memory what it found

Found = dict[str, Any]  # what the memo keeps of a file, as JSON


class NamedFile(NamedTuple):
    """A file that a row names, and what it is to be read as."""

    uri: str
    kind: str  # image, video, keypoints, densepose_uv, lora, people


# What is to be around the reading of a file, which may hang or kill its process.
Probing = Callable[[NamedFile, Stamp], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Asked:
    """What a row asks for, judged without a look at any file."""

    clip: Clip
    facts: Facts
    checkpoint: str  # folder
    files: dict[str, NamedFile]  # by field
    consents: Consents


class Validate:
    """Checks one row against the animator's facts and the files it names. Has media decoded: for CPU workers.

    What was found out about a file is kept in the cache until the file changes, so a second run decodes nothing; and in
    memory, so that a file that many rows name is asked for once.
    """

    def __init__(
        self,
        base: str,
        allowed: Allowed,
        limits: Limits,
        checkpoints: Mapping[str, str],
        sources: str,
        estimators: Estimators,
        probing: Probing = lambda *of: nullcontext(),
        register: Register | None = None,
    ) -> None:
        """`base` is where relative paths of the manifest start; `checkpoints` names folders by animator or by label.

        `probing` is entered around the reading of a file that nothing is known of yet; `register` holds the consents
        of people, where a run asks for them.
        """
        self._register = register or Register(ConsentSettings())
        self._probing = probing
        self._estimators = estimators
        self._base = base
        self._allowed = allowed
        self._limits = limits
        self._checkpoints = checkpoints
        self._memo = SourceMemo(sources)
        self._seen: dict[NamedFile, Found] = {}

    def __call__(self, row: int, fields: dict[str, Any]) -> Work:
        """The work of a manifest row, its defaults resolved. Raises `Rejected` naming field, value and remedy."""
        return self.work(row, self.asked(fields))

    def work(self, row: int, asked: Asked) -> Work:
        """The work of a row that asks for this. Raises `Rejected` for what its files do not give."""
        found = {field: self._accepted(field, file) for field, file in asked.files.items()}
        reference, driving, lora = (found.get(field) for field in ("reference", "driving", "lora"))
        if driving is not None and "people" in found:
            driving = {**driving, "people": found["people"]["people"]}
        mask = found.get("mask")
        if mask is not None and driving is not None:
            _require_alike(mask, driving)
        clip, frames, begins, drawn = _resolved(asked.clip, asked.facts, reference, driving)
        if (most := max(frames, drawn or 0)) > self._limits.frames:
            raise Rejected(f"duration: {most} frames, the limit is {self._limits.frames}", "make a shorter film")
        return Work(
            row=row,
            clip=clip,
            reference=reference and Source.model_validate(reference),
            driving=driving and Source.model_validate(driving),
            mask=mask and Source.model_validate(mask),
            frames=frames,
            begins=begins,
            # who is retargeted to performs in the part of it that the film shows
            reference_whole=asked.facts.reference_whole and clip.retarget == "none",
            drawn=drawn,
            checkpoint=asked.checkpoint,
            lora=lora and Weights.model_validate(lora),
            consents=asked.consents,
        )

    def asked(self, fields: dict[str, Any]) -> Asked:
        """What a row asks for. Raises `Rejected` for what no file can mend."""
        clip, errors = parse_clip(table.split_row(fields))
        if clip is None:
            raise rejection(errors)
        facts = known_animator(clip.animator)
        check_suitable(clip, facts, self._estimators)
        consents = consents_of(clip, self._register)  # before any file of a person is opened
        checkpoint = self._checkpoint(clip, facts)
        files = {}
        if facts.reference:
            files["reference"] = self._named("reference", cast(str, clip.reference), "image")
        if driven(clip, facts):
            kind = clip.driving_kind if clip.driving_kind in ("keypoints", "densepose_uv") else "video"
            files["driving"] = self._named("driving", cast(str, clip.driving), kind)
            if clip.driving_kind == "video" and facts.keypoints == "drawn" and self._estimators.has("people"):
                files["people"] = NamedFile(files["driving"].uri, "people")
        if clip.mask is not None:
            files["mask"] = self._named("mask", clip.mask, "video")
        if clip.lora is not None:
            files["lora"] = self._named("lora", clip.lora, "lora")
        return Asked(clip, facts, checkpoint, files, consents)

    def is_known(self, file: NamedFile) -> bool:
        """Whether `examine` would answer without reading the file."""
        if file not in self._seen and (found := self._remembered(file)):
            self._remember(file, found)
        return file in self._seen

    def examine(self, file: NamedFile) -> Found:
        """Everything known of a file, or the error and remedy for the rows that name it."""
        if not self.is_known(file):
            stamp, asked = storage.stamp(file.uri), self._as_asked(file)
            with self._probing(file, stamp):
                found = {**asked, **self._examined(file.uri, file.kind)}
            self._memo.put(_memo_name(file), stamp, found)
            self._remember(file, found)
        return self._seen[file]

    def _checkpoint(self, clip: Clip, facts: Facts) -> str:
        """The folder of weights: a label of the configuration, a path or URI, or the animator's configured or own."""
        label = clip.checkpoint or clip.animator
        if label in self._checkpoints:
            return self._checkpoints[label]
        if clip.checkpoint is None:
            if facts.bundled or not facts.checkpoint:
                return facts.bundled or ""
            raise Rejected(
                f"checkpoint: none is configured for {clip.animator}",
                f"set `checkpoints: {{{clip.animator}: FOLDER}}` in the configuration or --checkpoint "
                f"{clip.animator}=FOLDER, or fill in the row's checkpoint",
            )
        folder = storage.resolve(clip.checkpoint, self._base)
        self._allowed.check(folder, "checkpoint")
        return folder

    def _named(self, field: str, given: str, kind: str) -> NamedFile:
        uri = storage.resolve(given, self._base)
        self._allowed.check(uri, field)
        return NamedFile(uri, kind)

    def _accepted(self, field: str, file: NamedFile) -> Found:
        """What was found of a good file. Raises `Rejected` for any other."""
        known = self.examine(file)
        if "error" in known:
            shown = storage.redact(file.uri)
            raise Rejected(f"{field} {shown!r}: {known['error']}", known["remedy"])
        return {"uri": file.uri, **known["found"]}

    def _remembered(self, file: NamedFile) -> Found | None:
        """What the memo holds of this very state of the file, if it was examined as it would be now."""
        try:
            known = self._memo.get(_memo_name(file), storage.stamp(file.uri))
        except FileNotFoundError:
            return {"error": "there is no such file", "remedy": f"correct the path, relative to {self._base}"}
        alike = known is not None and all(known.get(name) == value for name, value in self._as_asked(file).items())
        return known if alike and _is_whole(cast(Found, known)) else None

    def _as_asked(self, file: NamedFile) -> Found:
        asked = {"probe": PROBE_ALGORITHM, "kind": file.kind, "limits": self._limits.model_dump()}
        return asked | self._judges if file.kind == "people" else asked

    @cached_property
    def _judges(self) -> Found:
        """What says who a film shows."""
        nets = (*self._estimators.drawn.files(), *self._estimators.people.files())
        return {"who": WHO_ALGORITHM, "nets": [memoised_digest(net, self._memo) for net in nets]}

    def _remember(self, file: NamedFile, found: Found) -> None:
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        if times := found.get("found", {}).get("timestamps"):
            found = {"found": {**found["found"], "timestamps": KeptTimestamps([*map(Fraction, times)])}}
        self._seen[file] = found

    def _examined(self, uri: str, kind: str) -> Found:
        with temporary_folder("validate") as scratch:
            try:
                path = storage.fetch(uri, scratch, self._limits.bytes)
                if not path.is_file():
                    raise Rejected("is no file", "name a regular file")
                with held(path) as file:
                    if storage.is_local(uri):  # a link may have come to lead elsewhere since the row was judged
                        self._allowed.check(file.place, "file")
                    found = {"people": self._people_of(file)} if kind == "people" else self._found(file, kind)
                    if file.changed:
                        raise Rejected("changed while it was read", "run again when it is at rest")
                    return {"found": found}
            except Rejected as rejected:
                return {"error": rejected.error, "remedy": rejected.remedy}

    def _found(self, file: HeldFile, kind: str) -> Found:
        return {"digest": file.sha256(), **_probed(kind, file, self._limits)}

    def _people_of(self, file: HeldFile) -> str:
        """Whether a video shows drawn people or real ones."""
        from stages.poses.estimators.drawn_or_real import people_of
        from stages.poses.estimators.load import load_dwpose, load_people
        from stages.poses.estimators.weights import WEIGHTS

        frames, net = reading.Frames(file, self._limits), load_dwpose(self._estimators.drawn, "as_trained", WEIGHTS)
        return people_of(frames.read(), frames.facts.frames, net, load_people(self._estimators.people, WEIGHTS))


def _memo_name(file: NamedFile) -> str:
    """Under which the memo keeps it: what is asked beside the rest of a file has a place of its own."""
    return f"{file.uri} people" if file.kind == "people" else file.uri


def _is_whole(found: Found) -> bool:
    return isinstance(found.get("found"), dict) or all(isinstance(found.get(name), str) for name in ("error", "remedy"))


def _probed(kind: str, file: HeldFile, limits: Limits) -> Found:
    if kind == "image":
        return _probe_image(file, limits)
    if kind == "lora":
        return reading.probe_lora(file, limits)
    if kind == "keypoints":
        return _probe_keypoints(file, limits)
    return _probe_uv(file, limits) if kind == "densepose_uv" else _probe_video(file, limits)


def _probe_image(file: HeldFile, limits: Limits) -> Found:
    pixels, managed = reading.read_managed(file, limits)
    height, width, _ = pixels.shape
    return {"width": width, "height": height} | ({"corrected": COLOUR_PROFILE} if managed else {})


def _probe_video(file: HeldFile, limits: Limits) -> Found:
    frames = reading.Frames(file, limits)
    facts = frames.facts
    found = {
        "width": facts.width,
        "height": facts.height,
        "frames": facts.frames,
        "fps": str(facts.fps),
        "audio": facts.audio,
        "begin": float(facts.start),
    }
    if facts.corrected:
        found["corrected"] = facts.corrected
    if facts.variable:
        found["timestamps"] = [str(second) for second in frames.timestamps]
    return found


def _probe_keypoints(file: HeldFile, limits: Limits) -> Found:
    frames, width, height, fps = reading.probe_keypoints(file, limits)
    found = {"width": width, "height": height, "frames": frames}
    return found | ({"fps": str(fps)} if fps else {})


def _probe_uv(file: HeldFile, limits: Limits) -> Found:
    facts = reading.probe_uv(file, limits)
    found = {"width": facts.width, "height": facts.height, "frames": facts.frames}
    return found | ({"fps": str(facts.fps)} if facts.fps else {})


def _resolved(
    clip: Clip, facts: Facts, reference: Found | None, driving: Found | None
) -> tuple[Clip, int, float, int | None]:
    """The clip with every default filled in, the frames of its film, and the second of driving at its start.

    Last the frames that the animator draws, where its rate is another than the film's.
    """
    real = driving is not None and driving.get("people") == "real"
    if real and "retarget" not in clip.model_fields_set:
        # a drawn person has other proportions than who was filmed
        clip = clip.model_copy(update={"retarget": "bone_length"})
    # who is given limbs of her own performs in her own picture, however the camera was held
    own_picture = (facts.shape_of == "reference" and not replaces(clip)) or (real and clip.retarget != "none")
    shape = reference if own_picture else driving or reference
    own = facts.own_defaults(clip, shape)
    width, height = film_size(clip, facts, shape)
    if not clip.width:
        _require_sides(width, height)
    native_fps = Fraction(driving["fps"]) if driving and "fps" in driving else clip.fps
    fps = clip.fps or facts.native_fps or native_fps or own.get("fps")
    if fps is None:
        error = (
            "the driving file does not state a frame rate" if driving else "there is no driving file to take it from"
        )
        raise Rejected(f"fps: {error}", "fill in fps")
    if fps > FASTEST:
        error = f"the driving file runs at {float(fps):g} frames per second, a film at {FASTEST} at most"
        raise Rejected(f"fps: {error}", "give fps in the row, 24 or 30 for example: the film's motion keeps its speed")
    window = clip.window or facts.window
    resolved = {
        # what an animator without text is given decides nothing, and so is in no key
        "prompt": clip.prompt or own.get("prompt", "") if facts.text else "",
        "negative_prompt": clip.negative_prompt if facts.text else "",
        "width": clip.width or width,
        "height": clip.height or height,
        "fit": clip.fit or own.get("fit", "stretch" if clip.mode == "parity" else "cover"),
        "fps": fps,
        "steps": clip.steps or own.get("steps", (clip.mode == "fast" and facts.fast_steps) or facts.steps),
        "guidance": clip.guidance or own.get("guidance", facts.guidance) or None,  # there are systems without
        "window": window,
        # a window smaller than the animator's own keeps the proportion of its overlap
        "overlap": min(facts.overlap, window // 4) if clip.overlap is None else clip.overlap,
        "options": _options(clip, facts).model_dump(),
    }
    clip = clip.model_copy(update=resolved)
    fast = fast_of(clip) if facts.fast else None  # an animator from outside may have no such recipe
    if fast and fast.sampler == "unipc" and cast(int, clip.steps) > UNIPC_STEPS:
        error = f"steps {clip.steps}: mode fast has {UNIPC_STEPS} at most with sampler unipc"
        raise Rejected(error, "give fewer steps, or leave them out, or use mode standard")
    own_rate = None if facts.native_fps == fps else facts.native_fps
    if driving is None:
        frames = clip.frame_count or max(1, round(clip.duration * fps))
        return clip, frames, 0.0, max(1, round(frames / fps * own_rate)) if own_rate else None
    native_fps = native_fps or fps  # a file that states none runs at the film's
    seconds = driving.get("timestamps") or EvenTimestamps(driving["frames"], native_fps)
    frames = shown_count(clip, seconds, native_fps)  # refuses a range without frames
    drawn = shown_count(clip.model_copy(update={"fps": own_rate}), seconds, native_fps) if own_rate else None
    return clip, frames, clip.start if clip.first_frame is None else float(seconds[clip.first_frame]), drawn


def _options(clip: Clip, facts: Facts) -> Options:
    """The row's options; in mode fast, what they leave open of the recipe is the animator's own."""
    options = facts.options(**clip.options)
    if clip.mode != "fast" or facts.fast is None:
        return options
    given = options.fast.model_dump(include=options.fast.model_fields_set) if options.fast else {}
    return options.model_copy(update={"fast": facts.fast.model_copy(update=given)})


def _require_alike(mask: Found, driving: Found) -> None:
    """That a mask shows what the driving video shows: as many frames, of that shape."""
    for what in ("frames", "width", "height"):
        if mask[what] != driving[what]:
            error = f"mask: has {what} {mask[what]}, the driving video {driving[what]}"
            raise Rejected(error, "give a mask of each frame of the driving video, of its size")


def _require_sides(width: int, height: int) -> None:
    """What a row may ask for bounds what is made of its files' shape too: a strip keeps the area, not the sides."""
    if not SHORTEST_SIDE <= min(width, height) <= max(width, height) <= LONGEST_SIDE:
        error = (
            f"in the shape of its file a film is {width}×{height} pixels, a side is {SHORTEST_SIDE} to {LONGEST_SIDE}"
        )
        raise Rejected(f"width, height: {error}", "give width and height in the row")


def film_size(clip: Clip, facts: Facts, shape: Shape | None) -> tuple[int, int]:
    """(width, height) where a row gives none: the animator's own rule, else at most its native area in that shape."""
    own, native = facts.own_defaults(clip, shape), facts.native_size
    if "width" in own:
        return own["width"], own["height"]
    if shape is None:
        return native
    scale = min(1.0, (native[0] * native[1] / (shape["width"] * shape["height"])) ** 0.5)
    unit = facts.size_multiple
    width, height = (max(unit * 2, round(shape[side] * scale / unit) * unit) for side in ("width", "height"))
    return width, height
