"""What every test may ask for: the shared recordings, where they lie beside the checkout."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command sets it, before torch is imported
os.environ["OMP_NUM_THREADS"] = "1"  # and for what tests start: two processes of them share the cores

from stages.poses.recipes import PeopleSettings
from tests.made.azure_server import azure, azure_endpoint  # noqa: F401
from tests.made.plain_animators import plain_animators  # noqa: F401
from tests.made.s3_server import s3, s3_endpoint  # noqa: F401
from tests.made.sample_media import cluster, media  # noqa: F401

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = CHECKOUT.parent / "shared"
OWN_CLUSTERS = ("tests/whole/", "tests/chaos/", "tests/cluster/test_jobs.py")


@pytest.fixture(scope="session", autouse=True)
def configuration_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where runs, and Ray's workers, keep the development certificate: the user's own folder is left alone.

    One for the whole session: a certificate is made once, not once per test.
    """
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("configuration")
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A test that sets torch's threads, as films do, sets them for itself alone: the last bits depend on them."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and real media beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the recordings and media in ../shared, which are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def people_nets() -> PeopleSettings:
    """MediaPipe's nets in this environment; tests that need them skip where `make setup` could not fetch them."""
    settings = PeopleSettings()
    if not all(Path(file).is_file() for file in settings.files()):
        pytest.skip("needs MediaPipe's nets: with an index in pip's reach, `catwalk models fetch people`")
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert, from the extra 'people'")
    return settings


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` skip where there is no CUDA device."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the parity harness (here, because pytest reads them only from the outermost conftest)."""
    golden = os.environ.get("CATWALK_GOLDEN")
    parser.addoption(
        "--golden", default=golden, help="folder of recordings (default: tests/golden and ../shared/golden)"
    )
    parser.addoption("--system", default=None, help="only this system's recordings")


@pytest.hookimpl(tryfirst=True)  # before xdist's, which reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs beside what, where `make test` has two processes: tests of a file stay together, as do Ray's.

    Those are what asks for the session's cluster, and files that begin clusters of their own.
    """
    for item in items:
        on_ray = "cluster" in getattr(item, "fixturenames", ()) or item.nodeid.startswith(OWN_CLUSTERS)
        item.add_marker(pytest.mark.xdist_group("ray" if on_ray else item.nodeid.partition("::")[0]))
