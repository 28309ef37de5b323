"""Which recordings are run: the committed ones, those in `../shared`, or the directory asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, SHARED
from tests.parity.recording import Recording
from tests.parity.runners import RUNNERS

WORST: dict[tuple[str, str, str], float] = {}  # (system, kind of call, metric) → worst error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per required case."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", list(_cases(metafunc.config)))


def _cases(config: pytest.Config) -> Iterator[object]:
    asked = config.getoption("--golden")
    folders = [Path(asked)] if asked else [CHECKOUT / "tests" / "golden", SHARED / "golden"]
    system = config.getoption("--system")
    for name in [system] if system else list(RUNNERS):
        present = [folder / name for folder in folders if (folder / name / "index.json").is_file()]
        if name not in RUNNERS:
            raise pytest.UsageError(f"Catwalk has no animator for the system {name!r} yet (has: {', '.join(RUNNERS)})")
        if not present:
            raise pytest.UsageError(f"no {name}/index.json in {', '.join(map(str, folders))}")
        for folder in present:
            cases = Recording(folder).required_cases()
            if not cases:
                raise pytest.UsageError(f"{folder}/index.json names no required case")
            for case in cases:
                yield pytest.param(case, id=f"{folder.parent.parent.name}/{name}/{case.name}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The worst error of every kind of call, for the record."""
    if WORST:
        terminalreporter.section("worst parity errors")
        for (system, kind, metric), worst in sorted(WORST.items()):
            terminalreporter.write_line(f"{system:16} {kind:20} {metric:18} {worst:10.2e}")
