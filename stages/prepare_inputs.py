"""PrepareInputs: reference image and sound become plain data, so that no user bytes are parsed beside the model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from manifests import storage
from manifests.layout import OutputLayout, sound_key
from manifests.source_memo import SourceMemo
from manifests.temporary import temporary_folder
from manifests.work import Source, Work
from stages.driving import fetch_unchanged, keeps_sound
from stages.sandbox.reading import carried_credentials, extract_sound, read_image
from stages.video.limits import Limits


class PrepareInputs:
    """Has user media decoded: for CPU workers. What is in the cache already is left as it is."""

    def __init__(self, layout: OutputLayout, limits: Limits) -> None:
        self._layout = layout
        self._memo = SourceMemo(layout.sources)
        self._limits = limits

    def __call__(self, work: Work) -> None:
        """Store the reference as an RGB PNG, and the driving video's sound if it is kept."""
        self.of_reference(work)
        self.of_sound(work)

    def of_reference(self, work: Work) -> None:
        """Store the reference, if there is one."""
        if work.reference is not None and work.reference_key is not None:
            target = self._layout.reference(work.reference_key)
            if not storage.exists(target):
                save = partial(self._save_reference, work.reference_key, work.reference.digest)
                self._store(work.reference, target, save)

    def of_sound(self, work: Work) -> None:
        """Store the driving video's sound, if it is kept."""
        if work.driving is not None and keeps_sound(work):
            target = self._layout.sound(sound_key(work.driving.content))
            if not storage.exists(target):
                self._store(work.driving, target, partial(extract_sound, begin=work.driving.begin, limits=self._limits))

    def _store(self, source: Source, target: str, convert: Callable[[Path, Path], None]) -> None:
        with temporary_folder("inputs") as scratch:
            stored = scratch / storage.name(target)
            convert(fetch_unchanged(source, scratch, self._limits.bytes, self._memo), stored)
            storage.publish(stored, target)

    def _save_reference(self, key: str, digest: str, image: Path, target: Path) -> None:
        """The pixels, and before them the credentials that the image carries: who finds pixels looks no further."""
        if (carried := carried_credentials(image, digest, self._limits)) is not None:
            storage.publish_bytes(carried, self._layout.reference_credentials(key))
        Image.fromarray(read_image(image, self._limits)).save(target, compress_level=1)
