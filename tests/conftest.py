"""What every test may ask for: the shared recordings, where they lie beside the checkout."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command sets it, before torch is imported

from tests.made.s3_server import s3, s3_endpoint  # noqa: F401
from tests.made.sample_media import cluster, media  # noqa: F401

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = CHECKOUT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and real media beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the recordings and media in ../shared, which are not part of the repository")
    return SHARED


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the parity harness (here, because pytest reads them only from the outermost conftest)."""
    golden = os.environ.get("CATWALK_GOLDEN")
    parser.addoption(
        "--golden", default=golden, help="folder of recordings (default: tests/golden and ../shared/golden)"
    )
    parser.addoption("--system", default=None, help="only this system's recordings")
