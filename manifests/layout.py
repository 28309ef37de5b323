"""Names of things in storage: content keys, where everything lies, and what a marker means.

A key is derived from content and chained: the film's from the latents', theirs from the poses'. It stands in the name
of what it made and of the small JSON marker that is written last, so one listing tells what is finished.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from manifests import storage
from manifests.clip import Clip
from manifests.errors import Problem, WrongUsage
from manifests.row_text import rows_digest

# Raised by one when a stage's results change for the same inputs; everything after it is then made again.
ALGORITHM = {"reference": 1, "sound": 1, "pose": 1, "latents": 2, "film": 1, "signed": 1}

KEY_LENGTH = 32  # hex digits: 128 bits

# Fields of a clip that decide its latents. URIs do not: the bytes behind them do, through their digests.
LATENTS_FIELDS = frozenset(
    {"animator", "mode", "prompt", "negative_prompt", "width", "height", "fit", "fps"}
    | {"start", "duration", "first_frame", "frame_count"}
    | {"seed", "steps", "guidance", "window", "overlap", "loop", "options", "subject", "retarget"}
)
POSE_FIELDS = frozenset({"driving_kind"})
FILM_FIELDS = frozenset({"audio"})
DIGESTED_FIELDS = frozenset({"reference", "driving", "mask", "checkpoint", "lora"})
LORA_FIELDS = frozenset({"lora_scale"})  # of a clip that has a LoRA, beside LATENTS_FIELDS
KEYLESS_FIELDS = frozenset({"id", "metadata", "priority", "likeness_consent", "performer_consent"})


def content_key(stage: str, parts: Mapping[str, Any]) -> str:
    """The key of what `stage` makes out of `parts` (JSON values), whatever their order."""
    canonical = json.dumps([stage, ALGORITHM[stage], parts], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:KEY_LENGTH]


def reference_key(content: str) -> str:
    """Key of a reference image as plain upright pixels; `content` is the source's, here and below."""
    return content_key("reference", {"digest": content})


def sound_key(content: str) -> str:
    """Key of a driving file's sound."""
    return content_key("sound", {"digest": content})


def pose_key(content: str, recipe: Mapping[str, Any], weights: str | None) -> str:
    """Key of a file's pose sequence; `weights` is the digest of the estimator's, if one runs.

    The clip's POSE_FIELDS choose the recipe; nothing else of a clip is in this key.
    """
    return content_key("pose", {"digest": content, "weights": weights, "recipe": dict(recipe)})


def latents_key(
    clip: Clip,
    reference: str | None,
    poses: Sequence[str | None],
    checkpoint: str,
    dtype: str,
    segments: Sequence[tuple[int, int]],
    lora: str | None = None,
    mask: str | None = None,
) -> str:
    """Key of a clip's latents. Each of its segments is stored under it with the segment's number.

    `clip` has its defaults resolved; `reference` and `poses` (the driving file's, and the reference's if it is
    retargeted to) are keys, `checkpoint` and `lora` digests, `mask` the key of the file that a row
    names, `segments` (start, stop) of each.
    """
    layout = segments[0] if len(segments) == 1 else list(segments)
    parts = {"reference": reference, "poses": list(poses), "checkpoint": checkpoint, "dtype": dtype, "segment": layout}
    if lora:
        parts |= {"lora": lora, **_fields(clip, LORA_FIELDS)}
    if mask:
        parts |= {"mask": mask}
    return content_key("latents", {**parts, **_fields(clip, LATENTS_FIELDS)})


def film_key(
    clip: Clip,
    latents: Sequence[str],
    encoding: Mapping[str, Any],
    driving: str | None,
    watermark: Mapping[str, Any] | None = None,
) -> str:
    """Key of a film; `driving` is the content of the driving file, which matters if its sound is kept.

    `watermark` is what decides the mark in its pictures; a film without one keeps the key that it had before there
    were any.
    """
    sound = driving if clip.audio == "driving" else None
    parts: dict[str, Any] = {"latents": list(latents), "encoding": encoding, "sound": sound}
    if watermark is not None:
        parts["watermark"] = dict(watermark)
    return content_key("film", parts)


def signed_key(facts: Mapping[str, Any], identity: str) -> str:
    """Key of a signed film: what its credentials state, the film's key among it, and whose certificate signs."""
    return content_key("signed", {"facts": dict(facts), "identity": identity})


def _fields(clip: Clip, names: frozenset[str]) -> dict[str, Any]:
    return clip.model_dump(mode="json", include=set(names))


def latents_name(key: str, segment: int | None = None) -> str:
    """Name of the file with the latents of a clip, or of one of its segments if it has several."""
    return f"{key}.safetensors" if segment is None else f"{key}.{segment:05}.safetensors"


class Film(NamedTuple):
    """A finished film in storage."""

    clip_id: str
    key: str
    size: int | None = None  # bytes, where it was found


class OutputLayout:
    """Where everything of one output folder lies.

    `cache` is shared by all runs (and may be by several output folders); `films` is what users take; `runs/<run id>/`
    is the record of one night.
    """

    def __init__(self, output: str, cache: str | None = None) -> None:
        self.output = output
        self.cache = cache or storage.join(output, "cache")
        self.films = storage.join(output, "films")
        self.claims = storage.join(output, "claims")
        self.withdrawn = storage.join(output, "withdrawn")
        self.set_aside = storage.join(output, "set_aside")
        self.sources = storage.join(self.cache, "sources")

    def reference(self, key: str) -> str:
        """Reference image as plain pixels."""
        return storage.join(self.cache, "references", f"{key}.png")

    def reference_credentials(self, key: str) -> str:
        """Content credentials that the reference image carries, beside its pixels, where it does."""
        return storage.join(self.cache, "references", f"{key}.c2pa")

    def sound(self, key: str) -> str:
        """Sound of a driving file."""
        return storage.join(self.cache, "sounds", f"{key}.flac")

    def poses(self, key: str) -> str:
        """Pose sequence of a driving file."""
        return storage.join(self.cache, "poses", f"{key}.arrow")

    def masks(self, key: str) -> str:
        """Masks of the people in a driving file, beside its pose sequence `key`, where they are asked for."""
        return storage.join(self.cache, "masks", f"{key}.arrow")

    def latents(self, key: str, segment: int | None = None) -> str:
        """Latents of a clip, or of one segment of those it is denoised in."""
        return storage.join(self.cache, "latents", latents_name(key, segment))

    def film(self, film: Film) -> str:
        """The film itself."""
        return storage.join(self.films, f"{film.clip_id}.{film.key}.mp4")

    def poster(self, film: Film) -> str:
        """A frame of it that stands for it."""
        return storage.join(self.films, f"{film.clip_id}.{film.key}.jpg")

    def film_marker(self, film: Film) -> str:
        """Written last: says that film and poster are whole, and holds the figures of the run that made them."""
        return storage.join(self.films, f"{film.clip_id}.{film.key}.json")

    def unpublished(self, film: Film) -> str:
        """A finished film that could not be put at its place."""
        return storage.join(self.cache, "unpublished", f"{film.clip_id}.{film.key}.mp4")

    def claim(self, film_key: str) -> str:
        """Says which run is making a film."""
        return storage.join(self.claims, f"{film_key}.json")

    def withdrawal(self, film_key: str) -> str:
        """Says that a film was taken out of publication."""
        return storage.join(self.withdrawn, f"{film_key}.json")

    def aside(self) -> OutputLayout:
        """The same, but for films: where those lie that a person has to look at before they are published."""
        aside = OutputLayout(self.output, self.cache)
        aside.films = self.set_aside
        return aside

    def move_film(self, film: Film, target: OutputLayout, marker: Mapping[str, Any]) -> None:
        """Put a finished film at its place in `target`, with this marker; what was here goes once it is there whole."""
        for place in (OutputLayout.film, OutputLayout.poster):
            with suppress(FileNotFoundError):  # a poster that somebody took away; or it was moved before a death
                storage.copy(place(self, film), place(target, film))
        storage.publish_json(dict(marker), target.film_marker(film))
        for place in (OutputLayout.film_marker, OutputLayout.poster, OutputLayout.film):
            storage.delete(place(self, film))

    def run(self, run_id: str, *parts: str) -> str:
        """The folder of one run, or something in it."""
        return storage.join(self.output, "runs", run_id, *parts)

    def finished_films(self) -> dict[str, Film]:
        """Every finished film by its key: one listing. A marker whose film is gone does not count."""
        return films_among(storage.listing(self.films))

    def read_film_markers(self, films: Sequence[Film]) -> list[dict[str, Any] | None]:
        """Markers of many films at once; None for one that is gone or damaged, which is then made again."""

        def read(film: Film) -> dict[str, Any] | None:
            try:
                return storage.read_json(self.film_marker(film))
            except Problem:
                return None

        with ThreadPoolExecutor(32) as pool:
            return list(pool.map(read, films))

    def share_film(self, source: Film, film: Film) -> None:
        """Publish a finished film under another clip's id too, its marker last."""
        for place in (self.film, self.poster, self.film_marker):
            storage.copy(place(source), place(film))


def films_among(names: Mapping[str, int]) -> dict[str, Film]:
    """Finished films by their keys, from names and sizes of all that lies in their folder."""
    films: dict[str, Film] = {}
    for name in names:
        clip_id, _, key = name.removesuffix(".json").rpartition(".")
        if name.endswith(".json") and clip_id and (size := names.get(f"{clip_id}.{key}.mp4")):
            films[key] = Film(clip_id, key, size)
    return films


def new_run_id() -> str:
    """An id for a run that nobody named: UTC start time and four random digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def claim_run(layout: OutputLayout, run_id: str, manifest: str, rows: Sequence[str]) -> bool:
    """Begin or continue a run; returns whether it is continued.

    A run id names one night of one manifest, whose `rows` (as text) may have grown at their end since: raises
    `WrongUsage` when it was begun with another manifest, or with rows that are no longer there.
    """
    uri = layout.run(run_id, "run.json")
    identity = {"manifest": manifest, "rows": len(rows), "manifest_digest": rows_digest(rows)}
    if storage.create_exclusive(uri, json.dumps(identity, sort_keys=True).encode()):
        return False
    begun = storage.read_json(uri) or {}
    before = begun.get("rows", len(rows))
    if begun.get("manifest") != manifest:
        wrong = f"was begun with {storage.redact(str(begun.get('manifest')))}, not with {storage.redact(manifest)}"
    elif before > len(rows):
        wrong = f"was begun with {before} rows, of which the manifest has {len(rows)} left"
    elif begun.get("manifest_digest") != rows_digest(rows[:before]):
        wrong = f"was begun when the first {before} rows of the manifest were others (new ones may follow them)"
    else:
        if before < len(rows):
            storage.publish_json(identity, uri)
        return True
    remedy = "leave the run id out or choose a new one: films that are finished are found under any"
    raise WrongUsage(f"run id {run_id!r} {wrong}", remedy)
