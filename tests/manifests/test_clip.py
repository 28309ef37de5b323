"""What a manifest row may say, and what its author is told when it says something else."""

import json
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from manifests.clip import Clip, parse_clip, rejection

GOOD = {"id": "dress-01", "animator": "magicanimate"}


def clip(**fields: object) -> Clip:
    parsed, errors = parse_clip({**GOOD, **fields})
    assert parsed is not None, [str(error) for error in errors]
    return parsed


def only_error(**fields: object) -> tuple[str, str, str, str]:
    parsed, errors = parse_clip({**GOOD, **fields})
    assert parsed is None
    assert len(errors) == 1, [str(error) for error in errors]
    return errors[0]


def test_an_id_and_an_animator_are_all_that_a_row_needs() -> None:
    assert clip() == Clip(id="dress-01", animator="magicanimate")


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        (25, Fraction(25)),
        (24.0, Fraction(24)),
        ("25", Fraction(25)),
        ("25.0", Fraction(25)),
        ("30000/1001", Fraction(30000, 1001)),
        (Fraction(25, 2), Fraction(25, 2)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        (29.97002997, Fraction(30000, 1001)),
        (np.float32(29.97), Fraction(30000, 1001)),
        (Decimal("59.94"), Fraction(60000, 1001)),
        (240, Fraction(240)),
    ],
)
def test_frame_rates_are_read_exactly_however_people_write_them(written: object, exact: Fraction) -> None:
    assert clip(fps=written).fps == exact


@pytest.mark.parametrize("written", [0, -25, 241, "30/0", "fast", 29.5, True, "1e400", "inf", [25], 10**30])
def test_a_frame_rate_that_is_none_is_refused(written: object) -> None:
    assert only_error(fps=written).field == "fps"


def test_a_decimal_frame_rate_that_may_be_rounded_is_answered_with_the_fraction() -> None:
    assert "25/2" in only_error(fps=12.5).error


def test_frame_rates_are_written_as_fractions() -> None:
    assert clip(fps=29.97).model_dump()["fps"] == "30000/1001"
    assert json.loads(clip(fps=25).model_dump_json())["fps"] == "25"


def test_a_clip_survives_json() -> None:
    full = clip(
        reference="s3://shop/a.png", fps=23.976, width=512, height=768, guidance=[7.5, 2], seed=2**63 - 1, loop=True,
        first_frame=3, frame_count=9, window=16, overlap=4, options={"eta": 0.5}, metadata={"sku": "Ä-1"},
    )  # fmt: skip
    assert Clip.model_validate_json(full.model_dump_json()) == full


@pytest.mark.parametrize("name", ["a", "A-1", "7.b_c", "x" * 128])
def test_safe_ids_are_taken_as_they_are(name: str) -> None:
    assert clip(id=name).id == name


@pytest.mark.parametrize(
    "name", ["../etc", "a/b", "a\\b", ".hidden", "-rf", "a..b", "x" * 129, "a b", "a\x00", "ä", "CON:"]
)
def test_an_id_that_could_leave_its_folder_is_refused(name: str) -> None:
    error = only_error(id=name)
    assert error.field == "id"
    assert "letters" in error.remedy


def test_whole_numbers_serve_as_ids() -> None:
    assert clip(id=np.int64(17)).id == "17"


@pytest.mark.parametrize(
    "null", [None, float("nan"), np.nan, np.float32("nan"), pd.NA, pd.NaT, "", "  ", pa.scalar(None)]
)
def test_a_null_counts_as_absent_whoever_wrote_it(null: object) -> None:
    nulls = dict.fromkeys(["reference", "width", "fps", "guidance", "loop", "mode", "options", "metadata"], null)
    assert clip(**nulls) == clip()


def test_a_null_id_is_a_missing_id() -> None:
    parsed, (error,) = parse_clip({**GOOD, "id": None})
    assert parsed is None
    assert (error.field, error.error) == ("id", "is missing")
    assert "Name of the clip" in error.remedy


def test_scalars_of_numpy_and_arrow_mean_the_same_as_those_of_python() -> None:
    said = clip(
        width=np.int32(512), height=512.0, seed=pa.scalar(7), steps=Decimal(20), loop=np.bool_(True),
        mode=pa.scalar("parity"), guidance=np.array([7.5, 2.0]), prompt=np.str_("a dress"), start=np.float32(0.5),
    )  # fmt: skip
    assert said == clip(
        width=512,
        height=512,
        seed=7,
        steps=20,
        loop=True,
        mode="parity",
        guidance=[7.5, 2],
        prompt="a dress",
        start=0.5,
    )


def test_text_cells_mean_the_same_as_typed_ones() -> None:
    said = clip(width="512", height=" 512 ", seed="9007199254740993", start="1.5", loop="TRUE", guidance="7.5, 2")
    assert said == clip(width=512, height=512, seed=2**53 + 1, start=1.5, loop=True, guidance=[7.5, 2])


def test_blanks_around_a_cell_are_dropped_except_in_a_prompt() -> None:
    said = clip(mode=" parity ", reference="a.png ", prompt=" a dress ")
    assert (said.mode, said.reference, said.prompt) == ("parity", "a.png", " a dress ")


@pytest.mark.parametrize("written", [7.5, "7.5", [7.5], (7.5,), "[7.5]"])
def test_guidance_may_be_one_number_or_a_list(written: object) -> None:
    assert clip(guidance=written).guidance == (7.5,)


@pytest.mark.parametrize("written", ["strong", [], [1, "x"], float("inf"), True, {"text": 7.5}, 10**400, [-(10**400)]])
def test_guidance_that_is_no_number_is_refused(written: object) -> None:
    assert only_error(guidance=written).field == "guidance"


def test_a_seed_that_a_float_column_has_already_rounded_is_refused() -> None:
    error = only_error(seed=float(2**53))
    assert error.field == "seed"
    assert "64-bit integers" in error.remedy


@pytest.mark.parametrize(
    "written",
    [
        '{"sku": "A-1", "none": null}',
        {"sku": "A-1", "none": None},
        [("sku", "A-1"), ("none", None)],
        pa.scalar({"sku": "A-1", "none": None}),
        pa.scalar([("sku", "A-1")], pa.map_(pa.string(), pa.string())),
        {"sku": np.str_("A-1"), "none": float("nan")},
    ],
)
@pytest.mark.parametrize("field", ["metadata", "options"])
def test_json_text_struct_and_map_are_the_same_metadata(field: str, written: object) -> None:
    assert getattr(clip(**{field: written}), field) == {"sku": "A-1"}


def test_metadata_of_any_type_can_be_written_as_json() -> None:
    metadata = {
        "when": pd.Timestamp("2026-11-22"),
        "price": Decimal("9.5"),
        "raw": b"\xff",
        "bad": "\ud800",
        "x": np.nan,
    }
    assert json.dumps(clip(metadata=metadata).metadata, allow_nan=False).encode()


def test_metadata_keeps_its_nesting_order_and_types() -> None:
    metadata = {"z": [1, 2.5, {"deep": True}], "a": "text"}
    assert json.dumps(clip(metadata=json.dumps(metadata)).metadata) == json.dumps(metadata)


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("reference", "looks/a\ud800.png"),  # a JSON escape
        ("driving", "looks/a\udcff.mp4"),  # a file name in another encoding, as the command line gives it
        ("reference", b"looks/a\xff.png"),  # a column of bytes
        ("prompt", "a dress \ud83d"),
        ("animator", "x\udfff"),
        ("id", "a\ud800"),
        ("guidance", ["7\ud800"]),
        ("options", '{"name": "\\ud800"}'),
        ("options", {"a": ["\udcff"]}),
    ],
)
def test_text_that_utf8_cannot_write_is_refused_and_not_read_as_another(field: str, written: object) -> None:
    error = only_error(**{field: written})
    assert error.field == field
    assert "no character" in error.error
    str(error).encode()


def test_two_halves_of_a_character_are_the_character() -> None:
    assert clip(reference="\ud83d\ude00.png", options={"a": "\ud83d\ude00"}) == clip(
        reference="\U0001f600.png", options={"a": "\U0001f600"}
    )


def test_metadata_that_utf8_cannot_write_costs_no_film_and_shows_the_gap() -> None:
    assert clip(metadata={"sku": "A\ud800", "raw": b"\xff"}).metadata == {"sku": "A\ufffd", "raw": "\ufffd"}


@pytest.mark.parametrize("written", ["{", "[1]", "7", 7, [1, 2], "[" * 100_000, {"a": json.loads("[" * 99 + "]" * 99)}])
def test_options_that_are_no_mapping_are_refused(written: object) -> None:
    error = only_error(options=written)
    assert error.field == "options"
    assert "JSON object" in error.remedy


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"mode": "partiy"}, "mode", "did you mean 'parity'"),
        ({"driving_kind": "Skeleton"}, "driving_kind", "did you mean 'skeleton'"),
        ({"fit": "zoom"}, "fit", "contain, cover, stretch"),
        ({"audio": 1}, "audio", "drop"),
        ({"width": 15, "height": 16}, "width", "from 16 to 4096"),
        ({"width": 16, "height": 5000}, "height", "from 16 to 4096"),
        ({"width": 512.5, "height": 512}, "width", "a whole number"),
        ({"width": 512}, "height", "both width and height"),
        ({"height": 512}, "width", "both width and height"),
        ({"seed": -1}, "seed", "from 0 to"),
        ({"seed": 2**63}, "seed", "from 0 to"),
        ({"steps": 0}, "steps", "from 1 to 1000"),
        ({"steps": "many"}, "steps", "from 1 to 1000"),
        ({"steps": True}, "steps", "a number"),
        ({"start": -0.1}, "start", "from 0"),
        ({"start": float("inf")}, "start", "a number"),
        ({"duration": 0}, "duration", "above 0"),
        ({"start": 1, "first_frame": 2}, "first_frame", "either start and duration"),
        ({"duration": 1, "frame_count": 2}, "frame_count", "either start and duration"),
        ({"window": 16, "overlap": 16}, "overlap", "from 0 to 15"),
        ({"loop": "perhaps"}, "loop", "true or false"),
        ({"reference": "a\nb.png"}, "reference", "line breaks"),
        ({"reference": 7}, "reference", "text"),
        ({"checkpoint": "x" * 5000}, "checkpoint", "text"),
        ({"refrence": "a.png"}, "refrence", "did you mean 'reference'"),
    ],
)
def test_every_fault_names_its_field_and_its_remedy(fields: dict[str, object], field: str, said: str) -> None:
    error = only_error(**fields)
    assert error.field == field
    assert said in error.remedy
    assert error.error


def test_a_start_of_zero_may_stand_beside_a_frame_range() -> None:
    assert clip(start=0.0, first_frame=5).first_frame == 5


def test_all_faults_of_a_row_are_named_at_once() -> None:
    parsed, errors = parse_clip({"width": "wide", "mode": "slow", "options": "{"})
    assert parsed is None
    assert {error.field for error in errors} == {"id", "animator", "width", "mode", "options"}
    rejected = rejection(errors)
    assert all(field in rejected.error for field in ("id", "animator", "width 'wide'", "mode 'slow'", "options"))


@pytest.mark.parametrize("field", ["reference", "id", "mode", "options", "bogus"])
def test_no_message_repeats_a_secret_from_a_uri(field: str) -> None:
    secret = "s3://AKIA:hush'hush/key@bucket/a\n.png?X-Amz-Signature=hush"
    for value in (secret.replace("\n", ""), f"see {secret}", [secret] * 3, {"deep": {"er": secret}}):
        _, errors = parse_clip({**GOOD, field: value, "width": 1})
        assert not any("hush" in str(error) for error in errors)


def test_a_message_stays_short_when_the_value_is_not() -> None:
    assert len(str(only_error(mode="x" * 10**6))) < 500
    assert len(str(only_error(width=list(range(10**5)), height=16))) < 500


def test_clips_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        clip().seed = 1


def test_describing_a_clip_loads_no_table_or_storage_library() -> None:
    script = """
import sys
from manifests.clip import parse_clip
assert parse_clip({"id": "a", "animator": "b", "fps": 25, "options": "{}"})[0]
sys.exit(" ".join({"pyarrow", "pandas", "numpy", "torch", "fsspec", "ray"} & set(sys.modules)) or 0)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_guidance_beyond_all_numbers_is_told_to_be_numbers() -> None:
    _, errors = parse_clip({"id": "a", "animator": "drawn", "guidance": "9" * 400})
    assert [(one.error, one.remedy) for one in errors] == [("is not a finite number", "give numbers")]


@pytest.mark.parametrize(("field", "most"), [("reference", 4096), ("lora", 4096), ("animator", 128)])
def test_text_that_is_too_long_is_called_too_long(field: str, most: int) -> None:
    _, errors = parse_clip({"id": "a", "animator": "drawn", field: "a" * (most + 1)})
    assert [(one.field, one.error, one.remedy) for one in errors] == [
        (field, f"is longer than {most} characters", f"give text of at most {most} characters")
    ]
