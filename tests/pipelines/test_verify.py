"""`catwalk verify`: what it says of films that are ours, were changed, lost their marks, or are somebody else's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from manifests import storage
from manifests.errors import Problem, Rejected
from manifests.layout import OutputLayout
from pipelines import cli
from pipelines.revocation import places
from pipelines.verify import _films_of, as_wanted
from stages.provenance.credentials.embedding import sign_file
from stages.provenance.credentials.signing import signing_of
from stages.provenance.facts import FilmFacts
from stages.provenance.settings import Credentials
from stages.provenance.verdict import CredentialsVerdict, FileVerdict, WatermarkVerdict
from stages.provenance.watermark.method import identity_of, written
from stages.sandbox.process import Fault
from stages.sandbox.reading import read_credentials
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.limits import Limits
from tests.conftest import CHECKOUT
from tests.made.certificates import Issued, issue

FACTS = FilmFacts(film_key="ab" * 16, animator="drawn", mode="standard", checkpoint_digest="cd" * 32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def unsigned(tmp_path: Path) -> Path:
    path = tmp_path / "unsigned.mp4"
    with Encoder(path, 64, 48, Fraction(25), EncodeRecipe()) as encoder:
        encoder.write(np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8))
    return path


@pytest.fixture
def house(tmp_path: Path) -> Issued:
    return issue(tmp_path / "house")


@pytest.fixture
def signed(tmp_path: Path, unsigned: Path, house: Issued) -> Path:
    return signed_by(Credentials(**house.section()["credentials"]), unsigned, tmp_path / "films" / "signed.mp4")


def signed_by(credentials: Credentials, unsigned: Path, target: Path) -> Path:
    signing = signing_of(credentials, None)
    assert signing is not None
    target.parent.mkdir(exist_ok=True)
    sign_file(unsigned, target, FACTS, "12" * 16, "0.1.0", signing)
    return target


def verified(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[dict[str, Any]]]:
    capsys.readouterr()
    code = cli.main(["verify", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)["files"]


def ffmpeg(*words: object) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, words)], check=True)


def test_a_signed_film_is_ours_and_trusted_under_the_root_that_is_given(
    signed: Path, house: Issued, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (one,) = verified(capsys, signed, "--root", house.root)
    assert (code, one["summary"]) == (cli.OK, "ours")
    said = one["credentials"]
    assert (said["state"], said["root"], said["signer"]) == ("trusted", str(house.root), "House of Tests")
    assert (said["generator"], said["animator"], said["problems"]) == ("Catwalk 0.1.0", "drawn", [])
    code, (one,) = verified(capsys, signed)
    assert (code, one["credentials"]["state"], one["credentials"]["root"]) == (cli.OK, "untrusted", None)
    code, (one,) = verified(capsys, signed, "--root", issue(tmp_path / "foreign").root)
    assert (code, one["summary"], one["credentials"]["state"]) == (cli.SOME_FAILED, "ours", "untrusted")


def test_a_development_certificate_is_named_as_one_and_never_trusted_by_itself(
    unsigned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = signed_by(Credentials(), unsigned, tmp_path / "films" / "development.mp4")
    _, (one,) = verified(capsys, film)
    said = one["credentials"]
    assert (said["state"], said["development"], said["root"]) == ("untrusted", True, "this machine's development root")
    assert cli.main(["verify", str(film)]) == cli.OK
    assert "development certificate (this machine's development root), which proves nobody" in capsys.readouterr().out
    shutil.move(tmp_path / "home", tmp_path / "elsewhere")
    _, (one,) = verified(capsys, film)
    assert (one["credentials"]["development"], one["credentials"]["root"]) == (True, None)


@pytest.mark.parametrize("place", [b"mdat", b"stts", b"drawn"])
def test_one_byte_flipped_is_told_apart_from_a_film_that_lost_its_credentials(
    signed: Path, house: Issued, place: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(signed.read_bytes())
    data[data.index(place) + (99 if place == b"mdat" else 4)] ^= 1
    signed.write_bytes(data)
    code, (one,) = verified(capsys, signed, "--root", house.root)
    assert (code, one["summary"], one["credentials"]["state"]) == (cli.SOME_FAILED, "changed", "invalid")
    assert one["credentials"]["problems"]
    ffmpeg("-i", signed, "-c", "copy", remuxed := signed.with_name("remuxed.mp4"))
    code, (one,) = verified(capsys, remuxed)
    assert (code, one["summary"], one["credentials"]["state"]) == (cli.SOME_FAILED, "not ours", "none")


def test_a_folder_is_looked_through_and_each_file_judged_by_itself(
    signed: Path, unsigned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(unsigned, signed.parent / "holiday.mp4")
    (signed.parent / "below").mkdir()
    (signed.parent / "below" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xeb\x00\x10JP\x00\x01" + b"jumb" * 9)
    (signed.parent / "below" / "notes.txt").write_text("not looked at")
    code, found = verified(capsys, signed.parent)
    assert code == cli.SOME_FAILED
    said = {Path(one["file"]).name: one["summary"] for one in found}
    assert said == {"torn.jpg": "changed", "signed.mp4": "ours", "holiday.mp4": "not ours"}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["nowhere.mp4"], "does not exist"),
        (["empty"], "no film and no picture"),
        (["signed.mp4", "--root", "signed.mp4"], "no certificate as PEM"),
        (["signed.mp4", "--root", "words.pem"], "no certificate as PEM"),
        (["s3://elsewhere/film.mp4", "--allow", "s3://films"], "outside the allowed folders"),
        (["ftp://host/film.mp4"], "ftp:// is not allowed"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(
    words: list[str], fault: str, signed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(signed.parent)
    Path("empty").mkdir()
    Path("words.pem").write_text("-----BEGIN CERTIFICATE-----\nwords\n-----END CERTIFICATE-----\n")
    assert cli.main(["verify", *words]) == cli.WRONG_USAGE
    assert fault in capsys.readouterr().err


def test_a_film_in_a_bucket_is_verified_there(signed: Path, s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    storage.publish(signed, storage.join(s3, "films", "signed.mp4"))
    code, (one,) = verified(capsys, s3, "--allow", s3)
    assert (code, one["summary"]) == (cli.OK, "ours")
    assert one["file"].startswith("s3://")


def test_whatever_is_done_to_a_signed_film_nothing_false_is_said_of_it(signed: Path, house: Issued) -> None:
    whole, chance = signed.read_bytes(), np.random.default_rng(0)
    credentials, attacked = whole.index(b"jumb"), signed.with_name("attacked.mp4")
    held = 0
    for number in range(32):
        data, at = bytearray(whole), int(chance.integers(len(whole)))
        inside = credentials + at % 4000
        if number % 4 == 0:
            data[at] ^= 1 << int(chance.integers(8))
        elif number % 4 == 1:
            del data[at:]
        elif number % 4 == 2:
            data[at : at + 8] = chance.bytes(8)
        else:
            data[inside : inside + 4] = b"\xff" * 4
        attacked.write_bytes(data)
        try:
            said = read_credentials(attacked, [house.root.read_text()], Limits())
        except Rejected:
            continue  # its reader's death is the file's
        if said.root is not None:
            held += 1
            assert (said.animator, said.signer) == ("drawn", "House of Tests")
            assert data[data.index(b"moov") :] == whole[whole.index(b"moov") :], "index and pictures are whole"
    assert held < 16


HOSTILE: dict[str, dict[str, Any]] = {
    "blocks are no list": {"c2pa.soft-binding": {"alg": "a", "blocks": {"a": 1}}},
    "blocks are texts": {"c2pa.soft-binding": {"alg": "a", "blocks": ["a"]}},
    "no blocks": {"c2pa.soft-binding": {"alg": 1, "blocks": []}},
    "film is a list": {"catwalk.film": ["drawn"]},
    "animator is a map": {"catwalk.film": {"animator": {"a": 1}}},
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_one_hostile_file_ends_nothing(
    hostile: str, signed: Path, unsigned: Path, house: Issued, capsys: pytest.CaptureFixture[str]
) -> None:
    from c2pa import Builder, C2paError, C2paSignerInfo, Signer

    assertions = [{"label": label, "data": data} for label, data in HOSTILE[hostile].items()]
    assertions.append({"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.opened"}]}})
    info = C2paSignerInfo(b"es256", house.certificate.read_bytes(), house.private_key.read_bytes(), None)
    claimed = {"claim_generator_info": [{"name": "Catwalk", "version": "0"}], "assertions": assertions}
    target = signed.parent / "a.mp4"
    with Builder(json.dumps(claimed)) as builder, Signer.from_info(info) as signer, suppress(C2paError):
        builder.sign_file(str(unsigned), str(target), signer)  # the library complains, and leaves what it wrote
    assert b"jumb" in target.read_bytes()
    code, (first, second) = verified(capsys, signed.parent)
    assert (code, first["watermark"]["found"]) == (cli.SOME_FAILED, False)
    assert second["summary"] == "ours"


def test_a_reader_that_faults_leaves_the_pictures_to_be_looked_at(
    signed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def faults(*_: Any) -> None:
        raise Fault("Traceback…\nKeyError: 0")

    monkeypatch.setattr("pipelines.verify.read_credentials", faults)
    code, (one,) = verified(capsys, signed)
    assert (code, one["summary"], one["credentials"]["problems"]) == (cli.SOME_FAILED, "unreadable", ["KeyError: 0"])
    assert one["watermark"]["unseen"] is None


def test_a_certificate_that_has_expired_is_no_change_of_the_film(
    unsigned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds in (2, 10, 60):  # signing is refused once the term is over, which a busy machine may be too late for
        house = issue(tmp_path / f"of {seconds} s", days=seconds / 86400)
        until = time.monotonic() + seconds
        with suppress(Problem):
            film = signed_by(Credentials(**house.section()["credentials"]), unsigned, tmp_path / "films" / "film.mp4")
            break
    time.sleep(max(0.0, until - time.monotonic()) + 1)
    code, (one,) = verified(capsys, film)
    assert (code, one["summary"], one["credentials"]["state"]) == (cli.OK, "ours", "expired")
    assert "expired since" in CredentialsVerdict(**one["credentials"]).line()
    code, _ = verified(capsys, film, "--root", house.root)
    assert code == cli.SOME_FAILED
    data = bytearray(film.read_bytes())
    data[data.index(b"mdat") + 99] ^= 1
    film.write_bytes(data)
    _, (one,) = verified(capsys, film)
    assert (one["summary"], one["credentials"]["state"]) == ("changed", "invalid")


def test_pictures_are_known_by_their_first_bytes_and_what_was_not_looked_at_is_never_not_ours(
    unsigned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("poster.mp4", "poster"):
        Image.new("RGB", (64, 64)).save(folder / name, "JPEG")
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no film")
    shutil.copy(unsigned, folder / "film.jpg")
    _, found = verified(capsys, *sorted(folder.iterdir()))
    said = {Path(one["file"]).name: (one["summary"], one["watermark"]["unseen"] is None) for one in found}
    seen, unseen = ("not ours", True), ("unreadable", False)
    assert said == {"poster.mp4": seen, "poster": seen, "film.jpg": seen, "empty.mp4": unseen, "text.mp4": unseen}


def test_a_film_longer_than_one_that_may_drive_a_clip_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text("limits: {seconds: 900, frames: 20000}\n")
    ffmpeg("-f", "lavfi", "-i", "color=s=64x64:r=1:d=1000", "-preset", "ultrafast", film := tmp_path / "long.mp4")
    _, (one,) = verified(capsys, film, "--config", tmp_path / "small.yaml")
    assert (one["summary"], one["watermark"]["unseen"]) == ("not ours", None)


@pytest.mark.parametrize(
    ("signed", "mark", "said", "code"),
    [
        ({"state": "trusted", "ours": True}, {"agrees": False}, "contradictory", False),
        ({"state": "untrusted", "ours": True}, {"agrees": True}, "ours", True),
        ({"state": "none"}, {"public_key": True}, "marked", True),
        ({"state": "none"}, {}, "ours", True),
        ({"state": "invalid", "ours": True}, {"agrees": False}, "changed", False),
    ],
)
def test_two_layers_that_contradict_each_other_are_not_ours(
    signed: dict[str, Any], mark: dict[str, Any], said: str, code: bool
) -> None:
    one = FileVerdict(
        file="film.mp4", credentials=CredentialsVerdict(**signed), watermark=WatermarkVerdict(found=True, **mark)
    )
    assert (one.summary, as_wanted(one, trust=False)) == (said, code)


@pytest.mark.parametrize("place", ["films", "set_aside", "unpublished", "withdrawn"])
def test_a_mark_names_its_film_wherever_in_the_output_it_lies(place: str, tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    layout, key = OutputLayout(output), "ab" * 16
    storage.publish_bytes(b"film", film := storage.join(places(layout)[place], f"a.clip.{key}.mp4"))
    storage.publish_bytes(b"film", storage.join(places(layout)["withdrawn"], f"a.clip.{key}.mp4"))
    assert _films_of(output) == {written(identity_of(key)): ("a.clip", film)}


def test_verifying_needs_neither_ray_nor_torch(signed: Path) -> None:
    script = (
        "import sys; from pipelines.cli import main; code = main(['verify', sys.argv[1]]);"
        "print(code, sorted({'ray', 'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, signed], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
