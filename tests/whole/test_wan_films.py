"""Films of Wan's systems from a row to the file: lengths and rates of any kind, and somebody who is replaced."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from manifests.errors import Rejected
from manifests.work import Work
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.stage_of import extract_pose, prepare_inputs
from stages.denoise import Denoise
from stages.diffusion.wan_animate.replacing import Background
from stages.latents_cache import segments
from stages.poses.recipes import PeopleSettings
from stages.video.encode import Encoder, EncodeRecipe
from tests.conftest import CHECKOUT
from tests.made.sample_media import write_driving, write_reference

LED_BACK = {"colour_correction": 0.5}
STREET = Path("media", "people", "street.mp4")


def chain_in(folder: Path, **config: Any) -> StageChain:
    checkpoints = {
        name: str(CHECKOUT / "tests" / "golden" / name / "checkpoint") for name in ("wan_vace", "wan_animate")
    }
    return StageChain(RunConfig(checkpoints=checkpoints, **config), str(folder / "out"))


def shown(film: str) -> tuple[int, Fraction]:
    with av.open(film) as opened:
        stream = opened.streams.video[0]
        return sum(1 for _ in opened.decode(stream)), Fraction(stream.average_rate)


@pytest.mark.parametrize(
    ("animator", "frames", "rate", "asked", "film", "parts"),
    [
        # its own rate, where the row says nothing; and no other segment whose colours it could be led back to
        ("wan_vace", 7, 25, {"window": 5, "options": LED_BACK}, (5, Fraction(16)), 1),
        ("wan_vace", 7, 25, {"window": 5, "fps": "25"}, (7, Fraction(25)), 1),
        # 14 frames at 16 a second, one carried at a time
        ("wan_vace", 9, 10, {"window": 5, "fps": "10", "options": LED_BACK}, (9, Fraction(10)), 4),
        ("wan_animate", 10, 25, {"window": 13, "overlap": 5, "fps": "30000/1001"}, (12, Fraction(30000, 1001)), 1),
        ("wan_animate", 2, 30, {}, (2, Fraction(30)), 1),
    ],
)
def test_a_film_of_any_length_and_rate_has_its_own_frames_and_no_others(
    animator: str, frames: int, rate: int, asked: dict, film: tuple, parts: int, tmp_path: Path
) -> None:
    chain = chain_in(tmp_path)
    row = {"id": "c", "animator": animator, "steps": 1, "guidance": 1, "width": 32, "height": 32, **asked}
    row |= {"reference": str(write_reference(tmp_path / "r.png")), "driving_kind": "skeleton"}
    row |= {"driving": str(write_driving(tmp_path / "d.mp4", frames, Fraction(rate)))}
    work = chain.work(row)
    assert work.clip.overlap == asked.get("overlap", 1)
    assert len(segments(work)) == parts
    result = chain.film(work)
    assert (result.status, result.frames, shown(result.film)) == ("done", film[0], film)
    assert result.recipe == (asked.get("options", {}) if parts > 1 else {}), "what was done to its colours"
    assert ({"colour_drift", "contrast_drift"} <= set(result.quality)) == (parts > 1)
    told = [[0, film[0] - 1]] if animator == "wan_animate" else None
    assert result.pose.get("faceless") == told, "pictures of poses hold no faces"


@pytest.fixture(scope="module")
def street(
    shared: Path, people_nets: PeopleSettings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StageChain, dict]:
    folder = tmp_path_factory.mktemp("street")
    row = {"id": "c", "animator": "wan_animate", "driving": str(shared / STREET), "steps": 1, "window": 5}
    return chain_in(folder), {**row, "reference": str(write_reference(folder / "r.png")), "frame_count": 2}


def test_somebody_is_replaced_in_the_scene_where_the_estimator_finds_them(street: tuple, tmp_path: Path) -> None:
    chain, row = street
    work = chain.work({**row, "options": {"replace": True}, "width": 64, "height": 48})
    beside = chain.work({**row, "width": 64, "height": 48})
    assert (beside.pose_key, beside.masks_key) == (work.pose_key, None)
    poses = extract_pose(chain.settings)
    assert [poses.for_driving(one) for one in (work, beside, work)] == [True, False, False]
    result = chain.film(work)
    assert (result.status, result.pose_estimator, result.warnings[1:]) == ("done", "people", [])
    assert result.warnings[0].startswith("frames 0–")
    with Denoise(chain.settings.layout, None, lambda *_: None, lambda: None).inputs(work, tmp_path) as given:
        driving = given.driving
        mask = driving.masks[0] > 0
        share = mask.mean()
        assert 0.05 < share < 0.3, "one of several pedestrians"
        kept = Background(driving.frames, driving.masks)[0]
        assert not kept[mask].any()
        assert np.array_equal(kept[~mask], driving.frames[0][~mask])


def test_a_mask_of_a_file_is_taken_and_one_of_another_film_refused(street: tuple, shared: Path, tmp_path: Path) -> None:
    chain, row = street
    row = {**row, "options": {"replace": True}}

    def work(mask: Path) -> Work:
        return chain.work({**row, "mask": str(mask)})

    with pytest.raises(Rejected, match="mask: has frames 6, the driving video 5") as refused:
        work(write_driving(tmp_path / "other.mp4"))
    assert "of its size" in refused.value.remedy
    given, found = work(shared / STREET), chain.work(row)
    assert (given.masks_key, found.masks_key) != (found.masks_key, given.masks_key)
    assert len({given.latents_key, found.latents_key}) == 2
    assert (given.clip.width, given.clip.height) == (960, 544), "the scene's shape, not the reference's"
    assert chain.work({**row, "options": {}}).clip.fit == "contain"
    extract_pose(chain.settings).for_driving(given)
    with Denoise(chain.settings.layout, None, lambda *_: None, lambda: None).inputs(given, tmp_path) as inputs:
        assert inputs.driving.masks[0].shape == inputs.driving.frames[0].shape[:2]


@pytest.mark.parametrize("rate", [4, 25])
def test_a_mask_goes_with_the_driving_video_frame_by_frame_whatever_its_rate(
    rate: int, street: tuple, shared: Path, tmp_path: Path
) -> None:
    chain, row = street
    with av.open(str(shared / STREET)) as opened:
        stream = opened.streams.video[0]
        width, height = stream.width, stream.height
    film = np.zeros((5, height, width, 3), np.uint8)
    for number, picture in enumerate(film):
        picture[100:300, 160 * number : 160 * number + 160] = 255
    with Encoder(tmp_path / "mask.mp4", width, height, Fraction(rate), EncodeRecipe()) as encoder:
        encoder.write(film)
    small = {"width": 64, "height": 48, "fps": "5", "frame_count": None, "options": {"replace": True}}
    work = chain.work({**row, **small, "mask": str(tmp_path / "mask.mp4")})
    extract_pose(chain.settings).for_driving(work)
    prepare_inputs(chain.settings)(work)
    with Denoise(chain.settings.layout, None, lambda *_: None, lambda: None).inputs(work, tmp_path) as given:
        masks = given.driving.masks
        drawn = [int(np.nonzero(masks[frame] > 128)[1].mean()) // 160 for frame in range(work.drawn)]
        assert drawn == given.driving.frames.shown
        assert set(drawn) == set(range(5))


def test_a_face_that_is_hidden_for_a_while_is_said_to_be_though_repair_fills_in_its_points(
    street: tuple, shared: Path, tmp_path: Path
) -> None:
    chain, row = street
    photo = Image.open(shared / "media" / "animate_anyone" / "anyone-3.png").convert("RGB").resize((400, 600))
    film = np.tile(np.asarray(photo), (5, 1, 1, 1))
    film[2, :200] = 128
    with Encoder(tmp_path / "hidden.mp4", 400, 600, Fraction(10), EncodeRecipe(crf=12)) as encoder:
        encoder.write(film)
    asked = {"driving": str(tmp_path / "hidden.mp4"), "fps": "10", "frame_count": None, "width": 64, "height": 96}
    work = chain.work({**row, **asked})
    extract_pose(chain.settings).for_driving(work)
    prepare_inputs(chain.settings)(work)
    with Denoise(chain.settings.layout, None, lambda *_: None, lambda: None).inputs(work, tmp_path) as given:
        assert given.report["faceless"] == [[2, 2]]
        assert given.report["held"] == given.report["bridged"] == []
        assert given.driving.faces[0] is not None


@pytest.mark.parametrize("animator", ["wan_animate", "wan_vace"])
def test_a_film_of_a_real_persons_face_drives_both_systems(
    animator: str, street: tuple, shared: Path, tmp_path: Path
) -> None:
    chain, row = street
    photo = Image.open(shared / "media" / "animate_anyone" / "anyone-3.png").convert("RGB").resize((400, 600))
    film = np.stack([np.roll(np.asarray(photo), 4 * frame, axis=1) for frame in range(2)])
    rate = Fraction({"wan_animate": 30, "wan_vace": 16}[animator])
    with Encoder(tmp_path / "pan.mp4", 400, 600, rate, EncodeRecipe(crf=12)) as encoder:
        encoder.write(film)
    asked = {"animator": animator, "driving": str(tmp_path / "pan.mp4"), "width": 32, "height": 48, "guidance": 1}
    work = chain.work({**row, **asked})
    result = chain.film(work)
    assert (result.status, result.pose_estimator, shown(result.film)) == ("done", "people", (2, rate))
    with Denoise(chain.settings.layout, None, lambda *_: None, lambda: None).inputs(work, tmp_path) as given:
        assert all(given.driving.poses[frame].any() for frame in range(2))
        if animator == "wan_animate":
            assert given.report["faceless"] == []
            assert all(face.mean() > 30 and face.std() > 10 for face in given.driving.faces)
