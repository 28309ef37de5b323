"""How the order to end is taken."""

from __future__ import annotations

import os
import signal

import pytest

from pipelines.console import Terminated, orders_noted


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_the_first_order_is_noted_and_the_second_ends_at_once(number: int, name: str) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with orders_noted() as orders:
        assert orders.first is None
        os.kill(os.getpid(), number)
        assert orders.first == name
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert orders.first == name
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
