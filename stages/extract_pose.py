"""ExtractPose: a driving file becomes a stored pose sequence, once for all clips, runs and consumers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from manifests import storage
from manifests.layout import OutputLayout
from manifests.source_memo import SourceMemo
from manifests.temporary import temporary_folder
from manifests.work import Source, Work
from stages.diffusion.animators import ANIMATORS
from stages.driving import fetch_unchanged, recipe_of, reference_estimator
from stages.poses.estimators.weights import WEIGHTS
from stages.poses.files.keypoint_file import write_keypoints, write_people
from stages.poses.files.sequence import PoseWriter, write_poses
from stages.poses.keypoints import People
from stages.poses.recipes import AS_FILMED, Estimators, Recipe
from stages.progress import Told, counted, silent
from stages.sandbox.reading import Frames, import_keypoints, probe_uv, read_image, read_uv
from stages.video.limits import Limits


class ExtractPose:
    """Has user media decoded and runs the estimators: for CPU workers, where the estimators stay loaded."""

    def __init__(self, layout: OutputLayout, limits: Limits, estimators: Estimators, told: Told = silent) -> None:
        """`told` is told of the frames that are done."""
        self._told = told
        self._layout = layout
        self._memo = SourceMemo(layout.sources)
        self._limits = limits
        self._estimators = estimators

    def for_driving(self, work: Work) -> bool:
        """Make the poses of a clip's driving file, if it follows one; returns whether they were made.

        So are the file's own frames, where the animator asks for them, and masks of the person who is replaced.
        """
        key, driving = work.pose_key, work.driving
        if key is None or driving is None:
            return False
        masks = work.masks_key is not None and work.mask is None
        made = [self(driving, recipe_of(work.clip, self._estimators, driving), key, masks)]
        if work.frames_key is not None:
            made.append(self(driving, AS_FILMED, work.frames_key))
        if work.mask is not None and work.masks_key is not None:
            made.append(self(work.mask, AS_FILMED, work.masks_key))
        return any(made)

    def for_reference(self, work: Work) -> bool:
        """Make the keypoints of a clip's reference, if they are wanted; returns whether they were made."""
        facts, key = ANIMATORS[work.clip.animator], work.reference_pose_key
        estimator = reference_estimator(facts, self._estimators)
        reference = work.reference
        return key is not None and reference is not None and self.of_reference(reference, estimator, key)

    def __call__(self, driving: Source, recipe: Recipe, key: str, with_masks: bool = False) -> bool:
        """Make the pose sequence `key` unless it is there; returns whether it was made.

        It is kept at the driving file's own size and rate: a clip's size, range, frame rate, subject and repair are
        applied when it is animated. Raises `Problem` when the file changed since it was validated, does not decode to
        its end, or an estimator's weights are wrong. Masks that are asked for, here or in the configuration, are stored
        beside the sequence.
        """
        target = self._layout.poses(key)
        with_masks = with_masks or self._estimators.people.masks
        masks = self._layout.masks(key) if recipe.estimator == "people" and with_masks else None
        if storage.exists(target) and (masks is None or storage.exists(masks)):
            return False
        with temporary_folder("pose") as scratch:
            path, stored = fetch_unchanged(driving, scratch, self._limits.bytes, self._memo), scratch / "poses.arrow"
            if recipe.estimator == "none" and recipe.stored == "keypoints":
                keypoints, fps = import_keypoints(path, self._limits)
                seconds = [number / (fps or Fraction(1)) for number in range(len(keypoints))]
                write_keypoints(stored, keypoints, seconds, fps)
            elif recipe.estimator == "none" and recipe.stored == "uv":
                facts = probe_uv(path, self._limits)
                seconds = [number / (facts.fps or Fraction(1)) for number in range(facts.frames)]
                write_poses(stored, zip(seconds, read_uv(path, facts, self._limits), strict=True), facts.fps)
            else:
                self._from_video(Frames(path, self._limits), recipe, stored, masks)
            storage.publish(stored, target)
        return True

    def _from_video(self, video: Frames, recipe: Recipe, stored: Path, masks: str | None) -> None:
        frames = counted(video.read(), video.facts.frames, "finding poses, frame", self._told)
        facts = video.facts
        if recipe.stored == "keypoints":
            people = self._people(video, frames, recipe, masks, stored.parent)
            write_people(stored, zip(video.timestamps, people, strict=True), facts.width, facts.height, facts.fps)
            return
        if recipe.estimator == "densepose":
            from stages.poses.estimators.load import densepose_frames, densepose_uv

            made = densepose_uv if recipe.stored == "uv" else densepose_frames
            frames = made(self._estimators.densepose, frames, WEIGHTS)
        write_poses(stored, zip(video.timestamps, frames, strict=True), facts.fps)

    def _people(
        self, video: Frames, frames: Iterable[np.ndarray], recipe: Recipe, masks: str | None, scratch: Path
    ) -> Iterator[People]:
        """The people of a film frame by frame; their `masks`, if asked for, are stored on the way."""
        if masks is None:
            from stages.poses.estimators.load import load_keypoints

            yield from load_keypoints(self._estimators, recipe.estimator, WEIGHTS, recipe.channels).people(frames)
            return
        from stages.poses.estimators.load import load_people

        stored = scratch / "masks.arrow"
        with PoseWriter(stored, video.facts.fps) as writer:
            sights = load_people(self._estimators.people, WEIGHTS).follow(frames)
            for second, sight in zip(video.timestamps, sights, strict=True):
                writer.write(second, sight.mask())
                yield sight.keypoints()
        storage.publish(stored, masks)

    def of_reference(self, reference: Source, estimator: str, key: str) -> bool:
        """Make the keypoints of a reference image; once per image and estimator."""
        target = self._layout.poses(key)
        if storage.exists(target):
            return False
        from stages.poses.estimators.load import keypoints_of_still

        with temporary_folder("pose") as folder:
            pixels = read_image(fetch_unchanged(reference, folder, self._limits.bytes, self._memo), self._limits)
            keypoints = keypoints_of_still(self._estimators, estimator, pixels, WEIGHTS)
            stored = folder / "poses.arrow"
            write_keypoints(stored, keypoints, [Fraction(0)], None)
            storage.publish(stored, target)
        return True
