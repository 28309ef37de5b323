"""A head as `ray start --head` makes one, with its job API, in a folder and on ports of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import CHECKOUT

STARTING_SECONDS = 240
AS_CONNECT = {"RAY_worker_niceness": "0"}  # as of clusters that it starts


@dataclass(frozen=True)
class Head:
    """Where it answers, and with what environment it is asked."""

    address: str
    folder: Path
    environment: dict[str, str]

    def catwalk(self, *words: str) -> subprocess.Popen[str]:
        """A command of this checkout, told where the head is."""
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *words, f"--address={self.address}"],
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def said(self, *words: str, code: int = 0) -> str:
        """All that a command says, which ends with that exit code."""
        process = self.catwalk(*words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"{process.returncode}: {out}{err}"
        return out + err


def apart() -> dict[str, str]:
    """The environment of a script of this checkout that makes a cluster of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**environment, **AS_CONNECT, "PYTHONPATH": str(CHECKOUT)}


@contextmanager
def head(token: str | None = None) -> Iterator[Head]:
    """One that asks for this token, or for none; it ends with the block, and nothing else does."""
    folder = Path(tempfile.mkdtemp(prefix="head", dir="/tmp"))  # a socket's path has few letters
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", "HOME": str(folder), "PYTHONPATH": str(CHECKOUT), **AS_CONNECT}
    environment["RAY_raylet_start_wait_time_s"] = str(STARTING_SECONDS)  # where others use the machine too
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if token is not None:
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    gcs, dashboard, client = _free_ports(3)
    command = ["ray", "start", "--head", "--block", f"--port={gcs}", f"--dashboard-port={dashboard}", "--num-cpus=2"]
    command += [f"--ray-client-server-port={client}", "--dashboard-agent-listen-port=0", f"--temp-dir={folder}/r"]
    command += ["--object-store-memory=80000000", "--disable-usage-stats"]
    with open(folder / "said.txt", "wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL
        )
    try:
        _await(process, folder / "said.txt")
        yield Head(f"http://127.0.0.1:{dashboard}", folder, environment)
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _await(process: subprocess.Popen[bytes], said: Path) -> None:
    end = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if "Ray runtime started" in said.read_text():
            return
        time.sleep(0.2)
    raise AssertionError(f"no head: {said.read_text()[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the head and what it started, by their ids."""
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        _, left = psutil.wait_procs([psutil.Process(process.pid), *family], timeout=5)
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait(30)
