"""Keys and run layout: what makes something new, and what does not."""

import pytest

from manifests import layout, storage
from manifests.clip import Clip
from manifests.errors import WrongUsage
from manifests.layout import Film, OutputLayout

CLIP = Clip(
    id="a", animator="magicanimate", reference="r.png", driving="d.mp4", width=64, height=64, steps=4, guidance=7.5
)
REFERENCE, DRIVING, CHECKPOINT = "1" * 64, "2" * 64, "3" * 64
ENCODING = {"codec": "h264", "crf": 18}
STAGES = ("reference", "pose", "latents", "film")


def keys(clip: Clip = CLIP, **changed: object) -> dict[str, str]:
    """All keys of a clip, chained as the plan chains them."""
    given = {"reference": REFERENCE, "driving": DRIVING, "checkpoint": CHECKPOINT, "dtype": "float32"}
    given |= {"segments": [(0, 16)], "encoding": ENCODING, "weights": None, "lora": None, "mask": None} | changed
    reference = layout.reference_key(given["reference"])
    pose = layout.pose_key(given["driving"], {"kind": clip.driving_kind}, given["weights"])
    how = given["checkpoint"], given["dtype"], given["segments"], given["lora"], given["mask"]
    latents = layout.latents_key(clip, reference, [pose, None], *how)
    film = layout.film_key(clip, [latents], given["encoding"], given["driving"])
    return dict(zip(STAGES, (reference, pose, latents, film), strict=True))


def made_again(**changes: object) -> set[str]:
    fields = {
        name: changes.pop(name) for name in list(changes) if name in Clip.model_fields and name not in given_names
    }
    clip = Clip.model_validate({**CLIP.model_dump(exclude_unset=True), **fields})
    before, after = keys(), keys(clip, **changes)
    return {stage for stage in STAGES if before[stage] != after[stage]}


given_names = {"reference", "driving", "checkpoint", "lora", "mask"}


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"id": "b"}, set()),
        ({"metadata": {"sku": 1}}, set()),
        ({"priority": 10}, set()),
        ({"likeness_consent": "C-1", "performer_consent": "C-2"}, set()),
        ({"seed": 1}, {"latents", "film"}),
        ({"steps": 5}, {"latents", "film"}),
        ({"guidance": 2.0}, {"latents", "film"}),
        ({"prompt": "x"}, {"latents", "film"}),
        ({"width": 72, "height": 64}, {"latents", "film"}),
        ({"mode": "parity"}, {"latents", "film"}),
        ({"options": {"context_stride": 2}}, {"latents", "film"}),
        ({"retarget": "similarity"}, {"latents", "film"}),
        ({"subject": "largest"}, {"latents", "film"}),
        ({"driving_kind": "densepose"}, {"pose", "latents", "film"}),
        ({"audio": "driving"}, {"film"}),
        ({"encoding": {"codec": "h264", "crf": 23}}, {"film"}),
        ({"dtype": "float16"}, {"latents", "film"}),
        ({"segments": [(0, 12)]}, {"latents", "film"}),
        ({"segments": [(0, 12), (4, 16)]}, {"latents", "film"}),
        ({"checkpoint": "4" * 64}, {"latents", "film"}),
        ({"lora": "8" * 64}, {"latents", "film"}),
        ({"mask": "9" * 64}, {"latents", "film"}),
        ({"lora_scale": 0.5}, set()),
        ({"reference": "5" * 64}, {"reference", "latents", "film"}),
        ({"driving": "6" * 64}, {"pose", "latents", "film"}),
        ({"weights": "7" * 64}, {"pose", "latents", "film"}),
    ],
)
def test_a_change_renews_exactly_the_stages_that_depend_on_it(changes: dict, stages: set[str]) -> None:
    assert made_again(**changes) == stages


def test_the_uris_of_a_clip_are_in_no_key() -> None:
    moved = Clip.model_validate(
        {
            **CLIP.model_dump(exclude_unset=True),
            "reference": "x.png",
            "driving": "y.mp4",
            "checkpoint": "z",
            "lora": "l",
            "mask": "m",
        }
    )
    assert keys(moved) == keys()
    assert keys(moved, lora="8" * 64) == keys(lora="8" * 64)


def test_every_field_of_a_clip_is_decided_upon() -> None:
    groups = (
        layout.LATENTS_FIELDS,
        layout.POSE_FIELDS,
        layout.FILM_FIELDS,
        layout.DIGESTED_FIELDS,
        layout.LORA_FIELDS,
        layout.KEYLESS_FIELDS,
    )
    assert sorted(name for group in groups for name in group) == sorted(Clip.model_fields)


def test_the_scale_of_a_lora_counts_where_there_is_one() -> None:
    halved = Clip.model_validate({**CLIP.model_dump(exclude_unset=True), "lora_scale": 0.5})
    assert keys(halved, lora="8" * 64)["latents"] != keys(lora="8" * 64)["latents"]


def test_an_algorithm_number_renews_the_stage_and_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    monkeypatch.setitem(layout.ALGORITHM, "pose", layout.ALGORITHM["pose"] + 1)
    after = keys()
    assert {stage for stage in STAGES if before[stage] != after[stage]} == {"pose", "latents", "film"}


@pytest.fixture
def output(tmp_path) -> OutputLayout:  # noqa: ANN001
    return OutputLayout(str(tmp_path / "out"))


def publish(output: OutputLayout, film: Film) -> None:
    storage.publish_bytes(b"film", output.film(film))
    storage.publish_bytes(b"poster", output.poster(film))
    storage.publish_json({"frames": 16}, output.film_marker(film))


def test_a_film_counts_as_finished_only_with_its_marker_and_its_film(output: OutputLayout) -> None:
    whole, unmarked, lost = Film("a.b-c", "1" * 32), Film("b", "2" * 32), Film("c", "3" * 32)
    for film in (whole, unmarked, lost):
        publish(output, film)
    storage.delete(output.film_marker(unmarked))
    storage.delete(output.film(lost))
    assert output.finished_films() == {whole.key: whole._replace(size=4)}


def test_a_finished_film_serves_another_id_without_being_made_again(output: OutputLayout) -> None:
    publish(output, Film("a", "1" * 32))
    shared = Film("b", "1" * 32)
    output.share_film(Film("a", "1" * 32), shared)
    assert storage.read_bytes(output.film(shared)) == b"film"
    assert output.read_film_markers([shared]) == [{"frames": 16}]


def test_a_damaged_marker_makes_the_film_again(output: OutputLayout) -> None:
    publish(output, Film("a", "1" * 32))
    storage.publish_bytes(b'{"film"', output.film_marker(Film("a", "1" * 32)))
    assert output.read_film_markers([Film("a", "1" * 32), Film("b", "2" * 32)]) == [None, None]


def test_a_run_id_continues_its_own_night_and_that_of_a_manifest_that_has_grown(output: OutputLayout) -> None:
    assert layout.claim_run(output, "night", "m", ["a", "b"]) is False
    assert layout.claim_run(output, "night", "m", ["a", "b"]) is True
    assert layout.claim_run(output, "night", "m", ["a", "b", "c"]) is True
    assert layout.claim_run(output, "night", "m", ["a", "b", "c", "d"]) is True
    assert layout.new_run_id() != layout.new_run_id()


@pytest.mark.parametrize(
    ("manifest", "rows", "wrong"),
    [
        ("other", ["a", "b"], "run id 'night' was begun with m, not with other"),
        ("m", ["a"], "was begun with 2 rows, of which the manifest has 1 left"),
        ("m", ["a", "x"], "when the first 2 rows of the manifest were others"),
        ("m", ["x", "a", "b"], "when the first 2 rows of the manifest were others"),
    ],
)
def test_a_run_id_refuses_another_night(output: OutputLayout, manifest: str, rows: list[str], wrong: str) -> None:
    layout.claim_run(output, "night", "m", ["a", "b"])
    with pytest.raises(WrongUsage, match=wrong) as refused:
        layout.claim_run(output, "night", manifest, rows)
    assert "films that are finished are found under any" in refused.value.remedy
    assert layout.claim_run(output, "night", "m", ["a", "b"]) is True, "a refused manifest changes nothing"


def test_rows_once_added_belong_to_the_night(output: OutputLayout) -> None:
    layout.claim_run(output, "night", "m", ["a"])
    layout.claim_run(output, "night", "m", ["a", "b"])
    with pytest.raises(WrongUsage, match="begun with 2 rows"):
        layout.claim_run(output, "night", "m", ["a"])
