"""The mark in the pictures: what it survives, what it leaves as it is, and what is never taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from manifests.errors import Problem, WrongUsage
from stages.provenance.settings import Watermark
from stages.provenance.watermark import detection
from stages.provenance.watermark.detection import FALSE_ALARM
from stages.provenance.watermark.finding import LOOKED_AT, Finding, frames_to_look_at
from stages.provenance.watermark.id_code import CODED_BITS, coded, decoded
from stages.provenance.watermark.key import PUBLIC_KEY, secret
from stages.provenance.watermark.method import algorithm_of, decisive, identity_of, method_of, written
from stages.provenance.watermark.spread_spectrum import SpreadSpectrum
from stages.video.quality.truth import psnr, ssim
from tests.made.attacks import RE_ENCODED, encoded_again, film, frames_of, screenshots
from tests.made.faults import footage

KEY, OTHER = b"a key that only this shop has", b"a key that another shop has"
ID = 0x0123456789ABCDEF


def shown() -> np.ndarray:
    return footage("striped-dress", "dance").film[:20]


@pytest.fixture(scope="module")
def method() -> SpreadSpectrum:
    return SpreadSpectrum(KEY)


@pytest.fixture(scope="module")
def published(method: SpreadSpectrum, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A marked film, encoded as runs do by default."""
    return film(tmp_path_factory.mktemp("marked") / "film.mp4", method.mark(shown(), ID))


def test_a_published_film_tells_its_id(method: SpreadSpectrum, published: Path) -> None:
    found = method.detect(frames_of(published))
    assert found == Finding(True, pytest.approx(1), ID)


@pytest.mark.parametrize("attack", [name for name in RE_ENCODED if name != "half size, CRF 28"])
def test_the_id_is_read_after(attack: str, method: SpreadSpectrum, published: Path, tmp_path: Path) -> None:
    found = method.detect(frames_of(encoded_again(published, tmp_path / "again.mp4", **RE_ENCODED[attack])))
    assert (found.found, found.id) == (True, ID)
    assert found.mirrored == (attack == "mirrored")


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_the_id_is_read_after_quarter_turns(quarters: int, mirrored: bool, method: SpreadSpectrum) -> None:
    marked = method.mark(shown()[:8], ID)
    turned = np.rot90(marked[:, :, ::-1] if mirrored else marked, quarters, axes=(2, 1))
    reading = method.read(map(np.ascontiguousarray, turned[:, :-5, 3:]))
    assert reading is not None
    assert (reading.id, reading.turned, reading.mirrored) == (ID, quarters, mirrored)
    assert reading.chance < FALSE_ALARM


def test_no_more_is_tried_than_the_bound_of_the_chance_allows_for(
    method: SpreadSpectrum, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, correlated = [], detection._correlated
    monkeypatch.setattr(detection, "_correlated", lambda *given: tried.append(correlated(*given)) or tried[-1])
    method.read(shown()[:2])  # unmarked: all there is to try
    assert (
        detection._TRIES / 2 < sum(map(np.size, tried)) < detection._TRIES
    )  # a place in two correlations has two scores


@pytest.mark.parametrize("scale", [1.0, 1.37])
def test_the_id_is_read_off_a_screenshot(scale: float, method: SpreadSpectrum, published: Path) -> None:
    assert method.detect(screenshots(published, scale, count=2)).id == ID


def test_an_unmarked_film_is_not_taken_for_marked(method: SpreadSpectrum) -> None:
    found = method.detect(shown())
    assert (found.found, found.id) == (False, None)
    assert found.confidence < 0.5


def test_a_mark_made_with_another_key_is_none(published: Path) -> None:
    assert not SpreadSpectrum(OTHER).detect(frames_of(published)).found


@pytest.mark.parametrize("level", [0, 128, 255])
def test_pictures_of_one_colour_are_not_marked_unless_they_were(level: int, method: SpreadSpectrum) -> None:
    flat = np.full((2, 256, 192, 3), level, np.uint8)
    assert not method.detect(flat).found
    assert method.detect(method.mark(flat, ID)).id == ID


def test_no_pictures_are_no_finding(method: SpreadSpectrum) -> None:
    assert method.detect([]) == Finding(False, 0.0)


def test_the_mark_can_hardly_be_seen(method: SpreadSpectrum) -> None:
    frames = shown()[:4]
    marked = method.mark(frames, ID)
    assert min(psnr(one, other) for one, other in zip(marked, frames, strict=True)) > 42
    assert min(ssim(one, other) for one, other in zip(marked, frames, strict=True)) > 0.96
    assert np.abs(marked.astype(int) - frames).max() <= 6  # grey levels of 255
    backdrop = np.abs(marked[:, :40, :40].astype(int) - frames[:, :40, :40])
    assert backdrop.max() <= 3
    colour = marked.astype(int) - frames
    inside = (frames > 8).all(axis=-1) & (frames < 247).all(axis=-1)
    assert (colour[inside].max(axis=-1) == colour[inside].min(axis=-1)).all(), "it is light, not colour"


def test_a_backdrop_that_stands_still_goes_on_standing_still(method: SpreadSpectrum) -> None:
    still = np.repeat(shown()[:1], 6, axis=0)
    marked = method.mark(still, ID)
    assert all((one == other).all() for one, other in pairwise(marked))


def test_batches_of_any_length_give_the_same_bytes(method: SpreadSpectrum) -> None:
    frames = shown()[:7]
    whole = method.mark(frames, ID)
    parts = [SpreadSpectrum(KEY).mark(part, ID) for part in np.split(frames, [1, 4])]
    assert (np.concatenate(parts) == whole).all()
    assert (frames == shown()[:7]).all(), "what is given stays as it is"
    assert (method.mark(frames, ID + 1) != whole).any()


def test_a_small_film_says_that_its_mark_may_be_lost(method: SpreadSpectrum) -> None:
    """Below `shortest_edge` it is laid in all the same: nothing but a re-encoding at half the size takes it away."""
    assert method.shortest_edge == 160
    small = footage("striped-dress", "dance").film[:8, :128, 32:160]
    assert method.detect(method.mark(small, ID)).id == ID


def test_bits_are_read_though_a_third_are_wrong() -> None:
    random = np.random.default_rng(3)
    for identity in (0, ID, 2**64 - 1):
        noisy = coded(identity) + random.normal(0, 1.1, CODED_BITS)
        wrong = ((noisy > 0) != (coded(identity) > 0)).mean()
        assert 0.12 < wrong < 0.25
        assert decoded(noisy) == identity


def test_noise_is_no_id() -> None:
    random = np.random.default_rng(4)
    assert [decoded(random.normal(0, 1, CODED_BITS)) for _ in range(40)] == [None] * 40


def test_the_id_leads_to_the_film() -> None:
    assert written(identity_of("00f3b19c55aa12040123456789abcdef")) == "00f3b19c55aa1204"


def test_frames_are_looked_at_from_the_first_to_the_last() -> None:
    assert frames_to_look_at(0) == []
    assert frames_to_look_at(3) == [0, 1, 2]
    many = frames_to_look_at(10_000)
    assert len(many) == LOOKED_AT
    assert many[0] == 0
    assert many[-1] > 9_700


def test_a_key_is_read_where_the_configuration_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    monkeypatch.setenv("SHOP_KEY", "fedcba9876543210")
    assert secret(str(tmp_path / "key")) == b"0123456789abcdef"
    assert secret("env:SHOP_KEY") == b"fedcba9876543210"
    assert secret(None) == PUBLIC_KEY


def test_a_key_that_is_missing_or_short_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("short")
    monkeypatch.delenv("SHOP_KEY", raising=False)
    for reference, said in ((str(tmp_path / "key"), "5 bytes"), ("env:SHOP_KEY", "not set"), ("gone", "no file")):
        with pytest.raises(Problem, match=said) as problem:
            secret(reference)
        assert "openssl" in problem.value.remedy


@pytest.mark.parametrize("key", ["0123456789abcdef" * 4, "-----BEGIN PRIVATE KEY-----"])
def test_a_configuration_holds_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="name a file"):
        Watermark(key=key)


def test_what_decides_the_pictures_is_in_their_key_and_the_secret_is_not(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    public, own = Watermark(), Watermark(key=str(tmp_path / "key"))
    assert decisive(Watermark(mark=False)) is None
    different = [decisive(one) for one in (public, own, Watermark(strength=2))]
    assert all(one != other for one, other in pairwise([*different, different[0]]))
    assert KEY.decode() not in str(decisive(own))
    assert KEY.hex() not in str(decisive(own))


class Corner:
    """A foreign way of marking: the id as grey squares in the first row."""

    algorithm = "corner.1"
    shortest_edge = 64

    def __init__(self, key: bytes, strength: float) -> None:
        self._mask = int.from_bytes(key[:8], "big")

    def mark(self, frames: np.ndarray, identity: int) -> np.ndarray:
        marked = frames.copy()
        bits = [(identity ^ self._mask) >> at & 1 for at in range(64)]
        marked[:, 0, :64] = 255 * np.array(bits, np.uint8)[None, :, None]
        return marked

    def detect(self, frames: Iterator[np.ndarray]) -> Finding:
        bits = [int(frame[0, at, 0] > 127) << at for frame in list(frames)[:1] for at in range(64)]
        return Finding(True, 1.0, sum(bits) ^ self._mask)


class Half:
    """Lacks a detector."""

    algorithm = "half.1"

    def __init__(self, key: bytes, strength: float) -> None: ...


def test_another_way_of_marking_can_be_plugged_in() -> None:
    settings = Watermark(method=f"{__name__}:Corner")
    method = method_of(settings)
    assert method is not None
    assert method.detect(iter(method.mark(shown(), ID))).id == ID
    assert algorithm_of(settings) == "corner.1"
    assert decisive(settings) != decisive(Watermark())


@pytest.mark.parametrize("name", ["nothing", "no_such_module:Class", f"{__name__}:Half", f"{__name__}:shown"])
def test_a_way_of_marking_that_cannot_be_had_is_refused(name: str) -> None:
    with pytest.raises(WrongUsage, match=r"provenance\.watermark\.method"):
        method_of(Watermark(method=name))


def test_a_film_without_a_mark_names_no_algorithm() -> None:
    assert method_of(Watermark(mark=False)) is None
    assert algorithm_of(Watermark(mark=False)) is None
