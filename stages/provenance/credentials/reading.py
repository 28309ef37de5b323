"""What a file's credentials say, and whether they hold: for the reading processes of the sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.provenance.credentials.claims import FILM, GENERATOR

# Nothing that a file names is fetched.
OFFLINE: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}}
UNTRUSTED = "signingCredential.untrusted"
_LONGEST, _MOST_PROBLEMS = 200, 20
# By their first bytes: names may say anything.
_KINDS = [(0, b"\xff\xd8\xff", "image/jpeg"), (0, b"\x89PNG", "image/png"), (8, b"WEBP", "image/webp")]
_KINDS += [(4, b"ftyp", "video/mp4"), (8, b"AVI ", "video/avi")]
_KINDS += [(0, b"II*\0", "image/tiff"), (0, b"MM\0*", "image/tiff")]


def read_credentials(path: Path, roots: Sequence[str]) -> dict[str, Any]:
    """Fields of `CredentialsVerdict`; `root` is the number of the first of `roots` (PEM) that the signer comes from."""
    from c2pa import C2paError

    if (kind := kind_of(path)) is None:
        return {"state": "none"}
    try:
        state, found = _read(path, kind, None)
    except C2paError.ManifestNotFound:
        return {"state": "none"}
    except C2paError as error:
        return {"state": "invalid", "problems": [_printable(str(error))]}
    root = None
    if state == "Valid":
        trusted = (number for number, pem in enumerate(roots) if _read(path, kind, pem)[0] == "Trusted")
        root = next(trusted, None)
    return {**_said(found), "state": _STATES[state], "root": root}


def kind_of(path: Path) -> str | None:
    """The kind of file that may carry credentials, by its first bytes; None for another."""
    with path.open("rb") as file:
        head = file.read(12)
    return next((kind for at, mark, kind in _KINDS if head[at : at + len(mark)] == mark), None)


_STATES = {"Valid": "untrusted", "Trusted": "untrusted", "Invalid": "invalid"}  # whose root it is, the caller knows


def _read(path: Path, kind: str, root: str | None) -> tuple[str, dict[str, Any]]:
    from c2pa import Context, Reader, Settings

    settings = OFFLINE if root is None else {**OFFLINE, "trust": {"user_anchors": root}}
    with (
        path.open("rb") as file,
        Context(Settings.from_dict(settings)) as context,
        Reader(kind, file, context=context) as reader,
    ):
        return str(reader.get_validation_state()), json.loads(reader.json())


def _said(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the active manifest says; whatever has another form than ours is left out."""
    manifest = found.get("manifests", {}).get(found.get("active_manifest"), {})
    signer = manifest.get("signature_info") or {}
    software = (manifest.get("claim_generator_info") or [{}])[0]
    assertions = {one.get("label"): one.get("data") for one in manifest.get("assertions") or ()}
    film = assertions.get(FILM)
    blocks = (assertions.get("c2pa.soft-binding") or {}).get("blocks") or [{}]
    problems = {one.get("code", "") for one in found.get("validation_status") or ()} - {UNTRUSTED}
    said = {
        "signer": signer.get("common_name"),
        "organisation": signer.get("issuer"),
        "generator": " ".join(str(software[name]) for name in ("name", "version") if software.get(name)),
        "animator": film.get("animator") if isinstance(film, dict) else None,
        "watermark": blocks[0].get("value"),
    }
    told = {name: _printable(value) for name, value in said.items() if isinstance(value, str) and value}
    ours = software.get("name") == GENERATOR and isinstance(film, dict)
    return {**told, "ours": ours, "problems": sorted(map(_printable, problems))[:_MOST_PROBLEMS]}


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_LONGEST]
