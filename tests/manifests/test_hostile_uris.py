"""Promises about URIs in rows: whatever is written there, nothing beyond the allowed folders is opened."""

from pathlib import Path

import pytest

from manifests import storage
from manifests.clip import parse_clip, rejection
from manifests.errors import Rejected
from manifests.storage import Allowed


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """`in`, which is allowed, with links out of it; `out` and `input`, which are not."""
    for folder in ("in/a", "out", "input"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("in/ok.png", "out/secret.png", "input/x.png"):
        (tmp_path / file).write_bytes(b"-")
    (tmp_path / "in/link.png").symlink_to("../out/secret.png")
    (tmp_path / "in/dir").symlink_to("../out")
    (tmp_path / "in/a/middle").symlink_to("../../out")
    (tmp_path / "in/dangling.png").symlink_to("../out/later.png")
    (tmp_path / "in/loop").symlink_to("loop")
    (tmp_path / "in/twice").symlink_to("dir")
    (tmp_path / "in/home.png").symlink_to("ok.png")
    return tmp_path


def opened(places: Path, given: str) -> str:
    """The URI that a row's reference becomes. Raises `Rejected` as validation does."""
    clip, errors = parse_clip({"id": "a", "animator": "drawn", "reference": given, "driving": "d.mp4"})
    if clip is None:
        raise rejection(errors)
    uri = storage.resolve(str(clip.reference), str(places / "in"))
    Allowed(prefixes=[str(places / "in"), "s3://cat/in"]).check(uri, "reference")
    return uri


@pytest.mark.parametrize(
    "given",
    [
        *("link.png", "dir/secret.png", "a/middle/secret.png", "dangling.png", "twice/secret.png", "dir"),
        *("../out/secret.png", "a/../../out/secret.png", "../input/x.png", "/dev/zero", "/proc/self/environ"),
        *("file://{places}/in/../out/secret.png", "file://host/x", "FILE://{places}/out/secret.png"),
        *("/{places}/out/secret.png", "{places}/in/./../out/secret.png", "local://{places}/out/secret.png"),
        *("s3://cat/input", "s3://cat/in/../out", "s3://cat//in/x", "s3://cat/./in/x", "s3://", "s3:///in/x"),
        *("s3://cat/in/\\..\\..\\out", "gs://cat/in/x", "S3://cat/in/x", "s3a://cat/in/x", "memory://cat/in/x"),
        *("s3://user:SECRET@cat/in/x", "s3://cat@evil/in/x", "s3://cat:443/in/x", "az://c@account/in/x"),
        *("s3://cat/in/x::http://127.0.0.1", "zip://a::{places}/out/z.zip", "http://127.0.0.1/x?k=SECRET"),
        *("x\x00y", "x\ny", "x\x1b[2J", "a" * 5000, "x\ud800"),
    ],
)
def test_nothing_outside_is_opened_however_it_is_written(places: Path, given: str) -> None:
    with pytest.raises(Rejected) as refused:
        opened(places, given.replace("{places}", str(places)))
    assert refused.value.remedy
    assert "SECRET" not in str(refused.value)
    assert "wrong kind" not in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ("ok.png", "ok.png"),
        ("home.png", "home.png"),
        (" a/../ok.png ", "ok.png"),
        ("%2e%2e/out/secret.png", "%2e%2e/out/secret.png"),  # nobody decodes it
        ("..%2fout%2fsecret.png", "..%2fout%2fsecret.png"),
        ("..\\out\\secret.png", "..\\out\\secret.png"),
        ("file:/etc/passwd", "file:/etc/passwd"),  # no scheme: a folder called "file:"
        ("simplecache::s3://evil/x", "simplecache::s3:/evil/x"),
        ("concat:a|b", "concat:a|b"),
        ("~/x", "~/x"),
        ("$HOME/x", "$HOME/x"),
        ("-i.png", "-i.png"),
        ("\u00e9.png", "\u00e9.png"),
        ("e\u0301.png", "e\u0301.png"),  # another name, as file systems have it
    ],
)
def test_a_name_is_nothing_but_a_name(places: Path, given: str, file: str) -> None:
    assert opened(places, given) == f"{places}/in/{file}"


def test_a_loop_of_links_and_a_name_too_long_are_files_that_are_not_there(places: Path) -> None:
    for given in ("loop", "a" * 300):
        with pytest.raises(FileNotFoundError):
            storage.stamp(opened(places, given))
