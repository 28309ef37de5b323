"""What a file's credentials say, and whether they hold: for the reading processes of the sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.provenance.credentials.claims import FILM, GENERATOR

# Nothing that a file names is fetched.
OFFLINE: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}}
UNTRUSTED, EXPIRED = "signingCredential.untrusted", "signingCredential.expired"
_LONGEST, _MOST_PROBLEMS = 200, 20
# By their first bytes: names may say anything.
_KINDS = [(0, b"\xff\xd8\xff", "image/jpeg"), (0, b"\x89PNG", "image/png"), (8, b"WEBP", "image/webp")]
_KINDS += [(4, b"ftyp", "video/mp4"), (8, b"AVI ", "video/avi")]
_KINDS += [(0, b"II*\0", "image/tiff"), (0, b"MM\0*", "image/tiff")]


def read_credentials(path: Path, roots: Sequence[str]) -> dict[str, Any]:
    """Fields of `CredentialsVerdict`; `root` is the number of the first of `roots` (PEM) that the signer comes from.

    Whoever signs writes what they like: whatever cannot be read of it makes the credentials invalid.
    """
    from c2pa import C2paError

    if (kind := kind_of(path)) is None:
        return {"state": "none"}
    try:
        return _judged(path, kind, roots)
    except C2paError.ManifestNotFound:
        return {"state": "none"}
    except (MemoryError, OSError):
        raise
    except Exception as error:
        return {"state": "invalid", "problems": [_printable(str(error)) or type(error).__name__]}


def _judged(path: Path, kind: str, roots: Sequence[str]) -> dict[str, Any]:
    state, found = _read(path, kind, None)
    said = _said(found)
    root = None
    if state == "Valid":
        trusted = (number for number, pem in enumerate(roots) if _read(path, kind, pem)[0] == "Trusted")
        root = next(trusted, None)
    expired = state == "Invalid" and said["problems"] == [EXPIRED]  # all else that C2PA looks at holds
    return {**said, "state": "expired" if expired else _STATES[state], "root": root}


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
    manifest = _object(_object(found.get("manifests")).get(str(found.get("active_manifest"))))
    signer = _object(manifest.get("signature_info"))
    software = _objects(manifest.get("claim_generator_info"))[0]
    assertions = {str(one.get("label")): _object(one.get("data")) for one in _objects(manifest.get("assertions"))}
    film, binding = assertions.get(FILM), assertions.get("c2pa.soft-binding", {})
    problems = {str(one.get("code", "")) for one in _objects(found.get("validation_status"))} - {UNTRUSTED, ""}
    said = {
        "signer": signer.get("common_name"),
        "organisation": signer.get("issuer"),
        "generator": " ".join(
            str(software[name]) for name in ("name", "version") if isinstance(software.get(name), str)
        ),
        "animator": film and film.get("animator"),
        "watermark": _objects(binding.get("blocks"))[0].get("value"),
        "watermark_algorithm": binding.get("alg"),
    }
    told = {name: _printable(value) for name, value in said.items() if isinstance(value, str) and value}
    ours = software.get("name") == GENERATOR and film is not None
    return {**told, "ours": ours, "problems": sorted(map(_printable, problems))[:_MOST_PROBLEMS]}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    """Those of a list; one that is empty where there are none."""
    return [one for one in value if isinstance(one, dict)] or [{}] if isinstance(value, list) else [{}]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_LONGEST]
