"""Which recordings are run: the committed ones, those in `../shared`, or the directory asked for."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, SHARED
from tests.parity.recording import Case, Recording
from tests.parity.runners import RUNNERS

WORST: dict[tuple[str, str, str], float] = {}  # (system, kind of call, metric) → worst error
ERRORS = "parity errors"  # under which a test's report carries those of its case to the process that sums them up


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
            cases = Recording(folder).required_cases(getattr(RUNNERS[name], "also", ()))
            if not cases:
                raise pytest.UsageError(f"{folder}/index.json names no required case")
            twin = Recording(present[-1]) if folder != present[-1] and _copied(folder, present[-1]) else None
            for case in cases:
                if twin and _same_entry(case, twin):  # it is run from there
                    continue
                yield pytest.param(case, id=f"{folder.parent.parent.name}/{name}/{case.name}")


def _copied(folder: Path, other: Path) -> bool:
    """Whether all files of a folder but its index and texts are those of the other, to the byte."""
    files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    data = [file for file in files if str(file) != "index.json" and file.suffix != ".md"]
    return all((other / file).is_file() and filecmp.cmp(folder / file, other / file, shallow=False) for file in data)


def _same_entry(case: Case, other: Recording) -> bool:
    return case.recording.config == other.config and any(case.entry == one.entry for one in other.required_cases())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Sum up what the cases report, whichever process they ran in."""
    for name, found in report.user_properties:
        if name == ERRORS and report.when == "call":
            for system, kind, metric, worst in found:
                WORST[system, kind, metric] = max(WORST.get((system, kind, metric), 0.0), worst)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The worst error of every kind of call, for the record."""
    if WORST:
        terminalreporter.section("worst parity errors")
        for (system, kind, metric), worst in sorted(WORST.items()):
            terminalreporter.write_line(f"{system:16} {kind:20} {metric:18} {worst:10.2e}")
