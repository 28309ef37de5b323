"""What is claimed of a film, as a manifest definition of C2PA 2 (c2pa.created, ingredients, soft binding)."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from stages.provenance.facts import FilmFacts, Input

GENERATOR = "Catwalk"
FILM = "catwalk.film"  # the assertion with what no field of C2PA has
# IPTC's word for media made by a trained model
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FORMATS = {".mp4": "video/mp4", ".jpg": "image/jpeg"}
REFERENCE = "reference"  # what an action calls that ingredient
_TITLES = {"reference": "reference image", "driving": "driving file"}


def identity(key: str, suffix: str) -> uuid.UUID:
    """The id of a file's credentials, from the signed film's key: the same whenever they are made."""
    # C2PA takes those of version 4 alone, which are random
    return uuid.UUID(bytes=hashlib.sha256(f"{key}{suffix}".encode()).digest()[:16], version=4)


def definition(facts: FilmFacts, key: str, suffix: str, software: str, carried: bool = False) -> dict[str, Any]:
    """The manifest of the film, or of its poster (`suffix` ".jpg"); `key` is the signed film's.

    `software` is the version that made the film; where the reference's own credentials are `carried` on, it comes as
    an ingredient with them.
    """
    name = identity(key, suffix)
    created = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": {"name": GENERATOR, "version": software},
    }
    if facts.inputs:
        created["parameters"] = {"ingredientIds": [one.role for one in facts.inputs]}
    assertions = [
        ("c2pa.actions.v2", {"actions": [created]}),
        (FILM, facts.model_dump(mode="json", exclude_none=True, exclude={"watermark"})),
    ]
    if facts.watermark is not None:
        blocks = [{"scope": {}, "value": facts.watermark.value}]
        assertions.append(("c2pa.soft-binding", {"alg": facts.watermark.algorithm, "blocks": blocks}))
    return {
        "claim_generator_info": [{"name": GENERATOR, "version": software}],
        "title": f"{facts.film_key}{suffix}",
        "format": FORMATS[suffix],
        "label": f"urn:c2pa:{name}",
        "instance_id": f"xmp:iid:{name}",
        "ingredients": [ingredient(one) for one in facts.inputs if not (carried and one.role == REFERENCE)],
        "assertions": [{"label": label, "data": data, "created": True} for label, data in assertions],
    }


def ingredient(one: Input, whole: bool = False) -> dict[str, Any]:
    """A file that the film was made from; `whole` with the credentials that it carries, else by its hash alone."""
    made = {
        "label": one.role,
        "title": _TITLES[one.role],
        "relationship": "inputTo",
        "instance_id": f"sha256:{one.digest}",
    }
    return made if whole else {**made, "description": "known by its hash alone"}
