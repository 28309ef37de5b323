"""How the order to end is taken."""

from __future__ import annotations

import os
import signal

import pytest

from pipelines.console import Terminated, orders_noted, told_to_end


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


@pytest.mark.parametrize(("order", "raised"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_an_order_to_end_is_one_whatever_a_library_makes_of_it(order: int, raised: type[KeyboardInterrupt]) -> None:
    def written() -> None:
        try:
            os.kill(os.getpid(), order)
        except KeyboardInterrupt as came:
            raise ValueError("cannot be written") from came

    with pytest.raises(raised), told_to_end():
        written()
    with pytest.raises(ValueError, match="its own"), told_to_end():
        raise ValueError("its own")
