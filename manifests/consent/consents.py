"""What a film is made under."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Named(BaseModel):
    """A record that a row names; the digest is of its terms, where they were looked at."""

    model_config = ConfigDict(frozen=True)

    id: str
    digest: str | None = None


class Consents(BaseModel):
    """What a film is made under, and what is missing where that does not stop it."""

    model_config = ConfigDict(frozen=True)

    likeness: Named | None = None
    performer: Named | None = None
    missing: tuple[str, ...] = ()
