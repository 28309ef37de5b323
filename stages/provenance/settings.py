"""How films are marked: a section of the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ENVIRONMENT = "env:"  # before the name of a variable


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def place_named(value: str | None) -> str | None:
    """The name of a place that holds a secret. Raises ValueError for what may be the secret itself, and keeps it."""
    if value is not None and not _is_place(value):
        remedy = "name a file or env:NAME; a file by a path, such as ./key or key.pem"
        raise ValueError(f"{remedy}: what stands in a configuration is copied into records")
    return value


def _is_place(value: str) -> bool:
    if value.startswith(ENVIRONMENT):
        return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value.removeprefix(ENVIRONMENT)) is not None
    if "-----" in value or "\n" in value:
        return False
    if re.match(r"[/~.]|[A-Za-z]:[/\\]|[a-z0-9+]+://", value):
        return True
    mixed = all(re.search(kind, value) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    if re.fullmatch(r"[A-Za-z0-9+/_-]{16,}={0,2}", value) and (value.endswith("=") or (mixed and len(value) >= 40)):
        return False  # Base64, which has slashes too
    return "/" in value or re.search(r"\.[A-Za-z][A-Za-z0-9]{0,7}$", value) is not None or Path(value).is_file()


class Credentials(_Section):
    """Whether films are signed, and by whom. Keys are named, never written here."""

    sign: bool = Field(True, description="false: films carry no content credentials, and every result says so")
    certificate: str | None = Field(
        None,
        description="PEM of the signing certificate and those above it: a file, or env:NAME of a variable; "
        "left out, a development certificate, which nobody trusts",
    )
    private_key: str | None = Field(None, description="PEM of its private key: a file, or env:NAME, on every worker")
    signer: str | None = Field(
        None, description="instead of private_key: my_package.vault:sign, which signs bytes with a key that it keeps"
    )
    sku: str | None = Field(
        None, description="field of a row's metadata that credentials name as SKU; left out, they name none"
    )
    input_credentials: bool = Field(
        True, description="credentials that a reference image carries go on in the film's; false: its hash alone"
    )

    @field_validator("certificate", "private_key")
    @classmethod
    def _names_a_place(cls, value: str | None) -> str | None:
        return place_named(value)

    @property
    def development(self) -> bool:
        """Whether films are signed with a development certificate."""
        return self.sign and self.certificate is None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        keys = [name for name in ("private_key", "signer") if getattr(self, name) is not None]
        if self.certificate is None and keys:
            raise ValueError(f"{keys[0]} is given without a certificate")
        if self.certificate is not None and len(keys) != 1:
            raise ValueError("a certificate needs either private_key or signer")
        return self


class Watermark(_Section):
    """The mark in the pictures, and the key that it is drawn from."""

    mark: bool = Field(True, description="false: films carry no watermark, and every result says so")
    key: str | None = Field(
        None,
        description="secret that the mark is drawn from: a file, or env:NAME, on every worker; left out, one that "
        "everybody knows, so that anyone can find the mark, forge it and remove it",
    )
    method: str = Field("spread_spectrum", description="way of marking, or one's own: my_package.module:Class")
    strength: float = Field(1.0, ge=0.5, le=4, description="how strong, over the method's own default")

    @field_validator("key")
    @classmethod
    def _names_a_place(cls, value: str | None) -> str | None:
        return place_named(value)


class Provenance(_Section):
    """What films carry about how they were made."""

    credentials: Credentials = Credentials()
    watermark: Watermark = Watermark()

    def moved(self, place: Callable[[str], str]) -> Self:
        """The same with files at what `place` makes of their paths."""

        def placed(section: BaseModel, *names: str) -> dict[str, str]:
            named = {name: getattr(section, name) for name in names}
            return {name: place(path) for name, path in named.items() if path and not path.startswith(ENVIRONMENT)}

        credentials = self.credentials.model_copy(update=placed(self.credentials, "certificate", "private_key"))
        watermark = self.watermark.model_copy(update=placed(self.watermark, "key"))
        return self.model_copy(update={"credentials": credentials, "watermark": watermark})
