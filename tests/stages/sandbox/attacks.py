"""Readers that do in the sandbox what a file might make a decoder do, once its author had taken it over."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from manifests.errors import Rejected
from stages.sandbox.child import Answer, Answers, Reader


def _tried(attempt: Callable[[], object]) -> Answer:
    """What became of it: the name of the error, or "done"."""
    try:
        attempt()
    except OSError as denied:
        return Answer(errno.errorcode.get(denied.errno or 0, "?"))
    return Answer("done")


def _fill(gigabytes: float) -> Answer:
    kept = [np.ones(2**27, np.uint8) for _ in range(round(gigabytes * 8))]
    return Answer(len(kept))


def _spin() -> Answer:
    while True:
        pass


def _raise_limit(kind: int) -> Answer:
    try:
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):  # Python's answer to EPERM
        return Answer("refused")
    return Answer("done")


def _signal(number: int) -> Answer:
    """As native code ends: nothing of Python's is asked."""
    if number == signal.SIGSEGV:
        ctypes.string_at(0)
    os.abort()


def _connect(port: int) -> Answer:
    return _tried(lambda: socket.create_connection(("127.0.0.1", port), 5))


def _datagram() -> Answer:
    return _tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def _write(path: str) -> Answer:
    return _tried(lambda: Path(path).write_bytes(b"taken over"))


def _write_to_input(given: Path) -> Answer:
    return _tried(lambda: given.write_bytes(b"taken over"))


def _read(path: str) -> Answer:
    return _tried(lambda: Path(path).read_bytes())


def _remove(path: str) -> Answer:
    return _tried(lambda: os.unlink(path))


def _change_mode(path: str) -> Answer:
    return _tried(lambda: os.chmod(path, 0o640))


def _run(program: str) -> Answer:
    return _tried(lambda: subprocess.run([program], check=True))


def _fork() -> Answer:
    return _tried(os.fork)


def _kill(process: int) -> Answer:
    return _tried(lambda: os.kill(process, signal.SIGKILL))


def _reach(process: int) -> Answer:
    """By way of attempt, what became of each that reaches another process without `kill`."""
    libc, information = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(128)
    information[0:12] = struct.pack("=3i", signal.SIGTERM, 0, -1)  # signal, error, SI_QUEUE
    numbers = {"rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "sched_setattr": (314, 274)}
    numbers |= {"ioprio_set": (251, 30), "kcmp": (312, 272), "memfd_secret": (447, 447)}
    column = 0 if platform.machine() == "x86_64" else 1

    def call(name: str, *arguments: object) -> None:
        if libc.syscall(numbers[name][column], *arguments) < 0:
            raise OSError(ctypes.get_errno(), name)

    attempts: dict[str, Callable[[], object]] = {
        "queued": lambda: call("rt_sigqueueinfo", process, signal.SIGTERM, information),
        "queued for a thread": lambda: call("rt_tgsigqueueinfo", process, process, signal.SIGTERM, information),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, process, 19),
        "processors": lambda: os.sched_setaffinity(process, {0}),
        "scheduler": lambda: os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0)),
        "attributes": lambda: call("sched_setattr", process, ctypes.create_string_buffer(struct.pack("=I", 48), 48), 0),
        "disk": lambda: call("ioprio_set", 1, process, 3 << 13),
        "comparison": lambda: call("kcmp", process, process, 1, 0, 0),
        "unseen memory": lambda: call("memfd_secret", 0),
    }
    return Answer({name: _tried(attempt).data for name, attempt in attempts.items()})


def _spoil(folder: str) -> Answer:
    """By way of attempt, what became of each that changes what lies in a folder: `file`, and `empty`, a folder."""
    file, new = os.path.join(folder, "file"), os.path.join(folder, "new")

    def map_it() -> None:
        with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
            mapped[:1] = b"!"

    attempts: dict[str, Callable[[], object]] = {
        "link": lambda: os.link(file, new),
        "symlink": lambda: os.symlink(file, new),
        "mkdir": lambda: os.mkdir(new),
        "mknod": lambda: os.mkfifo(new),
        "create": lambda: os.open(new, os.O_CREAT),
        "map": map_it,
        "open and truncate": lambda: os.open(file, os.O_TRUNC),
        "truncate": lambda: os.truncate(file, 0),
        "rename": lambda: os.rename(file, new),
        "remove": lambda: os.unlink(file),
        "rmdir": lambda: os.rmdir(os.path.join(folder, "empty")),
    }
    return Answer({name: _tried(attempt).data for name, attempt in attempts.items()})


def _look_around() -> Answer:
    """(environment, descriptors, threads' libraries' thread): a thread may still be started, as decoders do."""
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append("thread"))
    thread.start()
    thread.join()
    sockets = [int(name) for name in os.listdir("/proc/self/fd") if _is_socket(int(name))]
    return Answer({"environment": dict(os.environ), "sockets": len(sockets), "thread": seen})


def _name(given: Path) -> Answer:
    return Answer([given.name, given.suffix, given.read_text(), given.is_file()])


def _count(most: int) -> Answers:
    for number in range(most):
        yield Answer(number, (np.full((200, 200, 3), number % 256, np.uint8),))
    return Answer("all")


def _sleep(seconds: float) -> Answer:
    time.sleep(seconds)
    return Answer(os.getpid())


def _process() -> Answers:
    yield Answer(os.getpid())
    time.sleep(600)
    return None


def _reject(text: str) -> Answer:
    raise Rejected(text, "do otherwise")


def _sum(given: Path, numbers: np.ndarray) -> Answer:
    return Answer([given.read_text(), int(numbers.sum())])


def _quote(given: Path) -> Answer:
    raise Rejected(f"[mov @ 0x1] file:{given.absolute()}: Invalid data, see {given}", "do otherwise")


def _fail() -> Answer:
    raise ZeroDivisionError("of a reader")


def _claim(shape: list[int]) -> Answer:
    """An array that is said to be larger than it is: written past what makes messages."""
    head = f'["end", null, [["uint8", {shape}]]]'.encode()
    _socket().sendall(len(head).to_bytes(8, "big") + head)
    os._exit(0)


def _garbage(data: str) -> Answer:
    _socket().sendall(bytes.fromhex(data))
    os._exit(0)


def _close() -> Answer:
    _socket().close()
    return _sleep(600)


def _socket() -> socket.socket:
    """The one to who asked, as who took over a process finds it."""
    found = [int(name) for name in os.listdir("/proc/self/fd") if _is_socket(int(name))]
    return socket.socket(fileno=found[0])


def _is_socket(number: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{number}").startswith("socket")
    except OSError:
        return False


def _decord(given: Path) -> Answer:
    import decord

    return Answer(len(decord.VideoReader(str(given))))


def _imported() -> Answer:
    return Answer(sorted(name for name in ("torch", "ray", "diffusers") if name in sys.modules))


_ALL: list[Callable[..., Answer | Answers | None]] = [
    *(_fill, _spin, _raise_limit, _signal, _connect, _datagram, _write, _write_to_input, _read, _remove),
    *(_change_mode, _run, _fork, _kill, _reach, _spoil, _look_around, _name, _count, _sleep, _process, _reject),
    *(_sum, _quote, _fail, _claim, _garbage, _close, _imported, _decord),
]
READERS = {call.__name__.strip("_"): Reader(call) for call in _ALL}
