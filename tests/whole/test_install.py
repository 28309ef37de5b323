"""Installation: `make setup` is quick or says what is missing, and what it installs is pinned."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import CHECKOUT

PINS = dict(
    line.split("==") for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with all that `make setup` reads, and no .venv."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(CHECKOUT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def python_with(folder: Path, statement: str) -> str:
    """A Python that runs `statement` before what it is asked to."""
    program = folder / "other-python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; {statement}; exec(sys.argv[1])" "$2"\n')
    program.chmod(0o755)
    return str(program)


@needs_make
def test_a_python_that_is_too_old_is_refused_in_one_sentence(checkout: Path) -> None:
    old = python_with(checkout, "sys.version_info = (3, 9, 18)")
    refused = make(checkout, "setup", f"PYTHON={old}")
    assert refused.returncode != 0
    sentence, *rest = refused.stderr.splitlines()
    assert sentence.startswith(f"setup: Catwalk needs Python 3.11 or newer, but '{old}' is 3.9.18")
    assert [line for line in rest if not line.startswith("make")] == []
    assert not (checkout / ".venv").exists()


@needs_make
def test_a_python_that_is_not_there_is_refused_in_one_sentence(checkout: Path) -> None:
    refused = make(checkout, "test", "PYTHON=python-of-nobody")
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer, but 'python-of-nobody' does not run" in refused.stderr.splitlines()[0]


@needs_make
def test_a_python_without_venv_is_refused_in_one_sentence(checkout: Path) -> None:
    bare = python_with(checkout, "sys.modules['ensurepip'] = None")
    refused = make(checkout, "demo", f"PYTHON={bare}")
    assert refused.returncode != 0
    assert "lacks its venv module: install it (Debian, Ubuntu: python3-venv)" in refused.stderr.splitlines()[0]


@needs_make
def test_setup_installs_all_that_the_tests_need_and_fetches_the_nets_last(checkout: Path) -> None:
    commands = make(checkout, "--dry-run", "setup").stdout
    assert "-e '.[dev,people]'" in commands
    assert commands.index("-m pip install") < commands.index("-m pipelines.fetch_people") < commands.index("touch")


@needs_make
def test_setup_does_nothing_until_a_requirement_changes(checkout: Path) -> None:
    ready = checkout / ".venv" / ".ready"
    ready.parent.mkdir()
    ready.touch()
    assert make(checkout, "--question", "setup").returncode == 0
    for name in ("pyproject.toml", "constraints.txt"):
        later = ready.stat().st_mtime + 10
        os.utime(checkout / name, (later, later))
        assert make(checkout, "--question", "setup").returncode == 1, f"{name} changed"
        os.utime(ready, (later, later))
        assert make(checkout, "--question", "setup").returncode == 0


@needs_make
def test_plain_make_names_the_two_commands(checkout: Path) -> None:
    assert make(checkout).stdout.splitlines()[0].startswith("make demo")
    assert "make test" in make(checkout).stdout


def required(*extras: str) -> set[str]:
    """Names of everything that the project needs here, directly or not."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    optional = [text for extra in extras for text in project["optional-dependencies"][extra]]
    waiting = [Requirement(text) for text in project["dependencies"] + optional]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        one = waiting.pop()
        known = canonicalize_name(one.name), frozenset(one.extras)
        if known in seen or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        seen.add(known)
        try:
            needs = metadata.requires(one.name) or []
        except metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in {"", *one.extras}):
                need.marker = None
                waiting.append(need)
    return {name for name, _ in seen}


def test_everything_that_is_installed_is_pinned() -> None:
    # torch pins its own CUDA packages, in step with its build
    cuda = ("nvidia-", "cuda-", "triton")
    missing = {name for name in required("dev", "people") if name not in PINS and not name.startswith(cuda)}
    assert missing == set(), "renew constraints.txt"


def test_nothing_is_pinned_that_the_project_does_not_need() -> None:
    if sys.version_info[:2] != (3, 11) or sys.platform != "linux":
        pytest.skip("constraints.txt lists what Python 3.11 on Linux needs")
    assert set(PINS) - required("dev", "people") == set()


def test_pins_fit_the_requirements_of_the_project() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    for text in project["dependencies"] + optional["dev"] + optional["people"]:
        one = Requirement(text)
        assert one.specifier.contains(PINS[canonicalize_name(one.name)]), text


def test_pins_name_no_build_of_one_machine_and_no_place() -> None:
    lines = [line for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == sorted(lines)
    for line in lines:
        name, _, version = line.partition("==")
        assert name == canonicalize_name(name)
        assert Requirement(line).url is None
        assert "+" not in version, f"{line}: a local version can be installed from one index only"


def test_ci_runs_the_command_of_the_readme() -> None:
    script = CHECKOUT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)
    assert " make test " in script.read_text()
    assert "\nmake test " in (CHECKOUT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def tools(checkout: Path) -> Path:
    """A checkout whose Ruff and Python note what they are asked to do, and fail where a file `<word>-fails` says so."""
    folder = checkout / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("ruff", "python"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*"\nfor word; do test ! -e "$word-fails" || exit 1; done\n')
        program.chmod(0o755)
    (checkout / ".venv" / ".ready").touch()
    return checkout


TESTS = "python -m pytest --numprocesses=2 --dist=loadgroup"
LINT = ["ruff check .", "ruff format --check .", "python -m tests.type_check"]


@needs_make
def test_the_test_command_lints_and_tests(tools: Path) -> None:
    done = make(tools, "test")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line.startswith(("ruff", "python"))] == [
        *LINT,
        TESTS,
    ]


@needs_make
@pytest.mark.parametrize("word", ["check", "format", "tests.type_check", "pytest"])
def test_the_test_command_fails_with_either_and_the_tests_have_the_last_word(tools: Path, word: str) -> None:
    (tools / f"{word}-fails").touch()
    done = make(tools, "test")
    assert done.returncode != 0
    assert done.stdout.splitlines()[-1] == TESTS
    assert ("make lint failed" in done.stderr) == (word != "pytest")


def test_hooks_run_what_make_lint_does() -> None:
    hooks = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"], "hooks of other repositories are downloaded"
    entries = [hook["entry"] for repository in hooks for hook in repository["hooks"]]
    recipe = (CHECKOUT / "Makefile").read_text().split("\nlint: setup\n")[1].split("\n\n")[0]
    assert entries == recipe.replace("$(VENV)", ".venv").replace("\t", "").splitlines()
    assert all(hook["language"] == "system" for repository in hooks for hook in repository["hooks"])
