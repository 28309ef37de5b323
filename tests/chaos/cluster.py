"""A Ray cluster of several nodes on this machine, whose nodes and workers can be found, killed and frozen."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.made.ray_head import AS_CONNECT

OBJECT_STORE = 80_000_000  # bytes per node: Ray's least is 75 MB
# what a worker of each stage has in its process title
STAGES = {"validate": "validate_", "pose": "PoseWorker", "inputs": "InputsWorker", "animate": "AnimateWorker"}


class Nodes:
    """A head without CPUs, which the driver runs beside, and `count` nodes of `resources` each.

    Everything that Ray starts inherits this process's environment. Start it before Ray is used here, in a process of
    its own: see `cluster`.
    """

    def __init__(self, count: int, **resources: Any) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._resources = {"object_store_memory": OBJECT_STORE, **resources}
        self._count = count
        self._nodes: list[Any] = []
        for _ in range(count):
            self.add()
        self._cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        """For RAY_ADDRESS."""
        return self._cluster.address

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self) -> None:
        """One node more."""
        self._nodes.append(self._cluster.add_node(wait=False, **self._resources))

    def heal(self) -> None:
        """A new node for each that has died, also of being frozen: a raylet that was given up ends when it wakes."""
        dead = [node for node in self._nodes if node.all_processes["raylet"][0].process.poll() is not None]
        for node in dead:
            self._nodes.remove(node)
            self._cluster.remove_node(node, allow_graceful=False)
        for _ in range(len(self._nodes), self._count):
            self.add()

    def lose(self, which: int) -> None:
        """End all processes of a node at once, as a machine that loses its power: nobody says good-bye."""
        node = self._nodes.pop(which)
        for process in self.processes(node):
            send(process, signal.SIGKILL)
        self._cluster.remove_node(node, allow_graceful=False)

    @contextmanager
    def frozen(self, which: int) -> Iterator[None]:
        """Stop all processes of a node for as long as the block lasts."""
        stopped = self.processes(self._nodes[which])
        for process in stopped:
            send(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(stopped):
                send(process, signal.SIGCONT)

    def processes(self, node: Any = None) -> list[psutil.Process]:
        """A node's processes (of all nodes: None), workers and what they started first."""
        found: list[psutil.Process] = []
        for one in self._nodes if node is None else [node]:
            for info in [info for infos in one.all_processes.values() for info in infos]:
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(info.process.pid)
                    found += [*reversed(process.children(recursive=True)), process]
        return found

    def workers(self) -> dict[str, list[psutil.Process]]:
        """Workers of each stage, on any node."""
        titled = [(process, _title(process)) for process in self.processes()]
        return {
            stage: [process for process, title in titled if title.startswith("ray::") and word in title]
            for stage, word in STAGES.items()
        }

    def stop(self) -> None:
        self._cluster.shutdown()


def has_row(worker: psutil.Process) -> bool:
    """Whether a worker is at work: "ray::MapWorker(Map(AnimateWorker)).submit"; one that waits lacks the method.

    A task has its title, "ray::Map(validate_source)", while it runs.
    """
    title = _title(worker)
    return title.endswith(".submit") or STAGES["validate"] in title


def is_starting(worker: psutil.Process) -> bool:
    """Whether an actor is not yet what it is to be."""
    return _title(worker).endswith(".__init__")


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def send(process: psutil.Process, what: signal.Signals) -> bool:
    """Send a signal; returns whether there was somebody to get it."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(what)
        return True
    return False


@contextmanager
def cluster(count: int, environment: Mapping[str, str], **resources: Any) -> Iterator[Nodes]:
    """Nodes whose processes see `environment` too, with a folder of their own for Ray's files, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="cw", dir="/tmp"))  # short: names of Ray's sockets are at most 107 bytes
    own = {"RAY_TMPDIR": str(folder), "RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}
    own |= {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DEDUP_LOGS": "0", **AS_CONNECT, **environment}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    nodes = Nodes(count, **resources)
    try:
        yield nodes
    finally:
        nodes.stop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)
