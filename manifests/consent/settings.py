"""What a run wants of consents: whether they are looked at, in which records, and for what its films are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from manifests.consent.record import ANY, names

Said = Annotated[tuple[str, ...], BeforeValidator(lambda value: names(value) if value else ())]


class ConsentSettings(BaseModel):
    """The section `consent` of a configuration. `off` is the default: whoever films people with their leave says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["off", "recorded", "required"] = Field(
        "off",
        description="required: no film without valid records; recorded: results say what is missing; off: nobody looks",
    )
    records: str | None = Field(None, description="file of consent records, .json, .jsonl or .parquet: a path or URI")
    brand: str | None = Field(None, min_length=1, description="whose films these are")
    channels: Said = Field((), description="where they are to be shown: [web, social], …")
    territories: Said = Field((), description="in which countries: [DE, FR], …")

    @model_validator(mode="before")
    @classmethod
    def _off_is_no_number(cls, given: Any) -> Any:
        """A plain `off` is false in YAML."""
        if given is False:
            return {}
        if isinstance(given, dict) and given.get("mode") is False:
            return {**given, "mode": "off"}
        return given

    @model_validator(mode="after")
    def _required_says_for_what(self) -> Self:
        if self.mode != "off" and not self.records:
            raise ValueError(f"mode {self.mode} needs `records`, the file that they stand in")
        if self.mode == "required" and (absent := self.unsaid()):
            raise ValueError(f"mode required needs {', '.join(absent)}: what the films are for")
        for name in ("brand", "channels", "territories"):
            value = getattr(self, name)
            if value == ANY or (isinstance(value, tuple) and ANY in value):
                raise ValueError(f"{name}: {ANY} stands in records; say what these films are for")
        return self

    def moved(self, move: Callable[[str], str]) -> Self:
        """The same with the records elsewhere."""
        return self if self.records is None else self.model_copy(update={"records": move(self.records)})

    def unsaid(self) -> list[str]:
        """What of the films' use is not told."""
        return [name for name in ("brand", "channels", "territories") if not getattr(self, name)]

    @property
    def looks(self) -> bool:
        """Whether records are looked at."""
        return self.mode != "off"
