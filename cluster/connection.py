"""Getting hold of a cluster: the one this process runs in, the one named by RAY_ADDRESS, or one of our own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data

from manifests.errors import Problem


def connect() -> str:
    """Connect to Ray if that has not happened yet; returns what it is connected to, in words.

    Without an address in the environment a local cluster is started, which ends with this process.
    """
    if not ray.is_initialized():
        # for the workers of a local cluster, whose torch threads share few cores with everything else
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if "RAY_ADDRESS" not in os.environ:
            # Ray's own 15 leaves workers next to nothing beside anything else that computes: a start of minutes
            os.environ.setdefault("RAY_worker_niceness", "0")
            # or Ray Data's own actors write a line each about where their constructor arguments lie
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        if address := os.environ.get("RAY_ADDRESS"):
            _answers(address)
        handler = signal.getsignal(signal.SIGTERM)
        with _without("Set ray log level from environment variable"):
            ray.init(
                address=os.environ.get("RAY_ADDRESS", "local"),
                logging_level=logging.ERROR,
                log_to_driver=False,
                include_dashboard=None if "RAY_ADDRESS" in os.environ else False,
            )
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own would end the process before the results are written
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # a manifest shorter than a pool is wide is nothing to warn of
        warnings.filterwarnings("ignore", message="The maximum number of concurrent tasks")
        # of the release that pyproject.toml pins it is the only way to say where actors go that is no worse
        warnings.filterwarnings("ignore", message="`ray_remote_args_fn` is deprecated")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    resources = ray.cluster_resources()
    amounts = f"{resources.get('CPU', 0):g} CPU, {resources.get('GPU', 0):g} GPU"
    return f"{sum(node['Alive'] for node in ray.nodes())} node(s), {amounts}"


@contextmanager
def _without(phrase: str) -> Iterator[None]:
    """Keep lines with `phrase` from stderr, where Ray's C++ writes them past Python; all others follow the block."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            os.write(2, b"".join(line for line in caught if phrase.encode() not in line))


def _answers(address: str, seconds: float = 10) -> None:
    """Raise `Problem` unless something listens at HOST:PORT or ray://HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        return  # "auto", "local": Ray finds out at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except OSError as error:
        raise Problem(
            f"no Ray cluster answers at RAY_ADDRESS {address}: {error}", "start it, or correct or unset RAY_ADDRESS"
        ) from None
