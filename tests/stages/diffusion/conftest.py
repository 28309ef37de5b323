"""What diffusers says meanwhile."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def diffusers_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The records of diffusers' loggers, which do not reach the root logger."""
    logger = logging.getLogger("diffusers")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
