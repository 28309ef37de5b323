"""What a plan says of time, memory, storage and money follows from the clips and the workers."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest

from manifests.clip import Clip
from manifests.errors import WrongUsage
from manifests.layout import latents_name
from manifests.work import Source, Work
from pipelines.configuration import RunConfig
from pipelines.plan import Plan
from pipelines.planned_clip import planned_clip
from pipelines.planning.calibration_file import Calibration, Setup, stored_calibration
from pipelines.planning.estimate import expected, figures, workers_of
from pipelines.planning.forecast_text import forecast_lines
from pipelines.planning.machine import CARDS, SHARE, card_of, machine_of
from pipelines.planning.pace import Pace
from pipelines.settings import RunSettings, settled


def settings(tmp_path: Any, **config: Any) -> RunSettings:
    return settled(RunConfig.load(None, config), str(tmp_path / "m.parquet"), str(tmp_path / "out"), "night")


def work(row: int, frames: int = 64, **fields: Any) -> Work:
    given = {"id": f"c{row}", "animator": "magicanimate", "reference": "r.png", "driving": "v.mp4", "width": 512}
    given |= {"height": 512, "steps": 25, "guidance": [7.5], "window": 16, "overlap": 4, "fps": 25, **fields}
    video = Source(uri="v.mp4", digest="0", width=512, height=512, frames=frames, fps=Fraction(25))
    made = Work(row=row, clip=Clip.model_validate(given), driving=video, frames=frames)
    return made.keyed(pose_key=f"p{row}", pose_estimator="densepose", latents_key=f"l{row}", film_key=f"f{row}")


def plan(*works: Work, **ready: Any) -> Plan:
    return Plan(todo=[planned_clip(one) for one in works], **ready)


def test_a_film_of_64_frames_takes_an_h200_as_long_as_its_operations_say(tmp_path: Any) -> None:
    run = settings(tmp_path, animate_pool={"num_gpus": 1}, price={"gpu_hour": 3.6})
    made = figures(plan(work(0), poses_ready={"p0"}), 0, run, workers_of(run, 1, "h200", None), None)
    assert made.windows == 147  # six at most steps, as borders move with them
    needed = 147 * 30.6 + 25 * (64 * 0.283 + 0.8) + 64 * 2.51
    assert made.pflop == pytest.approx(needed / 1000, rel=0.01)
    assert made.gpu_hours * 3600 == pytest.approx(made.pflop * 1000 / (989 * SHARE) + 19 + 3.7, rel=0.05)
    assert made.cost == pytest.approx(made.wall_seconds * 3.6 / 3600)
    assert made.cost_per_film_second == pytest.approx(made.cost / 2.56)
    assert 5e9 < made.memory_bytes["magicanimate"] < 20e9
    assert made.latents_bytes == 64 * 512 * 512 * 4 / 16


def test_films_that_are_there_take_nothing_and_stored_latents_only_their_encoding(tmp_path: Any) -> None:
    run = settings(tmp_path, animate_pool={"num_gpus": 1})
    workers = workers_of(run, 1, "h200", None)
    whole = figures(plan(work(0)), 0, run, workers, None)
    stored = figures(plan(work(0), latents_ready={latents_name("l0", None)}), 0, run, workers, None)
    assert (stored.encoded_anew, stored.windows, stored.latents_bytes) == (1, 0, 0)
    assert stored.pflop < whole.pflop / 10
    nothing = figures(plan(), 2, run, workers, None)
    assert (nothing.wall_seconds, nothing.refused) == (0, 2)
    assert "0 films to make" in next(iter(forecast_lines(nothing)))


def test_more_gpus_end_sooner_and_cost_what_they_idle(tmp_path: Any) -> None:
    run = settings(tmp_path, animate_pool={"num_gpus": 1}, pose_pool={"size": 64}, price={"gpu_hour": 3})
    night = plan(*(work(row, frames=600) for row in range(16)))
    few, many = (figures(night, 0, run, workers_of(run, gpus, "h200", None), None) for gpus in (2, 16))
    assert many.wall_seconds < few.wall_seconds
    assert many.gpu_hours_held - many.gpu_hours > few.gpu_hours_held - few.gpu_hours


def test_segments_of_a_long_film_are_shared_by_several_workers(tmp_path: Any) -> None:
    run = settings(tmp_path, animate_pool={"num_gpus": 1})
    long = plan(work(0, frames=2400), poses_ready={"p0"})
    one, ten = (figures(long, 0, run, workers_of(run, gpus, "h200", None), None) for gpus in (1, 10))
    assert one.segments == ten.segments == 10
    assert one.wall_seconds - one.start_seconds > 3 * (ten.wall_seconds - ten.start_seconds)
    assert ten.worker_seconds > one.worker_seconds, "each of them loads the model"


def test_a_film_that_does_not_fit_on_the_card_is_told(tmp_path: Any) -> None:
    run = settings(tmp_path, animate_pool={"num_gpus": 1, "dtype": "float32"})
    huge = work(0, width=2048, height=2048, window=24)
    lines = list(forecast_lines(figures(plan(huge), 0, run, workers_of(run, 1, "t4", None), None)))
    assert any("does not fit" in line for line in lines)


def calibration(run: RunSettings) -> Calibration:
    pace = Pace(animator="magicanimate", pixels=512 * 512, tflops=1e9, clip=7, frame=0, drawing_clip=2, drawing_frame=0)
    return Calibration(
        setup=Setup.of(run),
        measured=datetime(2026, 11, 29, tzinfo=UTC),
        host="here",
        rows=7,
        paces=[pace],
        start_seconds=11,
        end_seconds=1,
        inputs_seconds=0.5,
        load_seconds={"magicanimate": 4},
        pose_seconds={"densepose": 0.25},
        film_bytes=1000,
    )


def test_a_measured_pace_replaces_what_is_assumed(tmp_path: Any) -> None:
    run = settings(tmp_path)
    measured = calibration(run)
    made = figures(plan(work(0)), 0, run, workers_of(run, None, None, None), measured)
    assert made.worker_seconds == pytest.approx(13, abs=0.01)
    assert made.wall_seconds == pytest.approx(11 + 64 * 0.25 + 0.5 + 13 + 1, abs=0.01)
    assert any("measured on here" in line for line in made.assumptions)
    measured.write(run.layout)
    assert stored_calibration(run) == measured
    assert stored_calibration(settings(tmp_path, animate_pool={"threads": 2})) is None


def test_an_animator_that_nobody_counted_is_told_and_not_guessed(tmp_path: Any, plain_animators: None) -> None:
    run = settings(tmp_path)
    one = work(0).model_copy(update={"clip": Clip(id="c", animator="plain", width=48, height=64, steps=1, fps=25)})
    made = figures(plan(one), 0, run, workers_of(run, None, None, None), None)
    assert made.uncounted == {"plain": 1}
    assert any("nobody has counted" in line for line in made.assumptions)


def test_a_gpu_that_nobody_names_is_asked_for() -> None:
    with pytest.raises(WrongUsage, match="nothing says which"):
        machine_of("cuda", None, None, "auto", None)
    with pytest.raises(WrongUsage, match="is not known"):
        machine_of("cuda", "h2000", None, "auto", None)
    assert machine_of("cuda", None, 123.0, "auto", None).tflops == 123


def test_what_was_measured_on_gpus_needs_no_card_and_tells_what_is_left_unknown(tmp_path: Any) -> None:
    run = settings(tmp_path, animate_pool={"num_gpus": 1}, price={"gpu_hour": 3})
    assert expected(plan(work(0)), 0, run) is None, "nothing says which card it is"
    calibration(run).write(run.layout)
    made = expected(plan(work(0)), 0, run)
    assert made is not None
    assert made.gpu_hours * 3600 == pytest.approx(13, abs=0.01)
    assert made.cost
    other = expected(plan(work(0, animator="animate_anyone")), 0, run)
    assert other is not None
    assert other.uncounted == {"animate_anyone": 1}
    assert any("no card is named" in line for line in other.assumptions)


def test_a_card_is_known_by_rays_name_for_it(tmp_path: Any) -> None:
    for name in ("H100", "H200", "A100-80G", "A100-40G", "A100", "A10G", "L4", "L40S", "V100", "T4", "B200"):
        assert card_of(name) in CARDS
    assert (card_of("A100-80G"), card_of("TPU-V5"), card_of(None)) == ("a100-80", None, None)
    run = settings(tmp_path, animate_pool={"num_gpus": 1, "accelerator_type": "A100-80G"})
    made = expected(plan(work(0)), 0, run)
    assert made is not None
    assert made.card_bytes == 80 * 2**30


def test_workers_for_one_animator_work_beside_the_others_and_are_paid(tmp_path: Any) -> None:
    pools = {"animate_pool": {"num_gpus": 1}, "animate_pools": {"animate_anyone": {"size": 3, "num_gpus": 2}}}
    run = settings(tmp_path, **pools)
    ours, theirs = plan(work(0)), plan(work(1, animator="animate_anyone"))
    both = plan(*(clip.work for clip in (*ours.todo, *theirs.todo)))
    made = [figures(one, 0, run, workers_of(run, None, "h200", None), None) for one in (ours, theirs, both)]
    assert [one.workers for one in made] == [1, 3, 4]
    assert [one.gpus for one in made] == [1, 6, 7]
    assert made[2].gpu_hours == pytest.approx(made[0].gpu_hours + made[1].gpu_hours)
    assert made[2].wall_seconds == pytest.approx(max(one.wall_seconds for one in made[:2]))
    assert any("animate_anyone: 3 worker(s) of its own, with 2 GPU(s) each" in line for line in made[2].assumptions)
    assert workers_of(run, 8, "h200", None).animating == 2, "6 of the 8 are the others'"


def test_devices_that_make_a_film_together_are_as_fast_as_they_are_many_and_paid(tmp_path: Any) -> None:
    alone, together = (settings(tmp_path, animate_pool={"num_gpus": count, "gpus_per_clip": count}) for count in (1, 4))
    long = plan(work(0, frames=240), poses_ready={"p0"})
    one, four = (figures(long, 0, run, workers_of(run, None, "h200", None), None) for run in (alone, together))
    assert four.gpus == 4
    assert one.worker_seconds / 4 < four.worker_seconds < 0.6 * one.worker_seconds, "one of them draws"
    assert any("4 devices that make a film together" in line for line in four.assumptions)
    reached = figures(long, 0, together, workers_of(together, None, None, 400), None)
    assert not any("devices that make" in line for line in reached.assumptions), "--tflops is of a worker"
