"""What Wan's systems follow: the part asked for, at the rate asked for, with a pose for each frame that is drawn."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from manifests.errors import Rejected
from pipelines.clip import StageChain
from pipelines.stage_of import extract_pose, prepare_inputs
from stages.denoise import Denoise
from stages.driving import as_drawn, shown_frames
from stages.poses.recipes import PeopleSettings
from stages.video.timing import EvenTimestamps
from tests.made.pose_motions import LANKY, walking
from tests.made.sample_media import write_driving, write_reference
from tests.whole.test_wan_films import chain_in


@pytest.fixture
def chain(tmp_path: Path) -> StageChain:
    return chain_in(tmp_path)


def row(tmp_path: Path, animator: str = "wan_animate", **fields: object) -> dict:
    reference = str(write_reference(tmp_path / "r.png"))
    small = {"id": "c", "steps": 1, "guidance": 1, "width": 64, "height": 48, "reference": reference}
    return {**small, "animator": animator, **fields}


def keypoint_file(path: Path, frames: int, **stated: str) -> str:
    found = walking(LANKY, frames).keypoints()
    triples = np.concatenate([found.points, found.scores[..., None]], axis=-1)
    np.savez(path, keypoints=triples, width=found.width, height=found.height, **stated)
    return str(path)


@pytest.mark.parametrize(
    ("asked", "frames", "drawn", "first", "last"),
    [
        ({}, 24, None, 0, 19),
        ({"start": 0.4, "duration": 0.2}, 6, None, 10, 14),
        ({"duration": 0.4}, 12, None, 0, 9),
        ({"start": 0.4, "fps": "25"}, 10, 12, 10, 19),
        ({"fps": "25"}, 20, 24, 0, 19),
        ({"fps": "12"}, 10, 24, 0, 19),
        ({"fps": "60"}, 48, 24, 0, 19),
    ],
)
def test_a_film_in_parity_mode_shows_the_part_asked_for_at_its_own_speed(
    chain: StageChain, tmp_path: Path, asked: dict, frames: int, drawn: int | None, first: int, last: int
) -> None:
    video = str(write_driving(tmp_path / "d.mp4", 20))  # 0.8 s
    work = chain.work(row(tmp_path, driving=video, driving_kind="skeleton", mode="parity", **asked))
    assert (work.frames, work.drawn) == (frames, drawn)
    shown = shown_frames(as_drawn(work).clip, EvenTimestamps(20, Fraction(25)), Fraction(25))
    assert (len(shown), shown[0], shown[-1]) == (drawn or frames, first, last)


def test_a_part_that_parity_mode_draws_no_frame_of_is_refused(chain: StageChain, tmp_path: Path) -> None:
    video = str(write_driving(tmp_path / "d.mp4", 20, Fraction(50)))
    given = row(tmp_path, driving=video, driving_kind="skeleton", mode="parity")
    for part, error in (({"duration": 0.02}, "1 frames at 50 a second"), ({"start": 3}, "start 3.000 s: no frame")):
        with pytest.raises(Rejected, match=error):
            chain.work({**given, **part})


@pytest.mark.parametrize(("animator", "rate", "drawn"), [("wan_animate", 30, 30), ("wan_vace", 16, 16)])
def test_keypoints_without_a_rate_run_at_the_films_also_where_another_is_drawn(
    chain: StageChain, tmp_path: Path, animator: str, rate: int, drawn: int
) -> None:
    files = [keypoint_file(tmp_path / "none.npz", 24), keypoint_file(tmp_path / "24.npz", 24, fps="24")]
    pictures = []
    for file in files:
        work = chain.work(row(tmp_path, animator, driving=file, driving_kind="keypoints", fps="24"))
        assert (work.frames, work.drawn) == (24, drawn)
        chain.prepare(work)
        with Denoise(chain.settings.layout, None, lambda *_: None, lambda: None).inputs(work, tmp_path) as given:
            poses = given.driving.poses
            assert len(poses) == drawn
            pictures.append([poses[number] for number in range(drawn)])
    assert np.array_equal(*pictures)
    own = chain.work(row(tmp_path, animator, driving=files[0], driving_kind="keypoints"))
    assert (own.frames, own.drawn, own.clip.fps) == (24, None, rate)


def test_parity_mode_draws_the_references_limbs_where_a_row_asks_for_them(
    chain: StageChain, tmp_path: Path, shared: Path, people_nets: PeopleSettings
) -> None:
    given = row(tmp_path, driving=keypoint_file(tmp_path / "k.npz", 2, fps="30"), driving_kind="keypoints")
    given |= {"mode": "parity", "reference": str(shared / "media" / "people" / "human-pose.jpeg")}
    pictures = {}
    for retarget in ("none", "bone_length"):
        work = chain.work({**given, "retarget": retarget})
        extract_pose(chain.settings).for_driving(work)
        if work.reference_pose_key:
            extract_pose(chain.settings).for_reference(work)
        prepare_inputs(chain.settings)(work)
        with Denoise(chain.settings.layout, None, lambda *_: None, lambda: None).inputs(work, tmp_path) as inputs:
            pictures[retarget] = inputs.driving.poses[0]
    assert pictures["bone_length"].any()
    assert not np.array_equal(pictures["none"], pictures["bone_length"])
    with pytest.raises(Rejected, match="retarget 'similarity': mode 'parity' fits all limbs"):
        chain.work({**given, "retarget": "similarity"})
