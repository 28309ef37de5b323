"""Local copies of the estimators' weights: a file that is elsewhere is fetched once per node, not once per worker."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from manifests import storage
from manifests.errors import Problem
from stages.poses.people_nets import BODY, FULL, NETS, installed
from stages.poses.recipes import PeopleSettings, remedy_for

WEIGHTS = Path(tempfile.gettempdir()) / "catwalk"  # local copies of remote weights, kept between rows


def local_file(uri: str, scratch: Path) -> Path:
    """The file itself if it is local, else a download kept in `scratch` as long as the file there stays the same.

    Raises `FileNotFoundError` if there is none.
    """
    state = storage.stamp(uri)
    if (local := storage.local_path(uri)) is not None:
        return local
    suffix = Path(storage.name(storage.redact(uri))).suffix
    kept = scratch / "estimators" / f"{storage.sha256_text(json.dumps([uri, *state]))[:32]}{suffix}"
    if not kept.exists() or kept.stat().st_size != state.size:  # a machine that lost its power
        storage.fetch(uri, kept.parent, None).replace(kept)
    return kept


def local_people(settings: PeopleSettings, scratch: Path) -> tuple[Path, Path]:
    """A local folder of MediaPipe's nets, byte for byte the published ones, and the file of the body net.

    Raises `Problem` for a net that is not there, or is another.
    """
    folder, names = installed(settings.folder), [name for name in NETS if name != BODY or settings.body == FULL]
    try:
        nets = {name: _published(storage.join(folder, name), scratch / "estimators" / "people") for name in names}
        body = nets[BODY] if settings.body == FULL else local_file(settings.body, scratch)
    except FileNotFoundError as gone:
        raise Problem(f"estimator people: {gone}", remedy_for("people")) from None
    return nets[names[0]].parent, body


def _published(uri: str, copies: Path) -> Path:
    """The net itself or its copy in `copies`; raises `Problem` if its bytes are not those of MediaPipe's wheel."""
    digest = NETS[storage.name(uri)].digest
    path = storage.local_path(uri) or copies / storage.name(uri)
    if path.exists() and storage.sha256_file(path) == digest:
        return path
    fetched = storage.fetch(uri, copies, None)  # the very file where it is local
    if storage.sha256_file(fetched) != digest:
        if fetched != path:
            fetched.unlink()
        raise Problem(f"estimator people: {storage.redact(uri)} is not the published file", remedy_for("people"))
    return fetched.replace(path)
