"""A night played through ends when it would."""

from __future__ import annotations

from pipelines.planning.schedule import Job, Video, played


def film(seconds: float, model: str = "m", preparing: float = 0.0) -> Job:
    return Job(preparing, seconds, model, loading=3.0)


def test_films_go_to_whoever_is_free_and_each_worker_loads_a_model_once() -> None:
    night = played([Video(0, [film(10), film(6), film(5), film(4)])], pose_workers=1, animators=2)
    assert (night.wall, night.busy) == (17.0, 31.0)  # 3 + 10 + 4 beside 3 + 6 + 5


def test_a_film_waits_for_its_poses_and_the_poses_for_a_worker() -> None:
    videos = [Video(20, [film(1)]), Video(20, [film(1)])]
    assert played(videos, pose_workers=1, animators=4).wall == 40 + 3 + 1
    assert played(videos, pose_workers=2, animators=4).wall == 20 + 3 + 1


def test_films_of_a_video_leave_one_after_the_other() -> None:
    assert played([Video(0, [film(1, preparing=5), film(1, preparing=5)])], 1, 2).finished == [9.0, 14.0]


def test_one_long_film_at_the_end_holds_up_the_night() -> None:
    short, long = [film(10, model="") for _ in range(9)], film(100, model="")
    first = played([Video(0, [long, *short])], 1, 10)
    last = played([Video(0, [*short, long])], 1, 1)
    assert first.wall == 103
    assert last.wall == 3 + 190


def test_another_model_is_loaded_beside_the_first() -> None:
    assert played([Video(0, [film(1, "a"), film(1, "b"), film(1, "a")])], 1, 1).busy == 3 + 6
