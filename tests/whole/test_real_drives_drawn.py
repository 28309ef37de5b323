"""A film of a real person drives other animators: a drawn person with limbs of her own, and skeletons found once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifests import storage
from manifests.work import Work
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.stage_of import extract_pose
from stages.poses.files.keypoint_file import read_keypoints
from stages.poses.recipes import PeopleSettings
from stages.poses.wholebody import BODY, VISIBLE
from tests.conftest import CHECKOUT

CATALOGUE = CHECKOUT / "manifests" / "sample" / "catalogue"
STREET = Path("media", "people", "street.mp4")  # lying; the heart-tee reference stands


@pytest.fixture(scope="module")
def chain(shared: Path, people_nets: PeopleSettings, tmp_path_factory: pytest.TempPathFactory) -> StageChain:
    checkpoints = {name: str(shared / "golden" / name / "checkpoint") for name in ("animate_anyone", "text2video_zero")}
    return StageChain(RunConfig(checkpoints=checkpoints), str(tmp_path_factory.mktemp("out")))


def work_of(chain: StageChain, driving: Path, animator: str = "drawn", **fields: Any) -> Work:
    row = {"id": animator, "reference": str(CATALOGUE / "heart-tee.png"), "driving": str(driving), "steps": 1}
    return chain.work({**row, "animator": animator, **fields})


def test_a_real_person_is_fitted_to_the_drawn_one_in_her_own_picture(chain: StageChain, shared: Path) -> None:
    work = work_of(chain, shared / STREET)
    assert (work.clip.retarget, work.clip.width, work.clip.height) == ("bone_length", 192, 256)
    result = chain.film(work)
    assert (result.pose_estimator, result.frames, result.warnings) == ("people", 5, [])
    assert result.pose["outside"] == 0
    assert result.pose["confidence"] > 0.5


def test_what_a_row_asks_for_is_done_and_drawn_people_are_followed_as_before(chain: StageChain, shared: Path) -> None:
    asked = work_of(chain, shared / STREET, retarget="none", width=288, height=160).clip
    assert (asked.retarget, asked.width, asked.height) == ("none", 288, 160)
    drawn = work_of(chain, CATALOGUE / "turn.mp4").clip
    assert (drawn.retarget, drawn.width, drawn.height) == ("none", 192, 256)
    other = work_of(chain, shared / STREET, "animate_anyone").clip
    assert other.retarget == "none", "who draws real people is given their own build"


def test_poses_of_a_film_are_found_once_for_all_animators(chain: StageChain, shared: Path) -> None:
    works = [work_of(chain, shared / STREET, name) for name in ("animate_anyone", "text2video_zero", "drawn")]
    assert len({work.pose_key for work in works}) == 1
    poses = extract_pose(chain.settings)
    storage.delete(chain.settings.layout.poses(works[0].pose_key or ""))
    assert [poses.for_driving(work) for work in works] == [True, False, False]
    keypoints, seconds, _ = read_keypoints(Path(chain.settings.layout.poses(works[0].pose_key or "")))
    assert len(seconds) == 5
    assert ((keypoints.scores[:, :, BODY] > VISIBLE).sum(axis=2) > 8).sum(axis=1).min() >= 2, "several pedestrians"
