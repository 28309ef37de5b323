"""The pages are true: what they name is there, and what is there they name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from manifests import layout
from manifests.build import build
from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.results import Status
from manifests.work import Source
from pipelines import cli
from pipelines.configuration import RunConfig
from stages.diffusion.animator import Facts
from stages.diffusion.animators import ANIMATORS, OWN
from stages.diffusion.fast import Fast
from stages.driving import recipe_of
from stages.poses.recipes import DensePoseSettings, DWPoseSettings, Estimators, PeopleSettings
from tests.conftest import CHECKOUT

# the papers, the model cards and the notes beside recordings are pages too
PAGES = [
    page
    for pattern in ("*.md", "stages/**/*.md", "tests/**/*.md", "pipelines/**/*.md")
    for page in sorted(CHECKOUT.glob(pattern))
]
README, ARCHITECTURE, CONTRIBUTING, CHECKPOINTS, DRIVING = (
    (CHECKOUT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "stages/diffusion/README.md",
        "stages/poses/README.md",
    )
)


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    level = heading.partition(" ")[0]
    assert f"\n{heading}\n" in page, f"no heading {heading!r}"
    after = page.partition(f"\n{heading}\n")[2]
    return re.split(rf"^#{{1,{len(level)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def cells(text: str) -> list[list[str]]:
    """Rows of the tables in a text: the header first, without the line below it."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\- :]+", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names(text: str) -> list[str]:
    """Everything in backticks, code blocks left out."""
    return re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(page: str) -> set[str]:
    """What `#…` may name: headings as hosts of repositories turn them into anchors."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# README


def test_the_example_of_the_readme_is_a_good_manifest(tmp_path: Path) -> None:
    row = json.loads(re.search(r"```json\n(.*?)\n```", README, re.DOTALL)[1])
    source = tmp_path / "clips.jsonl"
    source.write_text(json.dumps(row))
    report = build(source, str(tmp_path / "clips.parquet"), ANIMATORS)
    assert report.ok, report.lines()
    assert not report.notes
    for field in ("reference", "driving"):
        assert (CHECKOUT / row[field]).is_file()


def test_the_readme_names_the_fields_of_a_row_and_no_others() -> None:
    table = cells(section(README, "### Fields of a row"))[1:]
    assert sorted(name for field, _ in table for name in names(field)) == sorted(Clip.model_fields)


def test_the_readme_names_every_kind_of_driving_file_and_every_mode() -> None:
    table = {name: meaning for field, meaning in cells(section(README, "### Fields of a row")) for name in names(field)}
    assert set(get_args(Clip.model_fields["driving_kind"].annotation)) == set(names(table["driving_kind"]))
    modes = {mode for facts in ANIMATORS.values() for mode in facts.modes}
    assert modes == set(names(table["mode"]))


def test_the_configuration_of_the_readme_is_valid(tmp_path: Path) -> None:
    saved = tmp_path / "night.yaml"
    saved.write_text(re.search(r"```yaml\n(.*?)\n```", README, re.DOTALL)[1])
    assert RunConfig.load(saved).animate_pool.num_gpus == 1


def test_the_readme_names_every_status_and_every_exit_code() -> None:
    ends = section(README, "## What ends up where")
    assert [status for status in get_args(Status) if f"`{status}`" not in ends] == []
    codes = (cli.OK, cli.BROKE_OFF, cli.WRONG_USAGE, cli.SOME_FAILED)
    assert [int(code) for code, _ in cells(ends)[1:]] == list(codes)


def test_every_command_that_a_page_names_is_one() -> None:
    commands = {
        "plan",
        "replay",
        "animate",
        "report",
        "submit",
        "status",
        "stop",
        "logs",
        "clip",
        "preview",
        "manifest build",
        "manifest check",
        "poses",
        "measure",
        "verify",
        "models",
        "models fetch",
        "doctor",
        "release",
        "revoke",
        "clean",
        "cluster render",
        "config",
    }
    assert commands == {text.removeprefix("catwalk ") for text in usages()}
    for page in PAGES:
        for said in re.findall(
            r"(?:`|^)catwalk ([a-z]+(?: (?:build|check|fetch|render))?)", page.read_text(), re.MULTILINE
        ):
            assert said in commands, f"{page.name}: catwalk {said}"


def usages() -> set[str]:
    """`catwalk COMMAND` of everything that does something by itself."""
    found, waiting = set(), [cli.build_parser()]
    while waiting:
        parser = waiting.pop()
        parts = [action for action in parser._actions if isinstance(action.choices, dict)]
        waiting += [child for action in parts for child in action.choices.values()]
        if not parts or parser.get_default("command"):
            found.add(parser.prog)
    return found


def test_the_tables_of_animators_name_them_all() -> None:
    for page, heading in ((README, "## Animators"), (CHECKPOINTS, "## Sizes")):
        assert [names(row[0])[0] for row in cells(section(page, heading))[1:]] == list(ANIMATORS), heading


@pytest.mark.parametrize("facts", ANIMATORS.values(), ids=list(ANIMATORS))
def test_the_readme_says_of_every_animator_what_its_facts_say(facts: Facts) -> None:
    rows = {names(row[0])[0]: row for row in cells(section(README, "## Animators"))[1:]}
    _, reference, driving, sizes, steps = rows[facts.name][:5]
    assert (reference == "none") == (not facts.reference)
    assert ("or none" in driving) == (facts.driving == "optional")
    assert f"multiples of {facts.size_multiple};" in sizes
    assert "{}×{}".format(*facts.native_size) in sizes
    assert steps.startswith(f"{facts.steps}; {', '.join(f'{scale:g}' for scale in facts.guidance) or 'none'}")


# The animators' page


@pytest.mark.parametrize("facts", ANIMATORS.values(), ids=list(ANIMATORS))
def test_the_layout_of_every_checkpoint_is_what_its_animator_reads(facts: Facts) -> None:
    told = section(CHECKPOINTS, f"## {facts.name}")
    block = re.search(r"```\n(.*?)```", told, re.DOTALL)[1]
    read, optional = [], []
    for line in block.splitlines():
        part, _, note = line.partition("  ")
        (optional if note.strip().startswith("optional") else read).append(part.rstrip("/").replace("/ |", " |"))
    assert sorted(read) == sorted(facts.checkpoint)
    assert sorted(optional) == sorted(facts.checkpoint_settings)


@pytest.mark.parametrize("facts", ANIMATORS.values(), ids=list(ANIMATORS))
def test_the_options_of_every_animator_are_those_of_its_class(facts: Facts) -> None:
    told = cells(section(CHECKPOINTS, f"## {facts.name}"))[1:]
    print("\n".join(f"| {' | '.join(row)} |" for row in option_rows(facts)))  # to be put into the page
    assert told == option_rows(facts)


def test_the_parts_of_a_recipe_are_those_of_its_class() -> None:
    told = cells(section(CHECKPOINTS, "## Mode fast"))
    assert told[1 : 1 + len(Fast.model_fields)] == rows_of(Fast.model_json_schema()["properties"])
    by_name = {names(row[0])[0]: row[1:] for row in told[2 + len(Fast.model_fields) :] if names(row[0])}
    recipes = {name: facts.fast for name, facts in ANIMATORS.items() if name in OWN and facts.fast is not None}
    assert set(recipes) == set(by_name)
    for name, recipe in recipes.items():
        steps = f"{ANIMATORS[name].steps} → {ANIMATORS[name].fast_steps}"
        assert by_name[name][:4] == [steps, recipe.sampler, f"{recipe.guided:g}", str(recipe.reuse)], name


def option_rows(facts: Facts) -> list[list[str]]:
    """Name, values, default and meaning of each option, as the page has them; mode fast's has a section of its own."""
    schema = facts.options.model_json_schema().get("properties", {})
    return rows_of({name: one for name, one in schema.items() if name != "fast"})


def rows_of(schema: dict[str, Any]) -> list[list[str]]:
    return [
        [f"`{name}`", values(one), default(one.get("default")), one["description"].replace("|", "\\|")]
        for name, one in schema.items()
    ]


def values(schema: dict[str, Any]) -> str:
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    (kind,) = kinds
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    if kind["type"] == "boolean":
        return "`true`, `false`"
    if kind["type"] == "string":
        return "text"
    lowest = f"{kind['minimum']:g}" if "minimum" in kind else f"above {kind['exclusiveMinimum']:g}"
    return f"{lowest} to {kind['maximum']:g}"


def default(value: Any) -> str:
    return "–" if value is None else f"`{json.dumps(value) if isinstance(value, bool) else value}`"


# The driving files' page


def test_what_each_animator_makes_of_each_kind_of_driving_file_is_its_recipe() -> None:
    header, *rows = cells(section(DRIVING, "## Kinds of driving file"))
    columns = [[ANIMATORS[name] for name in names(cell)] for cell in header[1:]]
    assert sorted(facts.name for column in columns for facts in column) == sorted(ANIMATORS)
    kinds = get_args(Clip.model_fields["driving_kind"].annotation)
    assert sorted(names(row[0])[0] for row in rows) == sorted(kinds)
    for row in rows:
        (kind,) = names(row[0])
        for cell, column in zip(row[1:], columns, strict=True):
            estimators = {estimator for facts in column for estimator in estimators_of(facts, kind)}
            told = {name.removeprefix("estimators.") for name in names(cell) if name.startswith("estimators.")}
            assert told == estimators - {None, "none"}, (kind, cell)
            assert ("rejected" in cell or not cell) == (estimators == {None}), (kind, cell)


def estimators_of(facts: Facts, kind: str) -> set[str | None]:
    """Which estimators make poses of such a file, whoever is in it and whatever is configured; None: it is rejected."""
    net = DWPoseSettings(detector="detector", pose="pose")
    filmed = Source(uri="v", digest="0", width=1, height=1, people="real")
    clip = Clip(id="c", animator=facts.name, driving_kind=kind)
    try:
        return {
            recipe_of(clip, estimators, driving).estimator
            for estimators in (Estimators(), Estimators(dwpose=net))
            for driving in (None, filmed)
        }
    except Rejected:
        return {None}


def test_the_settings_of_the_estimators_are_told() -> None:
    told = cells(section(DRIVING, "## Estimators"))
    settings = {
        f"{name}.{field}"
        for name, one in (("people", PeopleSettings), ("dwpose", DWPoseSettings), ("densepose", DensePoseSettings))
        for field in one.model_fields
    }
    assert {names(row[0])[0] for row in told[1:]} == settings


# ARCHITECTURE and CONTRIBUTING


@pytest.mark.parametrize(
    "page", [ARCHITECTURE, CONTRIBUTING, CHECKPOINTS], ids=["ARCHITECTURE", "CONTRIBUTING", "animators"]
)
def test_files_that_a_page_names_are_there(page: str) -> None:
    paths = [name for name in names(page) if re.fullmatch(r"\w[\w.]*(/[\w.]+)+/?", name) and "NAME" not in name]
    assert [path for path in paths if not (CHECKOUT / path).exists()] == []
    assert paths


def test_the_table_of_keys_names_every_field_where_it_counts() -> None:
    table = {names(row[0])[0]: row[1] for row in cells(section(ARCHITECTURE, "## Names in storage")) if names(row[0])}
    groups = {
        "pose": layout.POSE_FIELDS,
        "latents": layout.LATENTS_FIELDS | layout.LORA_FIELDS,
        "film": layout.FILM_FIELDS,
    }
    for stage, fields in groups.items():
        assert set(names(table[stage])) & set(Clip.model_fields) == fields, stage
    assert set(table) >= set(layout.ALGORITHM)


# All pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        there = page.parent / target if target else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there.read_text(encoding="utf-8")), link


def test_pages_that_messages_name_are_there() -> None:
    named = set()
    for source in (path for room in ("pipelines", "stages", "manifests", "cluster") for path in room_files(room)):
        named |= set(re.findall(r"see ([\w/]+\.md)(?:, '([^']+)')?", source.read_text(encoding="utf-8")))
    assert len(named) >= 2
    named |= {("stages/diffusion/README.md", name) for name in ANIMATORS}  # whose names stand in no message as they are
    for page, heading in named:
        text = (CHECKOUT / page).read_text(encoding="utf-8")
        assert not heading or re.search(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE), (page, heading)


def room_files(room: str) -> list[Path]:
    return sorted((CHECKOUT / room).rglob("*.py"))
