"""MediaPipe's nets: where they lie, that they are the published bytes, and that a node fetches them once."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests import storage
from manifests.errors import Problem
from stages.poses import people_nets
from stages.poses.estimators.weights import local_file, local_people
from stages.poses.people_nets import NETS, Net, installed
from stages.poses.recipes import Estimators, PeopleSettings, Recipe, key_parts


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Small files in the place of the published ones."""
    contents = {name: f"weights of {name}".encode() for name in NETS}
    for name, data in contents.items():
        monkeypatch.setitem(NETS, name, Net("module", len(data), storage.sha256_text(data.decode())))
    return contents


def laid_out(folder: str, nets: dict[str, bytes]) -> str:
    for name, data in nets.items():
        storage.publish_bytes(data, storage.join(folder, name))
    return folder


def test_a_local_folder_is_used_where_it_is(tmp_path: Path, nets: dict[str, bytes]) -> None:
    settings = PeopleSettings(folder=laid_out(str(tmp_path / "nets"), nets))
    assert local_people(settings, tmp_path / "scratch") == (tmp_path / "nets", tmp_path / "nets" / people_nets.BODY)
    assert not (tmp_path / "scratch").exists()


def test_a_node_fetches_the_nets_of_a_bucket_once(tmp_path: Path, s3: str, nets: dict[str, bytes]) -> None:
    settings = PeopleSettings(folder=laid_out(f"{s3}/people", nets))
    folder, body = local_people(settings, tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == nets
    for uri in settings.files():
        storage.delete(uri)
    assert local_people(settings, tmp_path) == (folder, body), "no other worker asks the bucket"


@pytest.mark.parametrize("remote", [False, True])
def test_other_bytes_than_the_published_ones_are_refused(
    tmp_path: Path, request: pytest.FixtureRequest, nets: dict[str, bytes], remote: bool
) -> None:
    place = request.getfixturevalue("s3") if remote else str(tmp_path / "nets")
    settings = PeopleSettings(folder=laid_out(place, {**nets, "hand_recrop.tflite": b"another"}))
    with pytest.raises(Problem, match=r"hand_recrop.tflite is not the published file") as refused:
        local_people(settings, tmp_path / "scratch")
    assert "catwalk models fetch people" in refused.value.remedy
    laid_out(place, nets)
    assert local_people(settings, tmp_path / "scratch")[1].read_bytes() == nets[people_nets.BODY]


def test_a_net_that_is_missing_is_named_with_the_remedy(tmp_path: Path, nets: dict[str, bytes]) -> None:
    settings = PeopleSettings(folder=laid_out(str(tmp_path / "nets"), nets))
    (tmp_path / "nets" / "face_landmark.tflite").unlink()
    with pytest.raises(Problem, match=r"estimator people: .*face_landmark.tflite") as refused:
        local_people(settings, tmp_path / "scratch")
    assert "catwalk models fetch people" in refused.value.remedy


def test_a_body_net_of_the_users_own_takes_the_place_of_the_full_one(tmp_path: Path, nets: dict[str, bytes]) -> None:
    del nets[people_nets.BODY]
    heavy = tmp_path / people_nets.HEAVY
    heavy.write_bytes(b"heavy")
    settings = PeopleSettings(folder=laid_out(str(tmp_path / "nets"), nets), body=str(heavy))
    assert local_people(settings, tmp_path / "scratch") == (tmp_path / "nets", heavy)
    assert settings.files()[-1] == str(heavy)
    assert not [uri for uri in settings.files() if uri.endswith(people_nets.BODY)]


def test_a_file_in_a_bucket_is_fetched_again_when_it_changes(tmp_path: Path, s3: str) -> None:
    uri = f"{s3}/dw-ll_ucoco_384.onnx"
    storage.publish_bytes(b"first", uri)
    first = local_file(uri, tmp_path)
    assert local_file(uri, tmp_path) == first
    assert (first.suffix, first.read_bytes()) == (".onnx", b"first")
    storage.publish_bytes(b"second", uri)
    assert local_file(uri, tmp_path).read_bytes() == b"second"


def test_the_nets_lie_in_the_environment_of_whichever_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PeopleSettings().moved(lambda uri: f"/resolved/{uri}")
    assert settings == PeopleSettings(), "what travels to a worker names no place on the driver"
    monkeypatch.setattr("sys.prefix", "/elsewhere")
    assert settings.files()[0] == f"/elsewhere/share/catwalk/people/{next(iter(NETS))}"
    assert installed("/a/folder") == "/a/folder"
    given = PeopleSettings(folder="nets", body="heavy.tflite").moved(lambda uri: f"/resolved/{uri}")
    assert (given.folder, given.body) == ("/resolved/nets", "/resolved/heavy.tflite")


def test_where_nets_lie_and_how_many_threads_run_them_is_in_no_key(tmp_path: Path) -> None:
    recipe = Recipe("people", "keypoints")
    elsewhere = PeopleSettings(folder="/nets", body="/heavy.tflite", threads=8)
    assert key_parts(recipe, Estimators()) == key_parts(recipe, Estimators(people=elsewhere))
