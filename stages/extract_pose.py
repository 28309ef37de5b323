"""ExtractPose: a driving file becomes a stored pose sequence, once for all clips, runs and consumers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from manifests import storage
from manifests.errors import Problem
from manifests.layout import Places
from manifests.work import Source
from stages.poses.sequence import write_poses
from stages.video.limits import Limits
from stages.video.read import Frames


class ExtractPose:
    """Decodes user media: for CPU workers. Driving files that already are drawn poses are stored as they are."""

    def __init__(self, places: Places, limits: Limits) -> None:
        self._places = places
        self._limits = limits

    def __call__(self, driving: Source, key: str) -> bool:
        """Make the pose sequence `key` unless it is there; returns whether it was made.

        Frames are kept at the driving file's own size and rate: a clip's size, range and frame rate are applied when
        it is animated. Raises `Problem` when the file changed since it was validated or does not decode to its end.
        """
        target = self._places.poses(key)
        if storage.exists(target):
            return False
        with tempfile.TemporaryDirectory(prefix="catwalk-pose-") as scratch:
            path = fetch_unchanged(driving, Path(scratch), self._limits)
            frames = Frames(path, self._limits)
            stored = Path(scratch) / "poses.arrow"
            write_poses(stored, zip(frames.timestamps, frames.read(), strict=True), frames.facts.fps)
            storage.publish(stored, target)
        return True


def fetch_unchanged(source: Source, scratch: Path, limits: Limits) -> Path:
    """A local copy of the very bytes that were validated. Raises `Problem` when they have changed since."""
    path = storage.fetch(source.uri, scratch, limits.bytes)
    if storage.sha256_file(path) != source.digest:
        raise Problem(f"{storage.redact(source.uri)} changed while the run was going on", "run again")
    return path
