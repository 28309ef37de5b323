"""Whoever is to be told of a run's end is told, and a hook that fails fails alone."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from manifests.errors import WrongUsage
from manifests.kept_results import KeptResults
from manifests.results import Result
from pipelines import animate, cli
from pipelines.running.record import RunResults
from pipelines.watching import hook
from pipelines.watching.hook import call_hook, require_hook

ENDED = RunResults("night", [], {"rows": 3, "done": 3}, "s3://films/runs/night")


class Server(HTTPServer):
    """Answers with the statuses that it is given, one after the other, and keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.posted: list[dict] = []
        self.pause = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?token=secret"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        time.sleep(self.server.pause)
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


def told(on_end: str) -> list[str]:
    said: list[str] = []
    call_hook(on_end, ENDED, ENDED.exit_code, said.append)
    return said


def program(tmp_path: Path, text: str) -> str:
    (tmp_path / "hook.py").write_text(text)
    return shlex.join([sys.executable, str(tmp_path / "hook.py"), "two words; rm *"])


def test_a_command_gets_the_summary_and_its_words_as_they_are(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    command = program(
        tmp_path,
        "import json, os, sys\n"
        "summary = json.load(open(sys.argv[2]))\n"
        "about = [os.environ[n] for n in ('CATWALK_RUN_ID', 'CATWALK_RUN_FOLDER', 'CATWALK_EXIT_CODE')]\n"
        "same = sys.argv[2] == os.environ['CATWALK_SUMMARY']\n"
        f"json.dump([sys.argv[1], summary, about, same], open({str(kept)!r}, 'w'))\n",
    )
    require_hook(command)
    assert told(command) == []
    word, summary, about, same = json.loads(kept.read_text())
    assert word == "two words; rm *"
    assert summary == {"rows": 3, "done": 3, "exit_code": 0, "folder": "s3://films/runs/night"}
    assert (about, same) == (["night", "s3://films/runs/night", "0"], True)


def test_a_command_that_fails_or_hangs_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = program(tmp_path, "print('no mail today'); raise SystemExit(7)")
    assert told(failing) == [f"warning: on_end {sys.executable} failed: it ended with 7: no mail today"]
    monkeypatch.setattr(hook, "COMMAND_SECONDS", 0.5)
    begun = time.monotonic()
    assert told(program(tmp_path, "import time; time.sleep(60)"))[0].endswith("it took longer than 0.5 s")
    assert time.monotonic() - begun < 20


def test_a_command_that_is_not_there_is_found_before_the_night() -> None:
    require_hook(None)
    require_hook("https://example.com/hook")
    for wrong in ("no-such-program --now", "'", ""):
        with pytest.raises(WrongUsage, match="on_end"):
            require_hook(wrong)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("htps://hooks.example.com/T0/secret?token=secret", "hooks.example.com"),
        ("hooks.example.com/T0/secret", "hooks.example.com"),
        ("https:/hooks.example.com/secret", "hooks.example.com"),
        ("https://hooks.example.com/a secret", "hooks.example.com"),
        ("https://[hooks/secret", "[hooks"),
        ("htps://user:secret@hooks.example.com", "hooks.example.com"),
        ("TOKEN=secret notify", "TOKEN"),
        ("/no/such/program --token secret", "/no/such/program"),
        ("notify-nobody 'secret", "notify-nobody"),
    ],
)
def test_a_hook_that_cannot_be_called_is_named_without_its_secret(wrong: str, hint: str) -> None:
    with pytest.raises(WrongUsage) as refused:
        require_hook(wrong)
    assert f"on_end {hint!r}" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_hook_is_told_the_exit_code_of_its_command(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Result(row=0, status="rejected", error="e", remedy="r")
    outcome = RunResults("night", KeptResults([refused]), {}, "runs/night")
    for ok, code in (((), 3), (("rejected",), 0)):
        call_hook(server.url, outcome, outcome.exit_code_if(ok), print)
        assert server.posted[-1]["exit_code"] == code
    told: list[object] = []
    monkeypatch.setattr(animate, "run", lambda *given, **options: told.append(options["ok_if"]) or outcome)
    assert cli.main(["animate", "m.parquet", str(tmp_path), "--ok-if", "rejected"]) == 0
    assert told == [["rejected"]]


def test_an_order_to_end_ends_a_hook_and_what_it_started(tmp_path: Path) -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    started = tmp_path / "started"
    command = program(
        tmp_path,
        "import pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(started)!r}).write_text(str(child.pid))\n"
        f"pathlib.Path({str(started)!r}).rename({str(started) + '.whole'!r})\n"
        "time.sleep(60)\n",
    )

    def when_started() -> None:
        while not Path(f"{started}.whole").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, end)
    try:
        threading.Thread(target=when_started, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            told(command)
    finally:
        signal.signal(signal.SIGUSR1, before)
    child = Path("/proc") / Path(f"{started}.whole").read_text()
    assert not child.exists() or " Z " in (child / "stat").read_text(), "it has been killed"


def test_a_web_hook_is_posted_the_summary_and_asked_again_where_that_helps(server: Server) -> None:
    server.answers = [503, 429]
    assert told(server.url) == []
    assert server.posted == [{"rows": 3, "done": 3, "exit_code": 0, "folder": "s3://films/runs/night"}] * 3


def test_a_web_hook_that_refuses_or_hangs_is_a_warning_without_its_secret(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [403]
    assert told(server.url) == ["warning: on_end 127.0.0.1 failed: it answered 403"]
    assert len(server.posted) == 1, "asking again would not help"
    monkeypatch.setattr(hook, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(hook._post.retry, "stop", hook.stop_after_attempt(1))  # type: ignore[attr-defined]
    server.pause = 1.0
    assert "timed out" in told(server.url)[0]
