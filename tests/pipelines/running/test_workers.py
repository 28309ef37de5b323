"""What workers make of rows, called as Ray calls them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manifests import storage
from manifests.work import Work
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.demo import demo_clips
from pipelines.running.workers import PoseWorker, outcome
from stages.diffusion.animators import ANIMATORS


@pytest.fixture
def chain(tmp_path: Path) -> StageChain:
    return StageChain(RunConfig(), str(tmp_path / "out"))


def retargeted(chain: StageChain, references: list[str]) -> list[Work]:
    """Clips of one driving video, each to be fitted to the build of another reference."""
    row = demo_clips()[0]
    return [chain.work({**row, "id": f"c{number}", "reference": one}) for number, one in enumerate(references)]


def poses_of(chain: StageChain, works: list[Work]) -> object:
    return PoseWorker(chain.settings, attempts=3)({"works": [work.model_dump_json() for work in works]})


def test_a_clip_goes_on_while_the_next_reference_is_still_to_be_looked_at(chain: StageChain) -> None:
    works = retargeted(chain, [clip["reference"] for clip in demo_clips()[:2]])
    leaving = poses_of(chain, works)
    first = Work.model_validate_json(next(leaving)["work"])
    there = [storage.exists(chain.settings.layout.poses(work.reference_pose_key)) for work in works]
    assert there == [True, False]
    second = Work.model_validate_json(next(leaving)["work"])
    assert storage.exists(chain.settings.layout.poses(works[1].reference_pose_key))
    assert first.seconds["pose"] > second.seconds["pose"] > 0  # the first one waited for the video too


def test_a_reference_that_changed_ends_its_own_clip_alone(chain: StageChain, tmp_path: Path) -> None:
    copies = []
    for number, clip in enumerate(demo_clips()[:2]):
        copies.append(tmp_path / f"{number}.png")
        copies[-1].write_bytes(Path(clip["reference"]).read_bytes())
    works = retargeted(chain, [str(copy) for copy in copies])
    copies[0].write_bytes(b"other bytes")
    broken, good = poses_of(chain, works)
    assert (outcome(broken).stage, "changed" in outcome(broken).error) == ("pose", True)
    assert not good["result"]


def test_a_driving_video_that_changed_ends_every_clip_of_it(chain: StageChain, tmp_path: Path) -> None:
    video = tmp_path / "driving.mp4"
    video.write_bytes(Path(demo_clips()[0]["driving"]).read_bytes())
    row = demo_clips()[0]
    works = [chain.work({**row, "id": name, "driving": str(video)}) for name in "ab"]
    video.write_bytes(b"other bytes")
    ended = [outcome(row) for row in poses_of(chain, works)]
    assert [(one.id, one.status, one.stage) for one in ended] == [("a", "failed", "pose"), ("b", "failed", "pose")]


@pytest.mark.parametrize("aligns", [True, False])
def test_a_reference_is_looked_at_for_an_animator_that_aligns_it(
    chain: StageChain, monkeypatch: pytest.MonkeyPatch, aligns: bool
) -> None:
    monkeypatch.setitem(ANIMATORS, "drawn", replace(ANIMATORS["drawn"], aligns=aligns))
    work = chain.work({**demo_clips()[0], "retarget": "none"})
    assert (work.reference_pose_key is not None) == aligns
