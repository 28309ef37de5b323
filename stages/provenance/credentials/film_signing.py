"""Films and posters signed by a run's configuration, and signed again where it changed; never made again for that."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from manifests import storage
from manifests.errors import Problem
from manifests.layout import Film, OutputLayout, signed_key
from manifests.temporary import temporary_folder
from manifests.work import Work
from stages.provenance.credentials.carrying import LONGEST
from stages.provenance.credentials.development import DevelopmentCertificate
from stages.provenance.credentials.signing import DEVELOPMENT, Signing, signing_of
from stages.provenance.facts import film_facts, soft_binding
from stages.provenance.settings import Provenance, Watermark
from stages.provenance.watermark.method import method_of

log = logging.getLogger(__name__)

_NOT_CARRIED = "the credentials that the reference carries could not go on in the film's; its hash alone is in there"
SOON = timedelta(days=30)
UNMARKED = "none"  # is the mark of films whose configuration says so
NOBODY = "nobody"  # signed a film whose configuration says that none is to be


class FilmSigning:
    """The last step before a film is published. Keys are read when the first film asks for them."""

    def __init__(self, provenance: Provenance | None = None, development: DevelopmentCertificate | None = None) -> None:
        """`development` is the run's own, which every worker signs with; without it, this machine's."""
        self._provenance = provenance or Provenance()
        self._development = development

    @cached_property
    def _signing(self) -> Signing | None:
        return signing_of(self._provenance.credentials, self._development)

    def require_possible(self) -> None:
        """Raise `Problem` where films could not be signed; of a development certificate that is known."""
        if self._provenance.credentials.certificate is not None:
            self.tried()
            if (soon := self.ends_soon()) is not None:
                log.warning("%s → %s", *soon)

    def tried(self) -> str:
        """Who signs films, after a picture of one colour was signed. Raises `Problem` where that fails."""
        if self._signing is None:
            return NOBODY
        from PIL import Image

        from stages.provenance.credentials.embedding import sign_file
        from stages.provenance.facts import FilmFacts

        nothing = FilmFacts(film_key="0" * 32, animator="none", mode="none", checkpoint_digest="")
        with temporary_folder("signing") as folder:
            Image.new("RGB", (16, 16)).save(folder / "nothing.jpg")
            sign_file(folder / "nothing.jpg", folder / "signed.jpg", nothing, "0" * 32, "0", self._signing)
        return self._signing.name

    def ends_soon(self) -> tuple[str, str] | None:
        """(what, remedy) where the certificate's term ends within weeks. Raises `Problem` as signing does."""
        if self._signing is None or self._signing.ends - datetime.now(UTC) > SOON:
            return None
        what = f"certificate {self._signing.name!r} ends on {self._signing.ends:%Y-%m-%d}"
        return f"{what}: films that it signed are `expired` then", "bring one that is good for longer"

    def key(self, work: Work, marker: Mapping[str, Any] | None = None) -> str | None:
        """The key of a clip's signed film: its film's, what is stated, and who signs; None where nobody is to.

        Here and below, `marker` is that of a film that is there already.
        """
        credentials = self._provenance.credentials
        if not credentials.sign:
            return None
        identity = DEVELOPMENT
        if credentials.certificate is not None and self._signing is not None:
            identity = self._signing.identity
        if not credentials.input_credentials:
            identity += ", inputs by hash"
        return signed_key(film_facts(work, self._provenance, marker).model_dump(mode="json"), identity)

    def carried(self, work: Work, layout: OutputLayout) -> bytes | None:
        """Credentials of the clip's reference image, which its film's go on with; None where there are none."""
        if not (self._provenance.credentials.input_credentials and work.reference_key):
            return None
        stored = layout.reference_credentials(work.reference_key)
        return storage.read_bytes(stored, LONGEST) if storage.exists(stored) else None

    def signed(
        self,
        work: Work,
        file: Path,
        folder: Path,
        software: str,
        carried: bytes | None = None,
        marker: Mapping[str, Any] | None = None,
        remarks: list[str] | None = None,
    ) -> Path:
        """The file of a film or its poster with credentials, in `folder`; as it is where nobody is to sign.

        `remarks` get a line where those of the reference could not go on with it.
        """
        key = self.key(work, marker)
        if key is None or self._signing is None:
            return file
        from stages.provenance.credentials.embedding import sign_file

        signed = folder / f"signed{file.suffix}"
        signed.unlink(missing_ok=True)
        sign = partial(
            sign_file, file, signed, film_facts(work, self._provenance, marker), key, software, self._signing
        )
        try:
            sign(carried)
        except Problem as problem:
            if carried is None:
                raise
            log.warning("row %d (%s): %s: %s", work.row, work.clip.id, _NOT_CARRIED, problem.error)
            if remarks is not None:
                remarks.append(_NOT_CARRIED)
            sign()
        return signed

    @property
    def marking(self) -> Watermark:
        """How the pictures are marked that the credentials are bound to."""
        return self._provenance.watermark

    def told(self, work: Work, marker: Mapping[str, Any] | None = None) -> dict[str, str | bool | None]:
        """Who signed a film just now, and what mark it carries, as its result says."""
        mark = soft_binding(work, self._provenance)
        return {
            "signed_by": self._signing.name if self._signing else NOBODY,
            "signed_key": self.key(work, marker),
            "watermark": mark.algorithm if mark else UNMARKED,
            "watermark_id": mark.value if mark else None,
            "watermark_sure": _large_enough(work, self._provenance) if mark else None,
        }

    def outdated(self, work: Work, marker: Mapping[str, Any]) -> bool:
        """Whether a finished film is to be signed again: by somebody else, for other facts, or for the first time."""
        key = self.key(work, marker)
        return key is not None and marker.get("signed_key") != key

    def renewed(self, work: Work, source: Film, marker: dict[str, Any], layout: OutputLayout) -> dict[str, Any]:
        """Sign the stored film `source` for this clip and publish it under the clip's id; the marker it has then.

        Raises `Tampered` where film or poster is not as it was signed: signed again, it would count as ours.
        Whoever dies on the way leaves a film that is found whole, and signed again by the next run.
        """
        film = Film(work.clip.id, work.film_key)
        if source.clip_id != film.clip_id:
            (own,) = layout.read_film_markers([film])
            if own is not None and not self.outdated(work, own) and _is_there(layout, film, own):
                return own
        with temporary_folder("signing") as folder:
            signed = []
            for place in (layout.film, layout.poster):
                try:
                    stored = storage.fetch(place(source), folder, None)
                except FileNotFoundError:
                    if place == layout.film:
                        raise
                    continue  # somebody took the poster away
                _require_untouched(stored, place(source), bool(marker.get("signed_key")))
                carried = self._carried_on(work, stored, layout) if place == layout.film else None
                made = self.signed(work, stored, folder, str(marker.get("code") or "0"), carried, marker)
                signed.append((made, place(film)))
            size = signed[0][0].stat().st_size
            if source.clip_id == film.clip_id:
                storage.publish_json({**marker, "signing_bytes": size}, layout.film_marker(film))
            for made, target in signed:
                storage.publish(made, target)
        renewed = {**marker, "film_bytes": size, **self.told(work, marker)}
        renewed.pop("signing_bytes", None)
        storage.publish_json(renewed, layout.film_marker(film))
        return renewed

    def _carried_on(self, work: Work, film: Path, layout: OutputLayout) -> bytes | None:
        """Those of the reference, from the film itself, since caches are cleared."""
        from stages.provenance.credentials.carrying import carried_in_film

        if not self._provenance.credentials.input_credentials:
            return None
        return carried_in_film(film) or self.carried(work, layout)


class Tampered(Problem):
    """A stored film that is not as it was signed. It is made anew."""


def _require_untouched(stored: Path, uri: str, was_signed: bool) -> None:
    """Raise `Tampered` where credentials do not hold, or are gone; whose they are, and their term, do not count."""
    from stages.provenance.credentials.reading import read_credentials

    said = read_credentials(stored, ())
    if said["state"] == "invalid" or (said["state"] == "none" and was_signed):
        what = ", ".join(said.get("problems", ())) or "its credentials are gone"
        raise Tampered(f"{storage.redact(uri)} was changed since it was signed: {what}"[:300], "it is made anew")


def _large_enough(work: Work, provenance: Provenance) -> bool:
    method, clip = method_of(provenance.watermark), work.clip
    return method is not None and min(clip.width or 0, clip.height or 0) >= method.shortest_edge


def whole(marker: Mapping[str, Any], size: int | None) -> bool:
    """Whether a film has the bytes that its marker says, or those it was being signed to when a process died."""
    return size in (marker.get("film_bytes") or size, marker.get("signing_bytes"))


def _is_there(layout: OutputLayout, film: Film, marker: Mapping[str, Any]) -> bool:
    try:
        return whole(marker, storage.stamp(layout.film(film)).size)
    except (FileNotFoundError, Problem):
        return False
