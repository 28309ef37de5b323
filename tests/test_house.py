"""The house: who may import whom, no circle, Ray in two rooms, nothing for tests alone, nothing heavy too soon."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

PRODUCT = ("manifests", "cluster", "stages", "pipelines")
LOADING = ("implementation", "registry")  # arguments that name a module, "…:…" or "…"
Imports = Mapping[str, set[str]]  # module → the modules that it imports, of the product or not


@dataclass(frozen=True)
class House:
    """What the modules of a checkout import."""

    running: dict[str, set[str]] = field(default_factory=dict)  # when they run, inside functions too
    typing: dict[str, set[str]] = field(default_factory=dict)  # under `if TYPE_CHECKING`
    loaded: dict[str, set[str]] = field(default_factory=dict)  # by name: import_module("…"), and LOADING
    started: dict[str, set[str]] = field(default_factory=dict)  # by the part for `python -m`, where there is one

    @property
    def arrows(self) -> dict[str, set[str]]:
        """All that a module imports, for types and as a command too."""
        return {m: found | self.typing[m] | self.started.get(m, set()) for m, found in self.running.items()}


def read_house(root: Path, folders: Iterable[str] = PRODUCT) -> House:
    """Parse every module under the folders of a checkout."""
    trees = {}
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    house = House()
    for module, tree in trees.items():
        only_typing, only_started = _under(tree, "TYPE_CHECKING"), _under(tree, "__name__ == '__main__'")
        house.running[module], house.typing[module], house.loaded[module] = set(), set(), set()
        if only_started:
            house.started[module] = set()
        for node in ast.walk(tree):
            found = house.running
            if id(node) in only_typing:
                found = house.typing
            elif id(node) in only_started:  # a command is the beginning of a process: nobody imports this part
                found = house.started
            found[module] |= set(_imported(node, trees))
            house.loaded[module] |= set(_loaded(node))
    return house


def _under(tree: ast.AST, test: str) -> set[int]:
    """The nodes under every `if` with that test."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == test]
    return {id(part) for node in found for one in node.body for part in ast.walk(one)}


def _imported(node: ast.AST, modules: Iterable[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"a relative import of {node.module}: the checks read absolute ones"
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in modules else str(node.module)


def _loaded(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        yield from (name.value for name in node.args if isinstance(name, ast.Constant))
    elif isinstance(node, ast.keyword) and node.arg in LOADING and isinstance(node.value, ast.Constant):
        yield node.value.value.partition(":")[0]


# Who may import whom

# The seam is what every system shows; the registry names the systems and loads them.
ROOMS = {"fast": "fast", "animator": "seam", "segments": "seam", "chained_segments": "seam", "skeletons": "seam"}
ROOMS |= {"animators": "registry", "model_cache": "registry"}
ROOMS |= {"acceleration": "acceleration", "networks": "networks", "sampling": "sampling", "weights": "weights"}
# What stages share: they do not ask each other.
BETWEEN_STAGES = {"stages.driving", "stages.suitability", "stages.checkpoint_files", "stages.progress"}
BETWEEN_STAGES |= {"stages.cache_entry", "stages.latents_file", "stages.latents_cache", "stages.denoise"}
BETWEEN_STAGES |= {"stages.node_cache", "stages.hub"}
BETWEEN_STAGES |= {"stages.measuring", "stages.consenting", "stages.screening"}
MAY_IMPORT = {
    "manifests": set(),
    "cluster": {"manifests"},
    "bundled": {"manifests"},
    "video": {"manifests"},
    "poses": {"manifests", "bundled", "video"},
    "weights": {"manifests"},
    "provenance": {"manifests", "video"},
    "sandbox": {"manifests", "video", "poses", "weights", "provenance"},
    "fast": {"manifests"},
    "sampling": {"manifests", "fast", "weights"},
    "networks": {"manifests", "weights", "sampling"},
    "seam": {"manifests", "fast", "weights", "poses"},
    "system": {"manifests", "fast", "video", "weights", "sampling", "networks", "seam"},
    "acceleration": {"manifests", "networks", "seam"},
    "registry": {"manifests", "weights", "acceleration", "seam", "system"},
    "stages": {
        *("manifests", "fast", "bundled", "video", "poses", "weights", "sandbox", "seam", "registry", "provenance"),
    },
    "pipelines": {
        *(
            "manifests",
            "fast",
            "cluster",
            "bundled",
            "video",
            "poses",
            "provenance",
            "sandbox",
            "acceleration",
            "seam",
            "registry",
            "stages",
        ),
    },
    "training": {"manifests", "bundled", "video", "poses", "weights", "sampling", "networks", "seam", "system"},
}


def room(module: str) -> str:
    """The room of the house in which a module of the product lies; the systems' rooms are all one kind."""
    first, second, third, *_ = [*module.split("."), "", "", ""]
    if first == "stages":
        if second == "diffusion":
            return ROOMS.get(third, "system") if third else "registry"
        return second if second in ("bundled", "video", "poses", "sandbox", "provenance") else "stages"
    return "training" if (first, second) == ("pipelines", "training") else first


def wrong_arrows(imports: Imports) -> list[str]:
    """Imports between rooms against the direction, and between the rooms of two systems."""
    wrong = []
    for module, found in imports.items():
        mine = room(module)
        for other in found:
            if other.split(".")[0] == "tests":
                wrong.append(f"{module} → {other}")
            if other.split(".")[0] not in PRODUCT:
                continue
            theirs = room(other)
            asked = mine == theirs == "stages" and other not in BETWEEN_STAGES
            siblings = mine == theirs == "system" and module.split(".")[2] != other.split(".")[2]
            if asked or siblings or (mine != theirs and theirs not in MAY_IMPORT[mine]):
                wrong.append(f"{module} → {other}")
    return sorted(wrong)


@pytest.fixture(scope="module")
def house() -> House:
    return read_house(CHECKOUT)


def test_imports_point_one_way(house: House) -> None:
    assert wrong_arrows(house.arrows) == []


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("manifests.clip", "stages.video.limits"),
        ("cluster.connection", "pipelines.configuration"),
        ("stages.animate", "pipelines.plan"),
        ("stages.animate", "cluster.connection"),
        ("stages.animate", "stages.diffusion.drawn.facts"),
        ("stages.animate", "stages.validate"),
        ("stages.prepare_inputs", "stages.extract_pose"),
        ("stages.poses.recipes", "stages.driving"),
        ("stages.video.read", "stages.poses.keypoints"),
        ("stages.diffusion.drawn.animator", "stages.diffusion.magicanimate.unet"),
        ("stages.diffusion.drawn.facts", "stages.diffusion.animators"),
        ("stages.diffusion.drawn.facts", "stages.suitability"),
        ("stages.diffusion.sampling.denoise", "stages.diffusion.networks.text"),
        ("stages.diffusion.weights.lora", "stages.diffusion.sampling.noise"),
        ("stages.diffusion.networks.text", "stages.diffusion.drawn.unet"),
        ("pipelines.demo", "pipelines.training.catalogue"),
        ("pipelines.training.codec", "pipelines.cli"),
        ("stages.extract_pose", "tests.made.sample_media"),
    ],
)
def test_an_arrow_against_the_direction_is_found(module: str, other: str) -> None:
    assert wrong_arrows({module: {"numpy", "manifests.errors", other}}) == [f"{module} → {other}"]


def test_arrows_along_the_direction_are_not_found() -> None:
    drawn = "stages.diffusion.drawn.unet"
    along = {"stages.diffusion.networks.text", "stages.diffusion.drawn.codec", "stages.video.image", "torch"}
    assert wrong_arrows({drawn: along, "pipelines.training.image": {drawn}, "stages.animate": {"stages.driving"}}) == []


# No circle


def circles(imports: Imports) -> list[list[str]]:
    """Modules that import one another, directly or by way of others (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_ones: list[str] = []
    found = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        open_ones.append(module)
        for other in sorted(imports[module] & imports.keys()):
            if other not in order:
                visit(other)
            if other in open_ones:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == order[module]:
            start = open_ones.index(module)
            closed = open_ones[start:]
            del open_ones[start:]
            if len(closed) > 1 or module in imports[module]:
                found.append(sorted(closed))

    for module in sorted(imports):
        if module not in order:
            visit(module)
    return sorted(found)


def test_no_modules_import_one_another(house: House) -> None:
    assert circles(house.running) == []


def test_a_circle_is_found_and_a_diamond_is_none() -> None:
    assert circles({"a": {"b", "c"}, "b": {"d"}, "c": {"d", "numpy"}, "d": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == [["b", "c"], ["d"]]


# Ray in two rooms


def importers(imports: Imports, package: str) -> set[str]:
    """Modules that import the package or a part of it."""
    return {module for module, found in imports.items() if any(f"{one}.".startswith(f"{package}.") for one in found)}


def outside(modules: Iterable[str], *folders: str) -> list[str]:
    """Those of the modules that lie in none of the folders."""
    return sorted(module for module in modules if module.split(".")[0] not in folders)


def test_ray_is_imported_in_pipelines_and_cluster_only(house: House) -> None:
    assert outside(importers(house.arrows, "ray"), "pipelines", "cluster") == []
    assert importers(house.arrows, "ray"), "the check finds nothing at all"


def test_ray_elsewhere_is_found() -> None:
    imports = {"stages.animate": {"ray.data"}, "pipelines.animate": {"ray"}, "manifests.table": {"raylib"}}
    assert outside(importers(imports, "ray"), "pipelines", "cluster") == ["stages.animate"]


# Nothing that only tests reach


def entries(house: House, scripts: Mapping[str, str], text: str) -> set[str]:
    """Where users come in: scripts of pyproject.toml, and modules that `text` tells to run with `python -m`."""
    told = set(re.findall(r"python3? -m ([\w.]+)|/python -m ([\w.]+)", text))
    names = {one.rstrip(".") for pair in told for one in pair if one}
    names |= {f"{name}.__main__" for name in names}
    return (house.started.keys() & names) | {target.partition(":")[0] for target in scripts.values()}


def unreached(imports: Imports, start: Iterable[str]) -> list[str]:
    """Modules to which no path of imports leads. A package is reached with any module in it."""
    waiting, reached = [*start], set()
    while waiting:
        module = waiting.pop()
        if module in reached:
            continue
        reached.add(module)
        waiting += [*imports.get(module, ()), *([module.rpartition(".")[0]] if "." in module else [])]
    return sorted(imports.keys() - reached)


def test_no_module_is_there_for_the_tests_alone(house: House) -> None:
    stages = importlib.import_module("pipelines.training.__main__").STAGES
    named = {"pipelines.training.__main__": {f"pipelines.training.{stage}" for stage in stages}}
    imports = {m: found | house.loaded[m] | named.get(m, set()) for m, found in house.arrows.items()}
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    told = [CHECKOUT / "Makefile", CHECKOUT / "README.md"]
    told += [path for folder in PRODUCT for kind in ("py", "md") for path in (CHECKOUT / folder).rglob(f"*.{kind}")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in told)
    assert unreached(imports, entries(house, scripts, text)) == []


def test_a_module_that_only_tests_reach_is_found(tmp_path: Path) -> None:
    sources = {
        "app/__init__.py": "",
        "app/cli.py": "import importlib\nfrom app import used\nimportlib.import_module('app.by_name')\n",
        "app/used.py": "from app.facts import FACTS\n",
        "app/facts.py": "FACTS = dict(implementation='app.room:Room')\n",
        "app/room.py": "",
        "app/by_name.py": "def late():\n    import app.late\n",
        "app/late.py": "",
        "app/tool.py": "if __name__ == '__main__':\n    pass\n",
        "app/untold.py": "if __name__ == '__main__':\n    pass\n",
        "app/lonely.py": "import app.used\n",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    made = read_house(tmp_path, ["app"])
    imports = {module: found | made.loaded[module] for module, found in made.arrows.items()}
    start = entries(made, {"app": "app.cli:main"}, "run `python -m app.tool`, or python -m app.used.")
    assert start == {"app.cli", "app.tool"}
    assert unreached(imports, start) == ["app.lonely", "app.untold"]


def test_imports_for_types_or_of_a_command_alone_make_no_circle(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "one.py").write_text("from app.two import Two\n")
    typing = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from app.one import One\n"
    (tmp_path / "app" / "two.py").write_text(typing)
    assert circles(read_house(tmp_path, ["app"]).running) == []
    command = 'if __name__ == "__main__":\n    from app.one import main\n    main()\n'
    (tmp_path / "app" / "two.py").write_text(command)
    assert circles(read_house(tmp_path, ["app"]).running) == []
    (tmp_path / "app" / "two.py").write_text("def late():\n    from app import one\n")
    assert circles(read_house(tmp_path, ["app"]).running) == [["app.one", "app.two"]]


# Nothing heavy before it is needed

HEAVY = ("torch", "ray", "diffusers", "transformers")


def brought(module: str) -> list[str]:
    """The heavy packages that importing a module brings."""
    report = f"import sys, {module}; print(*sorted(sys.modules.keys() & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", report], cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


LIGHT = ["stages.diffusion.animator", "stages.diffusion.animators", "stages.driving", "stages.validate"]
LIGHT += ["pipelines.plan", "pipelines.keying", "pipelines.cli", "pipelines.revocation", "pipelines.set_aside"]


@pytest.mark.parametrize("module", LIGHT)
def test_what_looks_ahead_brings_nothing_heavy(module: str) -> None:
    assert brought(module) == []


def test_heavy_imports_are_found() -> None:
    assert "torch" in brought("stages.diffusion.sampling.noise")


# Names in the repository

AGREED = {*PRODUCT, "tests", "pyproject.toml", "README.md", "Makefile", "constraints.txt", "LICENSE", "NOTICE"}
AGREED |= {"ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}


def not_agreed(paths: Iterable[str]) -> set[str]:
    """First parts of the paths that nobody agreed on; those that begin with a dot are tools' own."""
    return {path.split("/")[0] for path in paths if not path.startswith(".")} - AGREED


def test_the_repository_holds_the_agreed_names() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    if listed.returncode:
        pytest.skip("this is no Git checkout")
    assert not_agreed(listed.stdout.splitlines()) == set()


def test_another_name_is_found() -> None:
    assert not_agreed(["utils/strings.py", "stages/animate.py", ".ci/run", "notes.md"]) == {"utils", "notes.md"}


# Tests beside each other


def test_where_tests_run_in_two_processes_those_of_a_file_stay_together(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("all tests run in this process; `make test` has two")
    assert request.node.nodeid.endswith("@tests/test_house.py"), "xdist knows no groups: see pytest in pyproject.toml"
