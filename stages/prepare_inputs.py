"""PrepareInputs: reference image and sound become plain data, so that no user bytes are parsed beside the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from manifests import layout, storage
from manifests.layout import Places
from manifests.work import Source, Work
from stages.diffusion.animators import ANIMATORS
from stages.driving import fetch_unchanged, keeps_sound
from stages.extract_pose import ExtractPose
from stages.poses.recipes import Estimators
from stages.video.image import read_image
from stages.video.limits import Limits
from stages.video.sound import extract_sound


class PrepareInputs:
    """Decodes user media: for CPU workers. What is in the cache already is left as it is."""

    def __init__(self, places: Places, limits: Limits, estimators: Estimators) -> None:
        self._places = places
        self._limits = limits
        self._extract = ExtractPose(places, limits, estimators)

    def __call__(self, work: Work) -> None:
        """Store the reference as an RGB PNG, its keypoints if it is retargeted to, and the sound if it is kept."""
        if work.reference is not None:
            target = self._places.reference(work.reference_key)
            if not storage.exists(target):
                self._store(work.reference, target, self._save_pixels)
        if work.reference_pose_key is not None:
            estimator = ANIMATORS[work.clip.animator].keypoints
            self._extract.of_reference(work.reference, estimator, work.reference_pose_key)
        if keeps_sound(work):
            target = self._places.sound(layout.sound_key(work.driving.digest))
            if not storage.exists(target):
                self._store(work.driving, target, partial(extract_sound, begin=work.driving.begin))

    def _store(self, source: Source, target: str, convert: Callable[[Path, Path], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="catwalk-inputs-") as scratch:
            stored = Path(scratch) / storage.name(target)
            convert(fetch_unchanged(source, Path(scratch), self._limits.bytes), stored)
            storage.publish(stored, target)

    def _save_pixels(self, image: Path, target: Path) -> None:
        Image.fromarray(read_image(image, self._limits)).save(target, compress_level=1)
