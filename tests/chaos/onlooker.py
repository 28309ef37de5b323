"""Somebody who watches the films of a night appear, takes each at once and decodes it: whoever sells them does."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from dataclasses import dataclass, field

import av
import fsspec
from PIL import Image


@dataclass
class Sight:
    """One file as it was first seen."""

    stamp: str
    digest: str | None  # of the decoded frames of a film; None: it could not be decoded to its end
    frames: int = 0


@dataclass
class Onlooker:
    """Polls the folder of films until it is stopped; use it as a context. What it found stands in its fields."""

    films: str  # where they lie, for `store`
    store: fsspec.AbstractFileSystem
    frames: int  # that each film must have
    every: float = 0.3  # seconds
    seen: dict[str, Sight] = field(default_factory=dict)
    torn: set[str] = field(default_factory=set)  # seen half-written, or a marker before its film
    rewritten: set[str] = field(default_factory=set)  # replaced after they were there

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Onlooker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def finished(self) -> int:
        """Films whose marker is there."""
        return sum(name.endswith(".json") for name in list(self.seen))

    def digests(self) -> dict[str, str | None]:
        """Digest of the decoded frames by the film's name."""
        return {name: sight.digest for name, sight in self.seen.items() if name.endswith(".mp4")}

    def look(self) -> None:
        """Take everything that is new, or other than it was."""
        for name, stamp in sorted(self._listing().items(), key=lambda item: item[0].endswith(".json")):
            if name in self.seen and self.seen[name].stamp == stamp:
                continue
            if name in self.seen:
                self.rewritten.add(name)
            try:
                data = self.store.cat_file(f"{self.films}/{name}")
            except FileNotFoundError:
                continue
            self.seen[name] = sight = Sight(stamp, *self._judged(name, data))
            if sight.digest is None:
                self.torn.add(name)

    def _watch(self) -> None:
        while not self._stop.wait(self.every):
            self.look()
        self.look()

    def _listing(self) -> dict[str, str]:
        self.store.invalidate_cache()
        try:
            found = self.store.ls(self.films, detail=True)
        except FileNotFoundError:
            return {}
        files = {one["name"].rpartition("/")[2]: str(one.get("ETag") or one.get("mtime")) for one in found}
        return {name: stamp for name, stamp in files.items() if name and not name.startswith(".")}

    def _judged(self, name: str, data: bytes) -> tuple[str | None, int]:
        """(digest, frames) of a whole file; (None, 0) of half of one."""
        try:
            if name.endswith(".mp4"):
                digest, frames = decoded(data)
                return (digest, frames) if frames == self.frames else (None, frames)
            if name.endswith(".jpg"):
                Image.open(io.BytesIO(data)).load()
            elif name.endswith(".json"):
                json.loads(data)
                if f"{name.removesuffix('.json')}.mp4" not in self.seen:
                    return None, 0
            return hashlib.sha256(data).hexdigest(), 0
        except Exception:  # whatever a decoder says of half a file
            return None, 0


def decoded(data: bytes) -> tuple[str, int]:
    """SHA-256 of all frames of a film as RGB, and their number."""
    digest, frames = hashlib.sha256(), 0
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(video=0):
            digest.update(frame.to_ndarray(format="rgb24").tobytes())
            frames += 1
    return digest.hexdigest(), frames
