"""Getting hold of a cluster."""

import time

import pytest

from cluster.connection import _answers
from manifests.errors import Problem


def test_an_address_where_nothing_listens_is_said_in_seconds() -> None:
    begun = time.monotonic()
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9"):
        with pytest.raises(Problem, match="no Ray cluster answers"):
            _answers(address)
    assert time.monotonic() - begun < 5
    _answers("auto")
