"""Signing: what credentials state, that they hold, that a film made again is the same file, where keys do not go."""

from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
import stat
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c2pa import Context, Reader, Settings
from PIL import Image

from manifests.errors import Problem, WrongUsage
from pipelines.configuration import RunConfig
from stages.provenance.credentials.carrying import carried_in_image
from stages.provenance.credentials.development import development_certificate, development_folder, development_root
from stages.provenance.credentials.embedding import sign_file
from stages.provenance.credentials.signing import Signing, signing_of
from stages.provenance.facts import ConsentNote, FilmFacts, Input, SoftBinding
from stages.provenance.settings import Credentials, Watermark
from stages.video.encode import Encoder, EncodeRecipe
from tests.made.certificates import KEYS, Issued, issue

KEY = "12" * 16
FACTS = FilmFacts(
    film_key="ab" * 16,
    animator="drawn",
    mode="standard",
    checkpoint_digest="cd" * 32,
    inputs=(Input(role="reference", digest="ef" * 32), Input(role="driving", digest="01" * 32)),
    consents=(ConsentNote(role="likeness", id="consent-7", digest="99" * 32),),
    sku="dress-42",
    watermark=SoftBinding(algorithm="catwalk.test", value="0123456789abcdef"),
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with Encoder(path, 64, 48, Fraction(25), EncodeRecipe()) as encoder:
        encoder.write(np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8))
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def by(issued: Issued) -> Signing:
    made = signing_of(Credentials(**issued.section()["credentials"]), None)
    assert made is not None
    return made


def read(file: Path, *roots: Path) -> tuple[str, dict[str, Any]]:
    """What C2PA's own reader says of a file: its state, and its manifest."""
    anchors = "\n".join(root.read_text() for root in roots)
    trust = {"trust": {"user_anchors": anchors}} if roots else {}
    with Reader(file, context=Context(Settings.from_dict(trust))) as reader:
        return str(reader.get_validation_state()), json.loads(reader.json())


def problems(found: dict[str, Any]) -> set[str]:
    return {one["code"] for one in found.get("validation_status", ())}


@pytest.mark.parametrize("kind", KEYS)
def test_a_signed_film_is_trusted_under_its_root_and_valid_without(film: Path, tmp_path: Path, kind: str) -> None:
    issued, foreign = issue(tmp_path / "house", kind=kind), issue(tmp_path / "foreign")
    sign_file(film, tmp_path / "signed.mp4", FACTS, KEY, "0.1.0", by(issued))
    state, found = read(tmp_path / "signed.mp4", issued.root)
    assert (state, problems(found)) == ("Trusted", set())
    for others in ((), (foreign.root,)):
        state, found = read(tmp_path / "signed.mp4", *others)
        assert (state, problems(found)) == ("Valid", {"signingCredential.untrusted"})


def test_credentials_state_how_the_film_was_made_and_inputs_by_their_hash_alone(film: Path, tmp_path: Path) -> None:
    sign_file(film, tmp_path / "signed.mp4", FACTS, KEY, "0.1.0+abc", by(issue(tmp_path / "house")))
    _, found = read(tmp_path / "signed.mp4")
    manifest = found["manifests"][found["active_manifest"]]
    said = {one["label"]: one["data"] for one in manifest["assertions"]}
    (created,) = said["c2pa.actions.v2"]["actions"]
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert created["softwareAgent"] == {"name": "Catwalk", "version": "0.1.0+abc"}
    assert len(created["parameters"]["ingredients"]) == 2
    assert [(one["title"], one["instance_id"]) for one in manifest["ingredients"]] == [
        ("reference image", f"sha256:{'ef' * 32}"),
        ("driving file", f"sha256:{'01' * 32}"),
    ]
    assert all("thumbnail" not in one for one in [manifest, *manifest["ingredients"]])
    assert said["c2pa.soft-binding"] == {"alg": "catwalk.test", "blocks": [{"scope": {}, "value": "0123456789abcdef"}]}
    told = said["catwalk.film"]
    assert (told["animator"], told["checkpoint_digest"], told["sku"]) == ("drawn", "cd" * 32, "dress-42")
    assert told["consents"] == [{"role": "likeness", "id": "consent-7", "digest": "99" * 32}]


@pytest.mark.parametrize("suffix", [".mp4", ".jpg"])
def test_a_film_signed_again_is_the_same_to_the_byte(film: Path, tmp_path: Path, suffix: str) -> None:
    source = film
    if suffix == ".jpg":
        pixels = np.random.default_rng(0).integers(0, 255, (256, 512, 3), np.uint8)  # of more than one segment of JPEG
        Image.fromarray(pixels).save(source := tmp_path / "poster.jpg", quality=95)
    first, second, other, back = (tmp_path / f"{name}{suffix}" for name in ("first", "second", "other", "back"))
    mine, theirs = by(issue(tmp_path / "house")), by(issue(tmp_path / "other"))
    sign_file(source, first, FACTS, KEY, "0.1.0", mine)
    sign_file(source, second, FACTS, KEY, "0.1.0", mine)
    assert first.read_bytes() == second.read_bytes() != source.read_bytes()
    sign_file(first, other, FACTS, KEY, "0.1.0", theirs)
    assert other.read_bytes() != first.read_bytes()
    sign_file(other, back, FACTS, KEY, "0.1.0", mine)
    assert back.read_bytes() == first.read_bytes()  # credentials are replaced, never piled up


@pytest.mark.parametrize("place", ["pictures", "index", "credentials"])
def test_one_byte_flipped_anywhere_that_counts_is_found(film: Path, tmp_path: Path, place: str) -> None:
    issued = issue(tmp_path / "house")
    sign_file(film, signed := tmp_path / "signed.mp4", FACTS, KEY, "0.1.0", by(issued))
    data = bytearray(signed.read_bytes())
    at = {"pictures": data.index(b"mdat") + 99, "index": data.index(b"stts") + 9, "credentials": data.index(b"drawn")}
    data[at[place]] ^= 1
    signed.write_bytes(data)
    assert read(signed, issued.root)[0] == "Invalid"


def test_a_vault_signs_in_place_of_a_key(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of clouds do: asked for a signature of bytes, they answer DER."""
    issued = issue(tmp_path / "house")
    (tmp_path / "my_vault.py").write_text(f"""
from pathlib import Path
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

def sign(data: bytes) -> bytes:
    key = serialization.load_pem_private_key(Path({str(issued.private_key)!r}).read_bytes(), None)
    return key.sign(data, ec.ECDSA(hashes.SHA256()))

def mute(data: bytes) -> bytes:
    raise RuntimeError("the token is hvs.SECRET")

def nonsense(data: bytes) -> bytes:
    return b"0" * 64
""")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("sign", "mute", "nonsense"):
        credentials = Credentials(certificate=str(issued.certificate), signer=f"my_vault:{name}")
        signing = signing_of(credentials, None)
        assert signing is not None
        if name == "sign":
            sign_file(film, tmp_path / "signed.mp4", FACTS, KEY, "0.1.0", signing)
            assert read(tmp_path / "signed.mp4", issued.root)[0] == "Trusted"
            continue
        with pytest.raises(Problem) as refused:
            sign_file(film, tmp_path / "unsigned.mp4", FACTS, KEY, "0.1.0", signing)
        assert "SECRET" not in str(refused.value)


def test_a_key_comes_from_a_variable_and_stands_in_no_message(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued, other = issue(tmp_path / "house"), issue(tmp_path / "other")
    given = Credentials(certificate="env:HOUSE_CHAIN", private_key="env:HOUSE_KEY")
    monkeypatch.setenv("HOUSE_CHAIN", issued.certificate.read_text())
    monkeypatch.delenv("HOUSE_KEY", raising=False)
    with pytest.raises(Problem, match="the variable 'HOUSE_KEY' is not set"):
        signing_of(given, None)
    monkeypatch.setenv("HOUSE_KEY", issued.private_key.read_text().replace("\n", "\\n"))  # in one line
    signing = signing_of(given, None)
    assert signing is not None
    assert signing.name == "House of Tests"
    sign_file(film, tmp_path / "signed.mp4", FACTS, KEY, "0.1.0", signing)
    assert read(tmp_path / "signed.mp4", issued.root)[0] == "Trusted"
    secret = other.private_key.read_text()
    monkeypatch.setenv("HOUSE_KEY", secret)
    with pytest.raises(Problem, match="is not the key of certificate 'House of Tests'") as refused:
        signing_of(given, None)
    assert secret.splitlines()[1] not in str(refused.value) + repr(signing)


def test_a_certificate_that_c2pa_does_not_take_leaves_no_film(film: Path, tmp_path: Path) -> None:
    for name, issued in {
        "for servers": issue(tmp_path / "servers", purpose=False),
        "its own root": Issued(*[(tmp_path / "servers" / f"{name}.pem") for name in ("root", "root", "private_key")]),
    }.items():
        with pytest.raises(Problem):
            sign_file(film, tmp_path / f"{name}.mp4", FACTS, KEY, "0.1.0", by(issued))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"private_key": "key.pem"}, "without a certificate"),
        ({"certificate": "chain.pem"}, "needs either private_key or signer"),
        ({"certificate": "chain.pem", "private_key": "k.pem", "signer": "a:b"}, "needs either"),
        ({"certificate": "c.pem", "private_key": "-----BEGIN PRIVATE KEY-----SECRET"}, "name a file or env:NAME"),
    ],
)
def test_a_configuration_names_keys_and_holds_none(given: dict[str, str], fault: str) -> None:
    with pytest.raises(WrongUsage, match=fault) as refused:
        RunConfig.load(None, {"provenance": {"credentials": given}})
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        *(
            (one, True)
            for one in ("env:HOUSE_KEY", "key.pem", "./key", "keys/house", "/run/secrets/KeyOfTheHouse1", "C:/k")
        ),
        *((one, True) for one in ("~/key", "s3://house/key", "keys/production/of-the-house/watermark_2026")),
        *((one, False) for one in ("deadbeefcafe", "correct horse battery staple", "hunter2", "env:a b", "")),
        *((base64.b64encode(hashlib.sha256(bytes([n])).digest()).decode(), False) for n in (1, 2, 3)),
        ("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgx/Zv+3Ta4P", False),
        ("MC4CAQAwBQYDK2VwBCIEIHx2wB8oP5k/lqkzs+TzOCm7vS9hQ3lJt0yBzqW1c2aa", False),
    ],
)
def test_what_may_be_a_secret_is_taken_for_no_file_and_not_repeated(given: str, place: bool) -> None:
    if place:
        assert Watermark(key=given).key == given
        return
    for section in ({"watermark": {"key": given}}, {"credentials": {"certificate": "c.pem", "private_key": given}}):
        with pytest.raises(WrongUsage, match="name a file or env:NAME") as refused:
            RunConfig.load(None, {"provenance": section})
        assert not given or given not in str(refused.value)


# The development certificate


def test_the_development_certificate_says_what_it_is_and_is_kept_from_others(
    film: Path, tmp_path: Path, home: Path
) -> None:
    assert development_root() is None
    made = development_certificate()
    assert development_certificate() == made
    files = sorted((home / "catwalk" / "development").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    assert made.private_key not in repr(made)
    signing = signing_of(Credentials(), None)
    assert signing is not None
    sign_file(film, tmp_path / "signed.mp4", FACTS, KEY, "0.1.0", signing)
    state, found = read(tmp_path / "signed.mp4")
    signer = found["manifests"][found["active_manifest"]]["signature_info"]
    assert (state, signer["common_name"]) == ("Valid", "Catwalk development (untrusted)")
    assert "not a real organisation" in signer["issuer"]
    root = development_root()
    assert root is not None
    assert read(tmp_path / "signed.mp4", root)[0] == "Trusted"


def _root(_: int) -> str:
    return development_certificate().root


def test_processes_that_make_the_development_certificate_at_once_all_get_the_same(home: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        roots = pool.map(_root, range(6), chunksize=1)
    assert len(set(roots)) == 1
    assert [one.name for one in (home / "catwalk").iterdir()] == ["development"]  # no leftovers


def test_where_nothing_can_be_kept_a_run_has_a_development_certificate_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert development_certificate().root != development_certificate().root
    assert development_root() is None


def test_tests_leave_the_users_own_certificate_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert development_folder().is_relative_to(tmp_path_factory.getbasetemp())


def test_a_reference_whose_credentials_are_damaged_never_ends_its_clip(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "plain.jpg")
    sign_file(tmp_path / "plain.jpg", tmp_path / "signed.jpg", FACTS, KEY, "0.1.0", by(issue(tmp_path / "house")))
    whole, chance = (tmp_path / "signed.jpg").read_bytes(), np.random.default_rng(0)
    begin, found = whole.index(b"jumb"), []
    assert carried_in_image(tmp_path / "signed.jpg", "00") is not None
    for _ in range(200):
        data = bytearray(whole)
        data[begin + int(chance.integers(4000))] = int(chance.integers(256))
        (tmp_path / "damaged.jpg").write_bytes(data)
        found.append(carried_in_image(tmp_path / "damaged.jpg", "00"))
    assert {type(one) for one in found} == {bytes, type(None)}
