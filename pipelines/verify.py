"""`catwalk verify`: what a film is, by the credentials that it carries and by the mark in its pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from manifests import storage
from manifests.errors import Problem, Rejected, WrongUsage
from manifests.layout import OutputLayout
from manifests.shown_text import visible
from manifests.storage_fault import storage_fault
from manifests.temporary import temporary_folder
from pipelines.configuration import RunConfig
from pipelines.progress import Say
from pipelines.revocation import places
from stages.provenance.credentials.development import NAME, development_root
from stages.provenance.credentials.reading import kind_of
from stages.provenance.verdict import CredentialsVerdict, FileVerdict, WatermarkVerdict
from stages.provenance.watermark.finding import frames_to_look_at
from stages.provenance.watermark.key import secret
from stages.provenance.watermark.method import identity_of, written
from stages.provenance.watermark.method import made as made_method
from stages.sandbox.held_file import HeldFile
from stages.sandbox.process import Fault
from stages.sandbox.reading import LONGEST_TEXT, Frames, read_credentials, read_image
from stages.video.limits import Limits

FILMS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
LOOKED_THROUGH = 3000  # frames of a film at most, from its beginning: decoding all of a long one takes minutes
OWN_ROOT = "this machine's development root"


class Root(NamedTuple):
    """A certificate that signers may come from, as PEM."""

    name: str
    pem: str
    trusted: bool = True


class Verifier:
    """Looks at one file after the other."""

    def __init__(self, config: RunConfig, roots: Sequence[Path] = (), outputs: Sequence[str] = ()) -> None:
        """`roots` are PEM files; among the films of `outputs`, folders of runs, the one is looked up that a mark names.

        Raises `WrongUsage` for a root that holds no certificate, and as `method_of` does for the mark's settings.
        """
        self._config, self._limits = config, _wider(config.limits)
        self._allowed = storage.Allowed(prefixes=[storage.resolve(one, os.getcwd()) for one in config.allowed_prefixes])
        marking = config.provenance.watermark
        self._method = made_method(marking.method, secret(marking.key), marking.strength)
        self._films: dict[str, tuple[str, str]] = {}
        for output in outputs:
            self._require_allowed(output := storage.resolve(output, os.getcwd()))
            self._films |= _films_of(output)
        self._roots = [Root(str(path), _pem(path)) for path in roots]
        if (own := development_root()) is not None:
            self._roots.append(Root(OWN_ROOT, _pem(own), trusted=False))

    def __call__(self, uri: str) -> FileVerdict:
        """What a file is. Never raises for what is in it."""
        shown = storage.redact(uri)
        try:
            with temporary_folder("verify") as folder:
                return self._looked_at(shown, self._here(uri, folder))
        except Problem as problem:
            return FileVerdict(file=shown, error=problem.error, remedy=problem.remedy)
        except OSError as error:
            fault = storage_fault(error) or (f"{type(error).__name__}: {error}", "see that it can be read")
            return FileVerdict(file=shown, error=storage.redact_text(fault[0]), remedy=fault[1])

    def files(self, named: Iterable[str], say: Say) -> Iterator[str]:
        """The files that are meant by files, folders and URIs: of a folder, films and pictures in it and below.

        Raises `WrongUsage` for one that is not there, or lies where nothing may be read.
        """
        for one in named:
            uri = storage.resolve(one, os.getcwd())
            self._require_allowed(uri)
            if not storage.is_folder(uri):
                if not storage.exists(uri):
                    raise WrongUsage(f"{storage.redact(one)} does not exist", "name files or folders that are there")
                yield uri
                continue
            names = sorted(storage.listing(uri, recursive=True))
            looked = [name for name in names if name.lower().endswith((*FILMS, *PICTURES))]
            if passed := len(names) - len(looked):
                say(f"{storage.redact(uri)}: {passed} files are neither films nor pictures, and are passed over")
            yield from (storage.join(uri, name) for name in looked)

    def _require_allowed(self, uri: str) -> None:
        """Raise `WrongUsage` for a place in a store that nothing may be read from; what is local, its owner named."""
        try:
            if not storage.is_local(uri):
                self._allowed.check(uri, "file")
        except Rejected as rejected:
            raise WrongUsage(rejected.error, rejected.remedy) from None

    def _here(self, uri: str, folder: Path) -> Path:
        local = storage.local_path(uri)
        return local if local is not None else storage.fetch(uri, folder, self._config.limits.bytes)

    def _looked_at(self, shown: str, file: Path) -> FileVerdict:
        held = HeldFile(file)
        try:
            said = self._judged(read_credentials(held, [root.pem for root in self._roots], self._limits))
        except (Rejected, Fault) as error:
            said = CredentialsVerdict(state="unreadable", problems=(_last_line(error),))
        named = said.watermark if said.watermark_algorithm == self._method.algorithm else None
        return FileVerdict(file=shown, credentials=said, watermark=self._mark(held, named))

    def _mark(self, held: HeldFile, named: str | None) -> WatermarkVerdict:
        """What the pictures carry; `named` is the id that the credentials name."""
        try:
            finding = self._method.detect(_pictures(held, self._limits))
        except (Rejected, Fault) as error:
            return WatermarkVerdict(found=False, unseen=_last_line(error))
        identity = None if finding.id is None else written(finding.id)
        made = self._films.get(identity or "")
        return WatermarkVerdict(
            found=finding.found,
            confidence=finding.confidence,
            id=identity,
            mirrored=finding.mirrored,
            public_key=self._config.provenance.watermark.key is None,
            agrees=identity == named if identity and named else None,
            clip=made and made[0],
            film=made and made[1],
        )

    def _judged(self, said: CredentialsVerdict) -> CredentialsVerdict:
        """With the root by its name, and whether that is one to trust."""
        root = None if said.root is None else self._roots[int(said.root)]
        trusted = root is not None and root.trusted and said.state == "untrusted"
        named = {"root": root and root.name, "development": said.signer == NAME}
        return said.model_copy(update={**named, **({"state": "trusted"} if trusted else {})})


def _pictures(held: HeldFile, limits: Limits) -> Iterator[np.ndarray]:
    """The picture of a file, or some of its film, by its first bytes. Raises `Rejected`."""
    if (kind_of(held.path) or "").startswith("image/"):
        yield read_image(held, limits)
    else:
        film = Frames(held, limits)
        yield from film.read(frames_to_look_at(min(film.facts.frames, LOOKED_THROUGH)))


def _wider(limits: Limits) -> Limits:
    """Of a film some frames of its beginning are decoded: it may be longer and larger than one that drives a clip."""
    least = {"frames": 2_000_000, "seconds": 12 * 3600.0, "frame_pixels": 8192 * 4320}
    return limits.model_copy(update={name: max(value, getattr(limits, name)) for name, value in least.items()})


def _last_line(error: Exception) -> str:
    """What is wrong, without the traceback of a `Fault`."""
    said = error.error if isinstance(error, Problem) else str(error).strip().rpartition("\n")[2]
    return visible(said)[:LONGEST_TEXT]


def _films_of(output: str) -> dict[str, tuple[str, str]]:
    """Clip id and URI of every film in an output folder, by the id that its pictures carry.

    One that lies in several places is named where it is published; the URI tells where it was withdrawn or set aside.
    """
    found: dict[str, tuple[str, str]] = {}
    for folder in places(OutputLayout(output)).values():
        for name in storage.listing(folder):
            clip_id, _, key = name.removesuffix(".mp4").rpartition(".")
            if name.endswith(".mp4") and clip_id and re.fullmatch("[0-9a-f]{16,}", key):
                found.setdefault(written(identity_of(key)), (clip_id, storage.redact(storage.join(folder, name))))
    return found


def as_wanted(verdict: FileVerdict, trust: bool) -> bool:
    """Whether a file is Catwalk's by credentials that hold or by the mark; for `trust`, signed under a given root."""
    trusted = verdict.credentials is not None and verdict.credentials.state == "trusted"
    return verdict.summary in ("ours", "marked") and (trusted or not trust)


def _pem(path: Path) -> str:
    from cryptography import x509

    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        text = ""
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise WrongUsage(
            f"root {path}: there is no certificate as PEM", "name a PEM file of the root to trust"
        ) from None
    return text
