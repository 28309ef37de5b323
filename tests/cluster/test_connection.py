"""Getting hold of a cluster."""

import os
import time

import pytest
import ray

from cluster.connection import _answers, _without
from manifests.errors import Problem


def test_an_address_where_nothing_listens_is_said_in_seconds() -> None:
    begun = time.monotonic()
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9"):
        with pytest.raises(Problem, match="no Ray cluster answers"):
            _answers(address)
    assert time.monotonic() - begun < 5
    _answers("auto")


def test_a_line_that_says_nothing_is_left_out_and_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    with _without("log level from environment"):
        os.write(2, b"[logging.cc:303] Set ray log level from environment variable\nthe disk is full\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "the disk is full\nafterwards\n"


def test_workers_of_a_cluster_that_is_started_here_wait_for_nobody_else(cluster: str) -> None:
    assert cluster
    assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)
