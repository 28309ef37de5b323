"""What is called when a run has ended: a command, or a web hook. Its failure is a warning, never the run's."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from manifests.errors import WrongUsage
from manifests.temporary import temporary_folder
from pipelines.progress import Say
from pipelines.running.record import RunResults

COMMAND_SECONDS = 300.0
ANSWER_SECONDS = 15.0
TRIES = 4


def require_hook(on_end: str | None) -> None:
    """Raise `WrongUsage` for what cannot be called, before a night is spent on finding out."""
    if on_end is None:
        return
    if is_web_hook(on_end):
        if re.search(r"\s", on_end) or not _host(on_end):
            raise WrongUsage(f"on_end {_hint(on_end)!r}: is no whole URL", "write https://host/path, without spaces")
        return
    try:
        words = shlex.split(on_end)
    except ValueError as wrong:
        raise WrongUsage(f"on_end {_hint(on_end)!r}: {wrong}", "quote its words as for a shell") from None
    if not words or shutil.which(words[0]) is None:
        error = f"on_end {_hint(on_end)!r}: there is no such program here"
        raise WrongUsage(error, "name one, or a URL of http or https")


def is_web_hook(on_end: str) -> bool:
    """Whether it is a URL."""
    return on_end.partition(":")[0].lower() in ("http", "https")


def call_hook(on_end: str | None, outcome: RunResults, exit_code: int, say: Say) -> None:
    """Tell it of a run that has ended, and with which exit code its command ends.

    A command gets the path of a local copy of the summary behind its own words, and as `CATWALK_SUMMARY`; it runs
    without a shell. A web hook is posted the summary as JSON, and asked again where that may help.
    """
    if on_end is None:
        return
    summary = {**outcome.summary, "exit_code": exit_code, "folder": outcome.folder}
    try:
        if is_web_hook(on_end):
            _post(on_end, json.dumps(summary).encode())
            return
        with temporary_folder("on-end") as folder:
            copy = folder / "summary.json"
            copy.write_text(json.dumps(summary, indent=2), encoding="utf-8")
            _run(shlex.split(on_end), copy, outcome, exit_code)
    except Exception as failed:
        say(f"warning: on_end {_shown(on_end)} failed: {_reason(failed)}")


def _run(words: Sequence[str], summary: Path, outcome: RunResults, exit_code: int) -> None:
    about = {
        "CATWALK_SUMMARY": str(summary),
        "CATWALK_RUN_ID": outcome.run_id,
        "CATWALK_RUN_FOLDER": outcome.folder,
        "CATWALK_EXIT_CODE": str(exit_code),
    }
    command = subprocess.Popen(  # noqa: S603 (what the configuration says, without a shell)
        [*words, str(summary)],
        env={**os.environ, **about},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = command.communicate(timeout=COMMAND_SECONDS)
    except BaseException:  # it takes too long, or this process is told to end
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)  # what it started too
        command.communicate()
        raise
    if command.returncode:
        last = output.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(": ".join([f"it ended with {command.returncode}", *last]))


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code == 429
    return isinstance(error, OSError)


@retry(
    retry=retry_if_exception(_may_pass),
    stop=stop_after_attempt(TRIES),
    wait=wait_exponential_jitter(initial=0.5, max=10),
    reraise=True,
)
def _post(url: str, body: bytes) -> None:
    # S310: the configuration takes http and https alone
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
        answer.read(1)


def _shown(on_end: str) -> str:
    """Without what may be secret: of a URL the host alone, of a command its program."""
    return _host(on_end) if is_web_hook(on_end) else shlex.split(on_end)[0]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _hint(on_end: str) -> str:
    """As much of what cannot be read as is no secret, were it a URL: the host or the program, or the path of a file."""
    word = next(iter(on_end.split()), "")
    if word.startswith(("/", "./", "../", "~")):
        return re.split("[?#=]", word, maxsplit=1)[0]
    host = re.match(r"(?:[\w+.-]*:/+)?(?:[^/@]*@)?([^/:?#=@]*)", word)
    return host[1] if host else ""


def _reason(failed: Exception) -> str:
    if isinstance(failed, subprocess.TimeoutExpired):
        return f"it took longer than {COMMAND_SECONDS:g} s"
    if isinstance(failed, urllib.error.HTTPError):
        return f"it answered {failed.code}"
    return str(failed) or type(failed).__name__
