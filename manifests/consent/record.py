"""A consent record: one person's agreement, as a compliance team files it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from manifests import cell
from manifests.errors import WrongUsage
from manifests.field_error import FieldError, choose, shown

Role = Literal["likeness", "performer"]
ROLES: tuple[Role, ...] = ("likeness", "performer")
ANY = "*"
LONGEST_ID = 128
MOST_NAMES = 300  # of brands, channels or territories of one record

_DIGEST = re.compile("[0-9a-f]{64}")


def _fault(error: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("consent", "{error}", {"error": error, "remedy": remedy})


def consent_id(value: Any) -> str:
    """An id of a record, of 1 to 128 visible characters without blanks. Raises an error with its remedy."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not (
        isinstance(text, str) and 1 <= len(text) <= LONGEST_ID and text.isprintable() and not re.search(r"\s", text)
    ):
        raise _fault("is no id of a consent record", f"use 1 to {LONGEST_ID} visible characters without blanks")
    return text


def named_consent(name: str) -> str:
    """The id of a record that somebody gave to a command. Raises `WrongUsage` for what is none."""
    try:
        return consent_id(name)
    except PydanticCustomError as wrong:
        raise WrongUsage(f"consent {shown(name)}: {wrong.message()}", str((wrong.context or {})["remedy"])) from None


def day_of(value: Any) -> date:
    """A day from a date, a moment (its day in UTC) or either as ISO text. Raises an error with its remedy."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == len("2027-03-31") else datetime.fromisoformat(value)
        except ValueError:
            raise _fault("is not a day", "write a day as 2027-03-31; days are UTC") from None
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).date()
    if isinstance(value, date):
        return value
    raise _fault("is not a day", "write a day as 2027-03-31; days are UTC")


def _revoked(value: Any) -> date | Literal[True] | None:
    if isinstance(value, bool):
        return value or None
    return day_of(value)


def _digest(value: Any) -> str:
    if not (isinstance(value, str) and _DIGEST.fullmatch(value.lower())):
        raise _fault("is not a SHA-256 digest", "write the 64 hex digits that `sha256sum` prints of the document")
    return value.lower()


def names(value: Any) -> tuple[str, ...]:
    """One name or a list of them, blanks around them dropped. Raises an error with its remedy."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise _fault("is not a list of names", f'write a list of names, or "{ANY}" for all')
    stripped = tuple(dict.fromkeys(one.strip() for one in given))
    if not stripped or not all(stripped):
        raise _fault("names nothing", f'write a list of names, or "{ANY}" for all')
    if len(stripped) > MOST_NAMES or any(len(one) > LONGEST_ID for one in stripped):
        raise _fault("is too long", f"write {MOST_NAMES} names at most, of {LONGEST_ID} characters at most")
    return stripped


ConsentId = Annotated[str, BeforeValidator(consent_id)]
Names = Annotated[tuple[str, ...], BeforeValidator(names)]
Day = Annotated[date, BeforeValidator(day_of)]
Digest = Annotated[str, BeforeValidator(_digest)]


class ConsentRecord(BaseModel):
    """What one person agreed to. Days are UTC; the first and the last one count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ConsentId = Field(description="name of the record, as rows of manifests give it")
    subject: Annotated[str, AfterValidator(str.strip)] = Field(
        min_length=1, max_length=256, description="who agreed: rather an id of your own than a name"
    )
    role: Literal["likeness", "performer", "both"] = Field(
        description="likeness: to be shown; performer: to have their movement used"
    )
    brands: Names = Field(description="for whom, or *")
    channels: Names = Field(description="where it may be shown: web, social, print, …, or *")
    territories: Names = Field(description="in which countries: DE, FR, …, or *")
    starts: Day = Field(description="first day")
    ends: Day | None = Field(None, description="last day; left out, without end")
    revoked: Annotated[date | Literal[True] | None, BeforeValidator(_revoked)] = Field(
        None, description="day from which it no longer holds, or true"
    )
    minor: StrictBool = Field(description="whether the person was a minor when the document was signed")
    guardian_document: Digest | None = Field(None, description="SHA-256 of the guardian's consent, of a minor")
    document: Digest = Field(description="SHA-256 of the signed document")

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_absent(cls, given: Any) -> Any:
        """A null says nothing: every row of a table has all of its columns."""
        if not isinstance(given, dict):
            return given
        return {
            name: value for name, value in given.items() if isinstance(value, list | tuple) or not cell.is_null(value)
        }

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.ends is not None and self.ends < self.starts:
            raise _fault(f"{self.ends} is before it starts, {self.starts}", "correct starts or ends")
        return self

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of what was agreed: of all fields but `revoked`, in whatever file and order they stand."""
        # without what it leaves open, so that a field that comes later changes no record
        terms = self.model_dump(mode="json", exclude={"revoked"}, exclude_defaults=True)
        text = json.dumps(terms, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def revoked_by(self, day: date) -> bool:
        """Whether it no longer holds on that day, as it was revoked."""
        return self.revoked is True or (self.revoked is not None and self.revoked <= day)

    def serves(self, role: Role) -> bool:
        """Whether it was given for that."""
        return self.role in (role, "both")


def parse_record(fields: Any) -> tuple[ConsentRecord | None, list[FieldError]]:
    """The record in a row of a table or an object of JSON, or everything that is wrong with it."""
    if not isinstance(fields, dict):
        return None, [FieldError("record", shown(fields), "is not a record", "write an object with its fields")]
    try:
        return ConsentRecord.model_validate(fields), []
    except ValidationError as wrong:
        return None, [_in_words(error) for error in wrong.errors(include_url=False)]


def _in_words(raised: Any) -> FieldError:
    field = str(raised["loc"][0]) if raised["loc"] else "ends"
    fields, context = ConsentRecord.model_fields, raised.get("ctx", {})
    if raised["type"] == "missing":
        return FieldError(field, "", "is missing", f"fill it in: {fields[field].description}")
    if raised["type"] == "extra_forbidden":
        # not passed over: a misspelt `revoked` would be a consent that never ends
        return FieldError(field, shown(raised["input"]), "is not a field of a consent record", choose(field, fields))
    value = shown(raised["input"]) if raised["loc"] else ""
    if raised["type"] == "literal_error":
        return FieldError(field, value, "is not a known choice", choose(str(raised["input"]), _choices(field)))
    return FieldError(field, value, str(raised["msg"]), context.get("remedy") or f"give {fields[field].description}")


def _choices(field: str) -> Sequence[str]:
    return ("likeness", "performer", "both") if field == "role" else ()
