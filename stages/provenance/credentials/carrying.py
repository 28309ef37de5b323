"""Credentials that a reference image carries, which the film's go on with: who took it, with what, what was edited.

They travel as an archive of C2PA's library, an ingredient with all that stands behind it.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

from stages.provenance.credentials.claims import REFERENCE, ingredient
from stages.provenance.credentials.reading import OFFLINE, kind_of
from stages.provenance.facts import Input

LONGEST = 4 * 2**20  # bytes: pictures of each step of an edit may be in there
BUILDING = {"verify": {**OFFLINE["verify"], "verify_after_sign": False}, "builder": {"thumbnail": {"enabled": False}}}
_NOTHING = json.dumps({"claim_generator_info": [{"name": "none", "version": "0"}]})


def carried_in_image(image: Path, digest: str) -> bytes | None:
    """Those of an image, whether they hold or not; None where it has none, or none that can be carried on.

    For the reading processes of the sandbox.
    """
    from c2pa import Builder, C2paError, Context, Reader, Settings

    if (kind := kind_of(image)) is None:
        return None
    carried = json.dumps(ingredient(Input(role="reference", digest=digest), whole=True))
    try:
        with Context(Settings.from_dict(BUILDING)) as context, Builder(_NOTHING, context) as builder:
            with image.open("rb") as file, Reader(kind, file, context=context):
                pass
            with image.open("rb") as file:
                builder.add_ingredient(carried, kind, file)
            return _archived(builder)
    except C2paError:
        return None


def carried_in_film(film: Path) -> bytes | None:
    """Those of the reference that a signed film's go on with; None where there are none, or none that can be read."""
    from c2pa import Builder, C2paError, Context, Reader, Settings

    try:
        with Context(Settings.from_dict(BUILDING)) as context:
            with film.open("rb") as file, Reader("video/mp4", file, context=context) as reader:
                ingredients = (reader.get_active_manifest() or {}).get("ingredients") or ()
                found = next((one for one in ingredients if one.get("manifest_data")), None)
                if found is None:
                    return None
                name, store = found["manifest_data"]["identifier"], BytesIO()
                reader.resource_to_stream(name, store)
            again = json.dumps({**json.loads(_NOTHING), "ingredients": [{**found, "label": REFERENCE}]})
            with Builder(again, context) as builder:
                builder.add_resource(name, BytesIO(store.getvalue()))
                return _archived(builder)
    except C2paError:
        return None


def _archived(builder: object) -> bytes:
    archive = BytesIO()
    builder.write_ingredient_archive(REFERENCE, archive)  # type: ignore[attr-defined]
    return archive.getvalue()
