"""A night on a head as users start one: submitted, joined, stopped, continued; and what is kept from others."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.job_submission import JobDetails

from cluster import jobs as job_api
from cluster.jobs import Jobs, _Log, address_of
from manifests import results
from manifests.errors import Problem, WrongUsage
from stages.poses.files import openpose_json
from tests.chaos.painted import IMPLEMENTATION, NAME, WORK_LOG
from tests.made.pose_motions import FPS, HEIGHT, WIDTH, Body, dancing
from tests.made.ray_head import Head, head
from tests.made.sample_media import write_manifest, write_reference

TOKEN = "a-token-of-this-test-alone"
FRAMES = 4


def until(what: Callable[[], Any], seconds: float = 240) -> Any:
    """What is waited for, as soon as it is there."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def guarded() -> Iterator[Head]:
    """A cluster that asks for a token."""
    with head(TOKEN) as one:
        yield one


class Story:
    """A night of three rows, told to the cluster three times: begun, joined, and continued once it was stopped."""

    def __init__(self, cluster: Head, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.out = folder / "out"
        self.worked = folder / "hush-hush-worked"
        self.worked.mkdir()
        cluster.environment[WORK_LOG] = str(self.worked)  # the head was begun before: only the job can bring it
        write_reference(folder / "reference.png")
        people = dancing(Body(), FRAMES, seed=1).keypoints(seed=1)
        documents = [openpose_json.write(people.people(frame)) for frame in range(FRAMES)]
        motion = {"width": WIDTH, "height": HEIGHT, "fps": str(int(FPS)), "frames": documents}
        (folder / "motion.json").write_text(json.dumps(motion))
        (folder / "night.yaml").write_text(f"animators: {{{NAME}: {IMPLEMENTATION}}}\n")
        rows = [self.row(name, seconds, seed) for seed, (name, seconds) in enumerate({"a": 5, "b": 5, "c": 0}.items())]
        self.arguments = [write_manifest(folder / "m.parquet", rows), str(self.out), "--run-id=night"]
        self.arguments += [f"--config={folder}/night.yaml", f"--env={WORK_LOG}"]
        self.tell()

    @staticmethod
    def row(clip_id: str, seconds: float, seed: int) -> dict[str, Any]:
        row = {"id": clip_id, "reference": "reference.png", "driving": "motion.json", "driving_kind": "keypoints"}
        row |= {"animator": NAME, "width": 48, "height": 64, "frame_count": FRAMES, "seed": seed}
        return {**row, "options": {"seconds": seconds}}

    def tell(self) -> None:
        cluster = self.cluster
        first, _ = self.submitted("is job night on")
        second, self.joined = self.submitted("Running entrypoint")
        os.kill(second.pid, signal.SIGINT)
        attempts = self.out / "runs" / "night" / "attempts"
        until(lambda: first.poll() is not None or list(attempts.glob("animate.*.json")))
        self.told_to_stop = cluster.said("stop", "night", str(self.out))
        self.left, self.left_code = second.communicate(timeout=300)[1], second.returncode
        self.followed, self.first_code = first.communicate(timeout=300)[1], first.returncode
        self.stopped = self.statuses()
        self.status = cluster.said("status", "night")
        self.continued = cluster.said("submit", *self.arguments, "--image-only", "--json")
        self.ended = self.statuses()

    def submitted(self, word: str) -> tuple[subprocess.Popen[str], str]:
        """A submission that follows, once it has said that, and what it has said."""
        process, said = self.cluster.catwalk("submit", *self.arguments), ""
        assert process.stderr
        for line in process.stderr:
            said += line
            if word in line:
                return process, said
        raise AssertionError(said)

    def statuses(self) -> dict[str, str]:
        record = results.read(str(self.out / "runs" / "night" / "results.parquet"))
        return {str(result.id): result.status for result in record}


@pytest.fixture(scope="module")
def story(guarded: Head, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(guarded, tmp_path_factory.mktemp("story"))


def test_a_night_is_submitted_and_followed_to_its_results(story: Story) -> None:
    assert "3 films to make" in story.followed, "the job's log, live"
    assert "results: " in story.followed
    assert story.ended == {"a": "done", "b": "done", "c": "done"}


def test_a_second_submission_joins_the_night_that_goes_on_and_may_leave_it(story: Story) -> None:
    assert "going on already, as job night on" in story.joined
    assert "another than this one" not in story.joined
    assert story.left_code == 1
    assert f"the job goes on; `catwalk logs -f night --address {story.cluster.address}` follows it" in story.left
    assert story.stopped["a"] == "done", "it did go on"


def test_stop_drains_the_night_and_its_exit_code_comes_back(story: Story) -> None:
    assert "ends when the rows in hand are finished" in story.told_to_stop
    assert "told to stop (catwalk stop)" in story.followed
    assert story.stopped["a"] == "done", "it was in hand, or over"
    assert story.stopped["c"] == "not_reached"
    assert story.first_code == 3


def test_a_stopped_night_goes_on_as_the_next_attempt(story: Story) -> None:
    told = json.loads(story.continued[: story.continued.index("\n}") + 2])
    assert told == {"exit_code": 0, "run_id": "night", "job": "night-attempt-2", "attempt": 2, "state": "succeeded",
                    "attached": False}  # fmt: skip
    assert "1 finished already" in story.continued or "2 finished already" in story.continued


def test_status_says_how_far_each_night_is(story: Story) -> None:
    heading, line = story.status.splitlines()
    assert heading.split()[:3] == ["run", "attempt", "state"]
    assert line.startswith("night  1        failed, exit code 3")
    assert "of 3: " in line
    assert "not reached" in line


def test_values_of_the_environment_reach_the_workers_and_nobody_else(story: Story) -> None:
    assert "paint c 0" in "".join(path.read_text() for path in story.worked.iterdir()), "an animating worker had it"
    shown = _asked(story.cluster, "print(client.list_jobs())")
    assert "job_environment.applied" in shown
    logs = [path for path in story.cluster.folder.rglob("*") if path.is_file() and "/logs/" in str(path)]
    assert len(logs) > 10
    said = [story.followed, story.joined, story.continued, shown, *(path.read_text(errors="replace") for path in logs)]
    assert [text for text in said if story.worked.name in text] == []


def test_a_job_that_fails_says_why_and_with_which_exit_code(guarded: Head, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.parquet")
    said = guarded.said("submit", absent, str(tmp_path / "out"), "--run-id=broken", "--image-only", code=2)
    assert f"{absent}" in said
    quietly = guarded.said("submit", absent, str(tmp_path / "out"), "--run-id=broken", "--image-only", "-q", code=2)
    assert quietly.startswith("catwalk: the log of job broken-attempt-2 ends so:\n")
    assert "→ name a .parquet file" in quietly
    assert guarded.said("logs", "broken", "-f", code=2).count("Running entrypoint") == 1
    assert "run 'broken' does not go on" in guarded.said("stop", "broken", str(tmp_path / "out"), code=2)


def test_a_job_that_has_begun_no_rows_is_ended_by_its_cluster(guarded: Head, tmp_path: Path) -> None:
    _asked(guarded, "client.submit_job(entrypoint='sleep 600', submission_id='sleeper')")  # as others may submit one
    assert "job sleeper is told to end" in guarded.said("stop", "sleeper", str(tmp_path))
    assert "job sleeper was stopped" in guarded.said("logs", "sleeper", "-f", code=1)
    assert "its job sleeper has ended: stopped" in guarded.said("stop", "sleeper", "--now", code=2)


def _asked(cluster: Head, statement: str) -> str:
    """What Ray's own client answers."""
    client = "import sys; from ray.job_submission import JobSubmissionClient; client = JobSubmissionClient(sys.argv[1])"
    return subprocess.run(
        [sys.executable, "-c", f"{client}; {statement}", cluster.address],
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "asks for a token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of another cluster"}, "does not take this token"),
    ],
)
def test_without_its_token_a_cluster_is_not_reached(guarded: Head, token: dict[str, str], said: str) -> None:
    stranger = Head(guarded.address, guarded.folder, {**guarded.environment, "RAY_AUTH_TOKEN": "", **token})
    refused = stranger.said("status", code=1)
    assert f"the cluster at {guarded.address} {said}" in refused
    assert "RAY_AUTH_TOKEN" in refused
    assert "Traceback" not in refused


def test_a_token_is_shown_to_a_cluster_that_asks_for_one(guarded: Head) -> None:
    unset = {name: value for name, value in guarded.environment.items() if name != "RAY_AUTH_MODE"}
    assert Head(guarded.address, guarded.folder, unset).said("status")


# Without a cluster


def test_an_address_is_what_is_given_before_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://other:8265/")
    assert address_of("head:8265") == "http://head:8265"
    assert address_of("https://head/ray/") == "https://head/ray"
    assert address_of(None) == "http://other:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://api:80")
    assert address_of(None) == "http://api:80"
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name)
    assert address_of(None) == "http://127.0.0.1:8265"


def test_where_no_cluster_is_it_is_said_at_once_what_to_do() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(Problem, match=f"no Ray cluster answers at {nowhere}.*--address, http://HEAD:8265"):
            Jobs(nowhere)
        assert time.monotonic() - begun < 5


def test_what_is_no_dashboard_is_named_as_such(s3_endpoint: str) -> None:
    with pytest.raises(Problem, match=r"what answers at .* is no job API of Ray.*ray\[default\]"):
        Jobs(s3_endpoint)
    with pytest.raises(WrongUsage, match="no URL of a dashboard"):
        Jobs("ray://head:10001")


def test_a_log_that_is_read_again_after_a_broken_connection_is_told_once() -> None:
    told: list[str] = []
    log = _Log(told.append)
    for part in ("one\ntwo\n", "thr"):
        log(part)
    log.again()
    for part in ("one\n", "two\nthree\n", "four\n"):
        log(part)
    assert "".join(told) == "one\ntwo\nthree\nfour\n"


class Listing:
    """A job API whose jobs others submitted."""

    def __init__(self, **metadata: dict[str, str]) -> None:
        self.found = [
            JobDetails(type="SUBMISSION", submission_id=name, status="SUCCEEDED", entrypoint="", metadata=noted)
            for name, noted in metadata.items()
        ]

    def list_jobs(self) -> list[JobDetails]:
        return self.found

    def submit_job(self, submission_id: str, metadata: dict[str, str], **_: Any) -> None:
        assert submission_id not in [job.submission_id for job in self.found], "asked for again and again"
        self.found += Listing(**{submission_id: metadata}).found

    def get_job_info(self, job_id: str) -> JobDetails:
        return next(job for job in self.found if job.submission_id == job_id)


def test_the_id_of_a_jobs_later_attempt_is_no_name_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_api, "_connected", lambda address: Listing(**{"spring-1": {}, "spring-1-attempt-2": {}}))
    jobs = Jobs("head:8265")
    with pytest.raises(WrongUsage, match="the run id is 'spring-1'"):
        jobs.submit("spring-1-attempt-2", ["true"], {}, {})
    assert jobs.submit("spring-1", ["true"], {}, {}).job.id == "spring-1-attempt-3"


def test_what_others_note_with_their_jobs_is_taken_for_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = Listing(theirs={"name": "night", "attempt": "first"}, night={"name": "theirs", "attempt": "4"})
    monkeypatch.setattr(job_api, "_connected", lambda address: foreign)
    jobs = Jobs("head:8265")
    assert [(job.id, job.name, job.attempt) for job in jobs.all()] == [("theirs", "theirs", 1), ("night", "night", 1)]
    submitted = jobs.submit("night", ["true"], {}, {"output": "s3://films"})
    assert (submitted.job.id, submitted.job.about) == ("night-attempt-2", {"output": "s3://films"})


class Night:
    """A job that writes a line every minute, on a head that breaks every connection after an hour, by a clock of its
    own; `absent` are hours, from one to another, in which nothing answers."""

    def __init__(self, hours: float, *absent: tuple[float, float], lines: bool = True) -> None:
        self.now, self.end, self.absent, self.lines = 0.0, 3600 * hours, absent, lines

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def written(self) -> str:
        return "".join(f"{n}\n" for n in range(int(min(self.now, self.end) // 60))) if self.lines else ""

    def require_answer(self) -> None:
        if any(begin <= self.now / 3600 < end for begin, end in self.absent):
            raise RuntimeError("nobody is there")

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        self.require_answer()
        yield self.written()
        self.now += 3600
        raise RuntimeError("WebSocket connection closed unexpectedly with close code 1006")

    def get_job_info(self, job_id: str) -> JobDetails:
        self.require_answer()
        status = "SUCCEEDED" if self.now >= self.end else "RUNNING"
        return JobDetails(type="SUBMISSION", submission_id=job_id, status=status, entrypoint="")

    def get_job_logs(self, job_id: str) -> str:
        self.require_answer()
        return self.written()


def followed(night: Night, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """What is told of it, and its state at the end."""
    monkeypatch.setattr(job_api, "_connected", lambda address: night)
    monkeypatch.setattr(job_api, "time", night)
    jobs, told = Jobs("head:8265"), list[str]()
    return jobs.follow(jobs.look("night"), told.append).state, "".join(told)


@pytest.mark.parametrize(
    "night",
    [
        Night(8),
        Night(8, lines=False),
        Night(8, (1, 1.02), (2.02, 2.05)),  # seconds, just when connections break
    ],
    ids=["as it goes", "quiet", "away for a moment"],
)
def test_a_long_night_is_followed_to_its_end_over_connections_that_break(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert followed(night, monkeypatch) == ("SUCCEEDED", night.written())


def test_a_night_is_followed_no_longer_when_its_head_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(8, (3, 7))
    with pytest.raises(Problem, match=r"no word from http://head:8265 for 120 s.*the job night may go on"):
        followed(night, monkeypatch)
    assert 3 * 3600 + 120 < night.now < 3 * 3600 + 200
