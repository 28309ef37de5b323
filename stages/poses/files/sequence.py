"""Pose sequences as they are stored: our own normalised frames, one record per frame, read one at a time.

Arrow IPC with zstd: lossless, random access by frame, no video decoder needed where the model runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from manifests.errors import Damaged

_SCHEMA = pa.schema([("second", pa.string()), ("frame", pa.binary())])


def write_poses(path: Path, timed_frames: Iterable[tuple[Fraction, np.ndarray]], fps: Fraction | None) -> int:
    """Store (timestamp in seconds, array) frames as `PoseWriter` does; returns how many."""
    with PoseWriter(path, fps) as writer:
        for second, frame in timed_frames:
            writer.write(second, frame)
    return writer.count


class PoseWriter:
    """Stores frame after frame: arrays of one shape and type, with memory for one. Context manager.

    Drawn pictures are uint8 (height, width, 3), DensePose's U and V float32 (2, height, width), masks uint8 (height,
    width). `fps` is None where the driving file states none.
    """

    def __init__(self, path: Path, fps: Fraction | None) -> None:
        self._path, self._fps = path, fps
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self.count = 0

    def write(self, second: Fraction, frame: np.ndarray) -> None:
        """Append a frame and its timestamp in seconds."""
        if self._writer is None:
            shape = " ".join(map(str, frame.shape))
            self._schema = _SCHEMA.with_metadata({"shape": shape, "dtype": str(frame.dtype), "fps": str(self._fps)})
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            self._writer = pa.ipc.new_file(str(self._path), self._schema, options=options)
        self._writer.write_batch(pa.record_batch([[str(second)], [frame.tobytes()]], schema=self._schema))
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


class PoseSequence:
    """A stored pose sequence, opened. Context manager."""

    def __init__(self, path: Path) -> None:
        """Raises `Damaged` for a file that is none."""
        self._path = path
        try:
            # not mapped: pages of a map count as this process's memory, as many as the film is long
            self._stored = pa.OSFile(str(path))
            self._file = pa.ipc.open_file(self._stored)
            facts = self._file.schema.metadata
            self._shape = tuple(map(int, facts[b"shape"].split()))
            self._dtype = np.dtype(facts.get(b"dtype", b"uint8").decode())
            stated = facts[b"fps"].decode()
            self.fps = None if stated == "None" else Fraction(stated)
            # a second reader, so that timestamps alone are decompressed
            timestamps = pa.ipc.open_file(self._stored, options=pa.ipc.IpcReadOptions(included_fields=[0]))
            self.seconds = [Fraction(timestamps.get_batch(index).column(0)[0].as_py()) for index in range(len(self))]
        except Exception as broken:  # cut short, of other bytes, another kind of file
            raise self._damaged(broken) from None

    def __len__(self) -> int:
        return self._file.num_record_batches

    def __getitem__(self, index: int) -> np.ndarray:
        """The array of one frame as it was stored, read-only. Raises `Damaged`."""
        try:
            frame = self._file.get_batch(index).column("frame")[0].as_buffer()
            return np.frombuffer(frame, self._dtype).reshape(self._shape)
        except (pa.ArrowException, OSError, ValueError) as broken:
            raise self._damaged(broken) from None

    def _damaged(self, broken: Exception) -> Damaged:
        reason = (str(broken) or type(broken).__name__).splitlines()[0]
        return Damaged(f"pose sequence {self._path.name} cannot be read: {reason}", "delete it and run again")

    def timing(self, film: Fraction) -> tuple[list[Fraction], Fraction]:
        """Seconds of the frames and their rate; where the file states none, it runs at the film's."""
        if self.fps is None:
            return [number / film for number in range(len(self))], film
        return self.seconds, self.fps

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stored.close()


class ShownPoses:
    """The frames of a stored sequence that a film shows, in its order, read one at a time."""

    def __init__(self, sequence: PoseSequence, shown: Sequence[int]) -> None:
        self._sequence = sequence
        self.shown = shown

    def __len__(self) -> int:
        return len(self.shown)

    def __getitem__(self, frame: int) -> np.ndarray:
        """The pose of one frame of the film; shape as stored."""
        return self._sequence[self.shown[frame]]
