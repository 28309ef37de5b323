"""Whether a row may be made and shown, by the records as they are now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from typing import NamedTuple

from manifests import storage
from manifests.consent.consents import Consents, Named
from manifests.consent.record import ANY, ROLES, ConsentRecord, Role
from manifests.consent.records_file import read_records
from manifests.consent.settings import ConsentSettings
from manifests.errors import Problem, Rejected
from manifests.field_error import closest
from manifests.storage import Stamp

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0  # between looks at the records' file, where a row is only looked ahead at


class Fault(NamedTuple):
    """Why a person's consent does not hold, and what to do about it."""

    error: str
    remedy: str


def utc_today() -> date:
    """The day it is in UTC, by which records begin and end."""
    return datetime.now(UTC).date()


class Register:
    """The consent records of a run. Their file is looked at again and again: they may be revoked at any moment."""

    def __init__(self, settings: ConsentSettings, today: Callable[[], date] = utc_today) -> None:
        self.settings = settings
        self._today = today
        self._known: tuple[Stamp, dict[str, ConsentRecord]] | None = None
        self._looked = 0.0

    def records(self, now: bool = False) -> Mapping[str, ConsentRecord]:
        """All records by id; `now` looks at the file whenever it was looked at last. Raises `Problem`."""
        uri, moment = self.settings.records or "", time.monotonic()
        if self._known is None or now or moment - self._looked >= LOOK_SECONDS:
            try:
                stamp = storage.stamp(uri)
            except FileNotFoundError:
                raise Problem(
                    f"consent records {storage.redact(uri)}: there is no such file", "put them back"
                ) from None
            if self._known is None or self._known[0] != stamp:
                self._known = stamp, read_records(uri)
            self._looked = moment
        return self._known[1]

    def consents(self, given: Mapping[Role, str | None], needed: Collection[Role], now: bool = False) -> Consents:
        """What a row is made under, that names these records and shows, or moves like, the people that are `needed`.

        Raises `Rejected` where consents are required and one does not hold, `Problem` where they cannot be looked at.
        """
        named = {role: Named(id=name) for role, name in given.items() if name}
        if not self.settings.looks:
            return Consents(**named)
        try:
            records = self.records(now)
        except Exception as error:  # of the store, too
            if self.settings.mode == "required":
                raise
            log.warning("consents are recorded without a look at them: %s", error)
            return Consents(**named, missing=("the consent records could not be looked at",))
        faults: list[Fault] = []
        for role in (role for role in ROLES if role in named or role in needed):
            name = given.get(role)
            if name is not None and name in records:
                named[role] = Named(id=name, digest=records[name].digest)
            faults += self._faults(role, name, records)
        if faults and self.settings.mode == "required":
            errors, remedies = zip(*faults, strict=True)
            raise Rejected("; ".join(errors), "; ".join(dict.fromkeys(remedies)))
        return Consents(**named, missing=tuple(fault.error for fault in faults))

    def _faults(self, role: Role, name: str | None, records: Mapping[str, ConsentRecord]) -> list[Fault]:
        field = f"{role}_consent"
        if name is None:
            whom = "the person of the reference image" if role == "likeness" else "the person of the driving file"
            return [Fault(f"{field}: names no consent of {whom}", f"fill in {field}, the id of a record")]
        if name not in records:
            near = closest(name, records)
            hint = f"did you mean {near!r}?" if near else f"add the record to consent.records, or correct {field}"
            return [Fault(f"{field} {name!r}: there is no such record", hint)]
        found = faults_of(records[name], role, self.settings, self._today())
        return [Fault(f"{field} {name!r}: {error}", remedy) for error, remedy in found]


def faults_of(record: ConsentRecord, role: Role, use: ConsentSettings, day: date) -> list[Fault]:
    """Every reason why a record does not cover a person's `role` in films for that use, made on that day."""
    faults = []
    if not record.serves(role):
        error = f"was given for a {record.role}, not for a {role}"
        faults.append(Fault(error, f"name a record that the person gave as a {role}"))
    if record.revoked_by(day):
        when = "" if record.revoked is True else f" on {record.revoked}"
        faults.append(Fault(f"was revoked{when}", "make no film under it: take the row out, or name another record"))
    if day < record.starts:
        faults.append(Fault(f"holds from {record.starts} on, it is {day}", "wait for that day, or name another record"))
    if record.ends is not None and day > record.ends:
        faults.append(Fault(f"held until {record.ends}, it is {day}", "have it renewed, and name the new record"))
    if record.minor and record.guardian_document is None:
        error = "is a minor's, without the consent of a guardian"
        faults.append(Fault(error, "fill in the record's guardian_document"))
    wanted = (("brand", [use.brand] if use.brand else [], record.brands),
              ("channel", use.channels, record.channels),
              ("territory", use.territories, record.territories))  # fmt: skip
    for what, asked, given in wanted:
        if not asked:
            plural = {"brand": "brand", "channel": "channels", "territory": "territories"}[what]
            faults.append(Fault(f"the run does not say for which {what}", f"set consent.{plural}"))
        if outside := [one for one in asked if not _covers(given, one)]:
            error = f"does not cover {what} {', '.join(map(repr, outside))}, only {', '.join(given[:8])}"
            faults.append(Fault(error, f"have it extended, or make these films without that {what}"))
    return faults


def _covers(given: Collection[str], name: str) -> bool:
    """Case is an accident of typing."""
    return ANY in given or name.strip().casefold() in {one.casefold() for one in given}
