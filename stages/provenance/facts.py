"""What a film's credentials state about it, gathered before they are signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from manifests.consent.record import ROLES
from manifests.results import consent_fields
from manifests.work import Work
from stages.provenance.settings import Provenance
from stages.provenance.watermark.method import algorithm_of, identity_of, written


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(_Fact):
    """A file that the film was made from: by its hash, without its name."""

    role: Literal["reference", "driving"]
    digest: str  # hex SHA-256 of its bytes


class ConsentNote(_Fact):
    """A record of consent that the film was made under."""

    role: str  # whose: "likeness" or "performer"
    id: str
    digest: str | None = None  # hex SHA-256 of its terms, where they were looked at


class SoftBinding(_Fact):
    """What finds the credentials again where they were stripped: the id that the pictures carry."""

    algorithm: str  # such as "catwalk.dct.1"
    value: str  # hex


class FilmFacts(_Fact):
    """All that a film's credentials state. Nothing in it is a path, a person's name or a secret."""

    film_key: str
    animator: str
    mode: str
    checkpoint_digest: str
    lora_digest: str | None = None
    inputs: tuple[Input, ...] = ()
    consents: tuple[ConsentNote, ...] = ()
    sku: str | None = None
    watermark: SoftBinding | None = None


def film_facts(work: Work, provenance: Provenance, marker: Mapping[str, Any] | None = None) -> FilmFacts:
    """What the credentials of a clip's film state; the same whenever and wherever it is made.

    Of consents that the row leaves open, what the `marker` of a finished film says counts.
    """
    consents = consent_fields(work, marker)
    files = (("reference", work.reference), ("driving", work.driving))
    sku = work.clip.metadata.get(provenance.credentials.sku) if provenance.credentials.sku else None
    return FilmFacts(
        film_key=work.film_key,
        animator=work.clip.animator,
        mode=work.clip.mode,
        checkpoint_digest=work.checkpoint_digest,
        lora_digest=work.lora and work.lora.digest,
        inputs=tuple(Input(role=role, digest=file.digest) for role, file in files if file is not None),
        consents=tuple(
            ConsentNote(role=role, id=consents[f"{role}_consent"], digest=consents[f"{role}_consent_digest"])
            for role in ROLES
            if consents[f"{role}_consent"]
        ),
        sku=None if sku is None else str(sku),
        watermark=soft_binding(work, provenance),
    )


def soft_binding(work: Work, provenance: Provenance) -> SoftBinding | None:
    """The mark in the pictures of a clip's film; None where films are not marked."""
    algorithm = algorithm_of(provenance.watermark)
    if algorithm is None:
        return None
    return SoftBinding(algorithm=algorithm, value=written(identity_of(work.film_key)))
