"""What is said of a file by those who look for Catwalk's two marks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Summary = Literal["ours", "marked", "not ours", "changed", "contradictory", "unreadable"]


class CredentialsVerdict(BaseModel):
    """The first layer: signed metadata.

    state: `none` there are none; `trusted` the file is as it was signed, by a certificate from a root that was given;
    `untrusted` it is as it was signed, and nobody vouches for who signed; `expired` the same, by a certificate whose
    term has ended since, so that anybody who got hold of its key may have signed it; `invalid` it is not as it was
    signed; `unreadable` whoever read them was stopped by them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Literal["none", "trusted", "untrusted", "expired", "invalid", "unreadable"]
    root: str | None = None  # that the certificate comes from: a file, or this machine's development root
    signer: str | None = None  # common name in the certificate
    organisation: str | None = None
    development: bool = False  # whether the certificate calls itself one for development
    generator: str | None = None  # the software that made the file, "Catwalk 0.1.0"
    ours: bool = False  # whether they say that Catwalk made it
    animator: str | None = None
    watermark: str | None = None  # the id that the pictures carry, hex
    watermark_algorithm: str | None = None  # by which it is found in them
    problems: tuple[str, ...] = ()  # codes of C2PA

    def line(self) -> str:
        """In words."""
        if self.state == "none":
            return "no credentials"
        if self.state == "invalid":
            return f"the signature does not hold: changed since, or damaged ({', '.join(self.problems) or 'unknown'})"
        if self.state == "unreadable":
            return f"they cannot be read ({', '.join(self.problems)})"
        if self.state == "expired":
            who = f"unchanged since it was signed by {self.signer!r}, whose certificate has expired since"
        elif self.state == "trusted":
            who = f"signed by {self.signer!r}, trusted under root {self.root}"
        elif self.development:
            whose = f" ({self.root})" if self.root else ""
            who = f"unchanged since it was signed with a development certificate{whose}, which proves nobody's identity"
        else:
            who = f"unchanged since it was signed by {self.signer!r}, whose root is none that was given"
        made = f"made by {self.generator}" + (f" with {self.animator}" if self.animator else "")
        return f"{who}; {made}" + ("" if self.ours else ", not by Catwalk")


class WatermarkVerdict(BaseModel):
    """The second layer: the mark in the pictures."""

    model_config = ConfigDict(frozen=True)

    found: bool
    unseen: str | None = None  # why the pictures could not be looked at
    confidence: float = 0.0  # 0…1: one less a bound of the chance that pictures without the mark read so
    id: str | None = None  # hex, where it can be read
    mirrored: bool = False
    agrees: bool | None = None  # whether it is the id that the credentials name, where they name one
    public_key: bool = False  # whether it was looked for with the key that everybody knows, so that anyone can make it
    clip: str | None = None  # id of the row whose film carries it, of those in the folders that were named
    film: str | None = None  # where that one lies

    def line(self) -> str:
        """In words."""
        if self.unseen is not None:
            return f"the pictures could not be looked at: {self.unseen}"
        if not self.found:
            return "not found"
        said = f"found, confidence {self.confidence:.6g}, id {self.id or 'not readable'}"
        said += ", mirrored" if self.mirrored else ""
        said += ", with the key that everybody knows" if self.public_key else ""
        said += f", of clip {self.clip!r} ({self.film})" if self.clip else ""
        if self.agrees is None:
            return said
        return said + (", as the credentials say" if self.agrees else ", not the one in the credentials")


class FileVerdict(BaseModel):
    """What a file is; `error` and `remedy` where it could not be looked at."""

    model_config = ConfigDict(frozen=True)

    file: str
    credentials: CredentialsVerdict | None = None
    watermark: WatermarkVerdict | None = None
    error: str | None = None
    remedy: str | None = None

    @property
    def summary(self) -> Summary:
        """The file in a word or two.

        `marked`: it carries the mark, which anybody can make whose key everybody knows, and no credentials of ours;
        `contradictory`: the mark is of another film than the one that the credentials speak of.
        """
        signed, mark = self.credentials, self.watermark
        if signed is None or mark is None or signed.state == "unreadable":
            return "unreadable"
        if signed.state == "invalid":
            return "changed"
        if mark.agrees is False:
            return "contradictory"
        if signed.ours:
            return "ours"
        if mark.found:
            return "marked" if mark.public_key else "ours"
        return "unreadable" if signed.state == "none" and mark.unseen is not None else "not ours"

    def lines(self) -> list[str]:
        """In words."""
        if self.credentials is None:
            return [f"{self.file}: {self.error}", f"  → {self.remedy}"]
        said = [f"{self.file}: {self.summary}", f"  credentials: {self.credentials.line()}"]
        return said + ([f"  watermark: {self.watermark.line()}"] if self.watermark else [])
