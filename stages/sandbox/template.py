"""The process that every reading process is a copy of: `python -m stages.sandbox.template DESCRIPTOR REGISTRY`.

It imports what readers need, once, and reads no file itself. A worker asks for a copy over a socket (the reader's
name, and descriptors: for the request and its answers, for how the copy ends, and the files); a caller that is not
interested any more closes the second one, and its copy is ended. When the worker is gone, so are all.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import socket
import struct
import sys
from contextlib import suppress
from types import ModuleType

from stages.sandbox.child import read_one
from stages.sandbox.confinement import prepare

NAME_BYTES = 64  # of a reader's name, padded
MOST_DESCRIPTORS = 8
ENDED = struct.Struct("=iQd")  # how it ended as `waitpid` has it, peak of memory in bytes, seconds of processor time
LOOK_SECONDS = 2.0  # between looks whether the worker is still there


class Template:
    """Copies itself for each reading."""

    def __init__(self, control: socket.socket, registry: ModuleType) -> None:
        self._control, self._registry = control, registry
        self._worker = os.getppid()
        self._selector = selectors.DefaultSelector()
        self._readings: dict[int, socket.socket] = {}  # by process: where its end is told
        self._prepared: set[str] = set()
        self._woken, self._wake = os.pipe()  # by the end of a copy

    def serve(self) -> None:
        """Until the worker is gone."""
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(LOOK_SECONDS):
                if key.fileobj is self._control:
                    if not self._begin():
                        return
                elif key.fileobj == self._woken:
                    with suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                else:
                    self._forsake(key.fileobj)  # nobody writes there: it was closed
            self._reap()
            if os.getppid() != self._worker:
                return

    def end(self) -> None:
        """End every copy."""
        for process in self._readings:
            _kill(process)

    def _begin(self) -> bool:
        """One copy; False when the worker is gone."""
        name, descriptors = b"", []
        while len(name) < NAME_BYTES:
            try:
                more, found, *_ = socket.recv_fds(self._control, NAME_BYTES - len(name), MOST_DESCRIPTORS)
            except ConnectionError:
                more, found = b"", []
            descriptors += found
            if not more:
                return False
            name += more
        self._prepare(name.rstrip(b"\0").decode())
        asked, ended = socket.socket(fileno=descriptors[0]), socket.socket(fileno=descriptors[1])
        parent = os.getpid()
        process = os.fork()
        if not process:
            self._become(asked, ended, descriptors[2:], parent)
        asked.close()
        for descriptor in descriptors[2:]:
            os.close(descriptor)
        self._readings[process] = ended
        self._selector.register(ended, selectors.EVENT_READ, process)
        return True

    def _prepare(self, name: str) -> None:
        """Import what a reader needs before the first copy does."""
        if name not in self._prepared and name in self._registry.READERS:
            self._prepared.add(name)
            for module in self._registry.READERS[name].modules:
                with suppress(Exception):  # the copy will say what is missing
                    importlib.import_module(module)
            prepare()
            gc.collect()
            gc.freeze()

    def _become(self, asked: socket.socket, ended: socket.socket, descriptors: list[int], parent: int) -> None:
        """In the copy: let go of what is the template's, and read."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        self._selector.close()
        os.close(self._woken)
        os.close(self._wake)
        for other in (self._control, ended, *self._readings.values()):
            other.close()
        with open(os.devnull, "r+b") as nothing:
            os.dup2(nothing.fileno(), 2)
        read_one(asked, descriptors, self._registry, parent)

    def _forsake(self, ended: object) -> None:
        for process, where in self._readings.items():
            if where is ended:
                _kill(process)
                self._selector.unregister(where)

    def _reap(self) -> None:
        while self._readings:
            process, status, used = os.wait4(-1, os.WNOHANG)
            if not process:
                return
            if (ended := self._readings.pop(process, None)) is None:
                continue
            _kill_group(process)  # what it started
            unit = 1 if sys.platform == "darwin" else 1024
            with suppress(OSError):
                ended.send(ENDED.pack(status, used.ru_maxrss * unit, used.ru_utime + used.ru_stime))
            with suppress(KeyError):
                self._selector.unregister(ended)
            ended.close()


def _kill(process: int) -> None:
    _kill_group(process)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _kill_group(process: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)


def main(descriptor: int, registry: str) -> None:
    """Serve the worker at the other end of a socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the worker ends, and then so does this
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    gc.disable()  # a look at all objects would copy their memory
    prepare()
    template = Template(control, importlib.import_module(registry))
    try:
        template.serve()
    finally:
        template.end()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
