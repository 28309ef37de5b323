"""Order and sharing of the work of one run."""

from fractions import Fraction
from pathlib import Path

from manifests import storage
from manifests.clip import Clip
from manifests.layout import Film, OutputLayout
from manifests.results import marker, of_clip
from manifests.work import Source, Work
from pipelines.plan import Plan
from pipelines.plan import make_plan as plan_of
from pipelines.planned_clip import PlannedClip, planned_clip
from stages.poses.motion.framing import FRAMED_BY


def work(row: int, driving: str = "d", frames: int = 10, checkpoint: str = "w", **fields: object) -> Work:
    clip = Clip(
        id=f"c{row}", animator="magicanimate", width=64, height=64, steps=4, guidance=1, fps=25, seed=row, **fields
    )
    video = Source(uri=driving, digest=driving, width=64, height=64, frames=frames, fps=Fraction(25))
    keys = {"pose_key": f"pose-{driving}", "film_key": f"film-{row}", "checkpoint_digest": checkpoint}
    return Work(row=row, clip=clip, driving=video, frames=frames, **keys)


def make_plan(works: list[Work], layout: OutputLayout, run_id: str) -> Plan:
    return plan_of(map(planned_clip, works), layout, run_id)


def rows(groups: list[list[PlannedClip]]) -> list[list[int]]:
    return [[one.row for one in group] for group in groups]


def test_ready_poses_come_first_then_the_longest(tmp_path: Path) -> None:
    layout = OutputLayout(str(tmp_path))
    works = [work(0, "short", 5), work(1, "long", 90), work(2, "ready", 2), work(3, "short", 5)]
    storage.publish_bytes(b"poses", layout.poses(works[2].pose_key))
    assert rows(make_plan(works, layout, "run").groups()) == [[2], [1], [0, 3]]


def test_a_higher_priority_goes_before_ready_poses_and_long_clips(tmp_path: Path) -> None:
    layout = OutputLayout(str(tmp_path))
    works = [
        work(0, "ready", 90),
        work(1, "short", 5, priority=10),
        work(2, "ready", 2, priority=10),
        work(3, "late", 90, priority=-1),
    ]
    shared = work(4, "ready", 3)
    urgent = shared.model_copy(update={"row": 5, "clip": shared.clip.model_copy(update={"id": "c5", "priority": 20})})
    storage.publish_bytes(b"poses", layout.poses(works[0].pose_key))
    assert rows(make_plan([*works, shared, urgent], layout, "run").groups()) == [[4], [2], [1], [0], [3]]


def test_clips_of_one_model_stand_together(tmp_path: Path) -> None:
    works = [work(row, checkpoint="wv"[row % 2], frames=10 + row) for row in range(4)]
    assert rows(make_plan(works, OutputLayout(str(tmp_path)), "run").groups()) == [[3, 1, 2, 0]]


def test_rows_that_ask_for_the_same_film_are_planned_once(tmp_path: Path) -> None:
    first = work(0)
    again = first.model_copy(update={"row": 1, "clip": first.clip.model_copy(update={"id": "other"})})
    plan = make_plan([first, again, work(2)], OutputLayout(str(tmp_path)), "run")
    assert [one.row for one in plan.todo] == [0, 2]
    assert {key: [one.row for one in works] for key, works in plan.duplicates.items()} == {first.film_key: [1]}


def test_a_film_with_frames_of_nobody_is_made_again_and_every_other_is_kept(tmp_path: Path) -> None:
    layout = OutputLayout(str(tmp_path))
    whole = {"frames": 10, "present": 10, "repairs": {"filled_frames": 0}}
    reports = [whole, {**whole, "present": 7}, {**whole, "present": 7, "held": [[0, 2]], "bridged": []}, {}]
    works = [work(row) for row in range(len(reports))]
    for made, report in zip(works, reports, strict=True):
        film = Film(made.clip.id, made.film_key)
        storage.publish_bytes(b"film", layout.film(film))
        storage.publish_json(marker(of_clip(made, "done", pose=report), "before"), layout.film_marker(film))
    plan = make_plan(works, layout, "run")
    assert [one.row for one in plan.todo] == [1]
    assert [one.row for one in plan.finished] == [0, 2, 3]


def test_a_film_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    layout = OutputLayout(str(tmp_path))
    works = [work(0), work(1)]
    for made, data in zip(works, (b"film", b"fi"), strict=True):
        film = Film(made.clip.id, made.film_key)
        storage.publish_bytes(data, layout.film(film))
        storage.publish_json(marker(of_clip(made, "done", film_bytes=4), "before"), layout.film_marker(film))
    plan = make_plan(works, layout, "run")
    assert ([one.row for one in plan.todo], [one.row for one in plan.finished]) == ([1], [0])


def test_a_film_that_cropped_its_reference_unseen_or_by_another_rule_is_looked_at_again(
    tmp_path: Path,
) -> None:
    layout = OutputLayout(str(tmp_path))
    report = {"frames": 10, "present": 10, "repairs": {"filled_frames": 0}}

    def shown(row: int, height: int, retarget: str, **more: object) -> Work:
        reference = Source(uri="r.png", digest="r", width=64, height=height)
        one = work(row)
        made = one.model_copy(
            update={
                "reference": reference,
                "clip": one.clip.model_copy(update={"fit": "cover", "retarget": retarget}),
            }
        )
        film = Film(made.clip.id, made.film_key)
        storage.publish_bytes(b"film", layout.film(film))
        storage.publish_json(marker(of_clip(made, "done", pose={**report, **more}), "b"), layout.film_marker(film))
        return made

    works = [
        shown(0, 128, "bone_length"),
        shown(1, 128, "bone_length", window=None, cut=0.0, framed_by=FRAMED_BY),
        shown(2, 128, "none"),
        shown(3, 64, "bone_length"),
        shown(4, 128, "bone_length", window=None, cut=0.0),  # before rules were told apart
        shown(5, 128, "bone_length", window=None, cut=0.0, framed_by=FRAMED_BY + 1),
    ]
    assert [one.row for one in make_plan(works, layout, "run").todo] == [0, 4, 5]


def test_films_that_crop_their_reference_are_told_before_they_are_made(tmp_path: Path) -> None:
    def shown(row: int, height: int) -> Work:
        reference = Source(uri="r.png", digest="r", width=64, height=height)
        one = work(row)
        return one.model_copy(update={"reference": reference, "clip": one.clip.model_copy(update={"fit": "cover"})})

    plan = make_plan([shown(0, 64), shown(1, 100), shown(2, 70), shown(3, 128)], OutputLayout(str(tmp_path)), "run")
    (line,) = plan.warnings()
    assert line.startswith("warning (row 1, 3), the worst of them in row 3: fit cover: 50 % of the reference (64×128)")
    assert "set fit to contain" in line
    assert make_plan([shown(0, 64)], OutputLayout(str(tmp_path)), "run").warnings() == []


def test_clips_without_a_driving_video_wait_for_nobody(tmp_path: Path) -> None:
    works = [work(row).model_copy(update={"driving": None, "pose_key": None}) for row in range(3)]
    plan = make_plan([*works, work(3)], OutputLayout(str(tmp_path)), "run")
    assert len(plan.groups()) == 4
    assert "4 films to make (40 frames, poses of 1 driving videos)" in plan.in_words([])
