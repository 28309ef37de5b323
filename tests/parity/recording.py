"""Recording directories as their `index.json` describes them: references, records, and how results are compared."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

FORMAT = 1
COMPARISON_KEYS = {
    *("metric", "limit", "max_fraction", "outlier_limit", "per_axis", "columns", "required_rows"),
    *("status", "stage", "meaning"),
}
CALL_KEYS = {"name", "kind", "status", "params", "inputs", "expected", "applies_when"}


class NotComputed:
    """Returned by a runner for an intermediate that the product fuses away; `why` is for the reader."""

    def __init__(self, why: str) -> None:
        self.why = why


@dataclass(frozen=True)
class Deviation:
    """How far one result lies from the recorded one, and whether that is within its limits."""

    metric: str
    worst: float
    complaint: str | None


class Recording:
    """One recording directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if self.index["format"] != FORMAT:
            raise ValueError(f"{folder}/index.json has format {self.index['format']}; this harness reads {FORMAT}")
        self._files: dict[str, dict[str, torch.Tensor]] = {}

    @cached_property
    def checkpoint(self) -> Path:
        return self.folder / self.index["checkpoint"]

    @property
    def config(self) -> dict[str, Any]:
        return self.index["config"]

    def required_cases(self, also: Collection[str] = ()) -> list[Case]:
        """Those with a required call, or one of a kind that counts `also`."""
        cases = [Case(self, case, frozenset(also)) for case in self.index["cases"]]
        return [case for case in cases if case.entry["status"] == "required" or case.calls()]

    def tensors(self, file: str) -> dict[str, torch.Tensor]:
        if file not in self._files:
            self._files[file] = load_file(self.folder / file)
        return self._files[file]

    def file(self, path: str) -> Any:
        """A picture as uint8 (height, width, 3); any other file or folder as its path."""
        found = self.folder / path
        if not found.exists():
            raise KeyError(f"{self.folder} has no {path}")
        return np.array(Image.open(found)) if found.suffix == ".png" else found


@dataclass
class Case:
    """One recorded file with the calls that reproduce it."""

    recording: Recording
    entry: dict[str, Any]
    also: frozenset[str] = frozenset()  # kinds of call that are promised although they are informational
    compared: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.entry["file"]

    def calls(self) -> list[dict[str, Any]]:
        """Required calls that apply here (`applies_when` is filtered, not skipped)."""
        calls = [call for call in self.entry["calls"] if self._is_promised(call) and _applies(call)]
        for call in calls:
            if unknown := call.keys() - CALL_KEYS:
                raise ValueError(f"{self.name}: call {call['name']} has unknown keys {unknown}")
        return calls

    def _is_promised(self, call: dict[str, Any]) -> bool:
        return call["status"] == "required" or call["kind"] in self.also

    def records(self, call: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """(label, record) for every required record of a JSON file; one (name, None) for tensors."""
        if not self.name.endswith(".json"):
            yield call["name"], None
            return
        params = call["params"]
        found = json.loads((self.recording.folder / self.name).read_text(encoding="utf-8"))
        for key in params.get("records") or []:
            found = found[key]
        if isinstance(found, list):
            records = [(str(number), record) for number, record in enumerate(found)]
        elif params.get("key_is"):
            records = [(key, {**_fields(record, params), params["key_is"]: _key(key)}) for key, record in found.items()]
        else:
            records = [(call["name"], found)]
        where, absent = params.get("required_where") or {}, params.get("required_where_absent") or []
        for label, record in records:
            if all(record.get(key) == value for key, value in where.items()) and not any(k in record for k in absent):
                yield f"{call['name']}[{label}]", record

    def params(self, call: dict[str, Any], record: dict[str, Any] | None) -> dict[str, Any]:
        """Parameters of the call; for a record under a key that means something (`file`), that as well."""
        word = call["params"].get("key_is")
        return {**call["params"], word: record[word]} if word and record is not None else call["params"]

    def resolve(self, reference: Any, record: dict[str, Any] | None) -> Any:
        """The value a reference stands for; lists and dictionaries keep their shape."""
        if isinstance(reference, list):
            return [self.resolve(one, record) for one in reference]
        if isinstance(reference, dict):
            return {key: self.resolve(one, record) for key, one in reference.items()}
        if record is not None and reference in record:
            return record[reference]
        if self.name.endswith(".safetensors") and reference in (own := self.recording.tensors(self.name)):
            return own[reference]
        file, colon, tensor = reference.partition(":")
        if colon and file.endswith(".safetensors"):
            return self.recording.tensors(file)[tensor]
        is_result = reference in self.entry["expected"] and not (self.recording.folder / reference).exists()
        if self.name.endswith(".png") and is_result:
            reference = self.name  # a picture that is itself a case is its one result, whatever that is called
        return self.recording.file(reference)

    def input(self, role: str, reference: Any, record: dict[str, Any] | None) -> Any:
        """The value of an input role: what the reference stands for, or the role's column of that table."""
        column = self._column("input_columns", role)
        value = self.resolve(reference, record)
        return value if column is None else value[:, column]

    def _column(self, which: str, role: str | None) -> int | None:
        return (self.entry["params"].get(which) or {}).get(role)

    def compare(
        self, reference: Any, actual: Any, record: dict[str, Any] | None, role: str | None = None
    ) -> Iterator[Deviation]:
        """Deviations of one role's result from what is recorded, leaf by leaf."""
        if isinstance(reference, list):
            if len(reference) != len(actual):
                raise AssertionError(f"{len(actual)} results instead of {len(reference)}: {reference}")
            for one, value in zip(reference, actual, strict=True):
                yield from self.compare(one, value, record)
        elif isinstance(reference, dict):
            for key, one in reference.items():
                yield from self.compare(one, actual[key], record)
        else:
            comparison = self.entry["expected"][reference]
            if unknown := comparison.keys() - COMPARISON_KEYS:
                raise ValueError(f"{self.name}: comparison of {reference} has unknown keys {unknown}")
            self.compared.add(reference)
            if isinstance(actual, NotComputed):
                if comparison["stage"] != "intermediate":
                    yield Deviation(comparison["metric"], float("inf"), f"{reference}: not computed ({actual.why})")
                return
            if comparison.get("status") != "informational" or self.also:
                expected, column = self.resolve(reference, record), self._column("expected_columns", role)
                if column is not None:
                    expected, comparison = expected[:, column], {**comparison, "columns": None}
                yield deviation(reference, expected, actual, comparison)

    def replayed(self, runners: object) -> Iterator[tuple[str, str, Deviation]]:
        """(kind of call, label, deviation) for every result of every required call.

        `runners` has a method for each kind, from its parameters and inputs to its results by role.
        """
        for call in self.calls():
            kind = call["kind"]
            assert hasattr(runners, kind), f"no runner for the kind of call {kind!r}"
            for label, record in self.records(call):
                inputs = {role: self.input(role, reference, record) for role, reference in call["inputs"].items()}
                results = getattr(runners, kind)(self.params(call, record), **inputs)
                for role, reference in call["expected"].items():
                    assert role in results, f"{label}: the runner returned no {role}"
                    for found in self.compare(reference, results[role], record, role):
                        yield kind, label, found

    def uncompared(self) -> set[str]:
        """Expected names that no required call has produced."""
        wanted = {name for name, how in self.entry["expected"].items() if how.get("status") != "informational"}
        informational_only = {
            leaf
            for call in self.entry["calls"]
            if not self._is_promised(call) or not _applies(call)
            for leaf in _leaves(list(call["expected"].values()))
        }
        return wanted - self.compared - informational_only


def deviation(reference: str, expected: Any, actual: Any, how: dict[str, Any]) -> Deviation:
    """Compare one value under the metrics of INDEX.md."""
    metric, limit = how["metric"], how["limit"]
    if not isinstance(expected, (torch.Tensor, np.ndarray, float)) or isinstance(expected, bool):
        same = expected == actual
        return Deviation(metric, 0.0 if same else float("inf"), None if same else f"{reference}: not equal")
    want, got = (_compared_part(torch.as_tensor(value).cpu(), how) for value in (expected, actual))
    if want.shape != got.shape:
        shapes = f"{tuple(got.shape)} instead of {tuple(want.shape)}"
        return Deviation(metric, float("inf"), f"{reference}: shape {shapes}")
    if want.numel() == 0:
        return Deviation(metric, 0.0, None)
    want, got = want.to(torch.float64), got.to(torch.float64)
    error = (want - got).abs()
    if metric == "max_abs_over_std":
        axes = tuple(range(1, want.dim())) if how.get("per_axis") == 0 else tuple(range(want.dim()))
        error = error / want.std(dim=axes, unbiased=False, keepdim=True)
    elif metric not in {"max_abs", "exact", "uint8_levels"}:
        raise ValueError(f"{reference}: unknown metric {metric}")
    worst = float(error.max()) if bool(torch.isfinite(got).all()) else float("inf")
    over = float((~(error <= limit)).double().mean())
    allowed = how.get("max_fraction", 0)
    complaint = None
    if over > allowed:
        complaint = f"{reference}: {worst:.3g} against {limit} on {over:.2%} of values (allowed on {allowed:.2%})"
    elif "outlier_limit" in how and not worst <= how["outlier_limit"]:
        complaint = f"{reference}: {worst:.3g} exceeds the outlier limit {how['outlier_limit']}"
    elif worst == float("inf"):
        complaint = f"{reference}: not finite"
    return Deviation(metric, worst, complaint)


def _compared_part(table: torch.Tensor, how: dict[str, Any]) -> torch.Tensor:
    """The rows that have to be there and the columns that are results, where a comparison names them."""
    if rows := how.get("required_rows"):
        table = table[table[:, rows["column"]] == rows["equals"]]
    return table[:, columns] if (columns := how.get("columns")) else table


def _applies(call: dict[str, Any]) -> bool:
    for fact, allowed in (call.get("applies_when") or {}).items():
        if fact != "opencv_major":
            raise ValueError(f"unknown fact {fact} in applies_when")
        if opencv_major() not in allowed:
            return False
    return True


def opencv_major() -> int:
    """Major version of OpenCV at run time; 4, the pinned one, where it is not installed."""
    for package in ("opencv-python-headless", "opencv-python"):
        try:
            return int(version(package).split(".")[0])
        except PackageNotFoundError:
            continue
    return 4


def _fields(record: Any, params: dict[str, Any]) -> dict[str, Any]:
    """A record's fields; the whole record is one field where `record_is` names it."""
    name = params.get("record_is")
    return {name: record} if name else record


def _key(text: str) -> Any:
    """The key of a record: a number where it is one, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _leaves(reference: Any) -> Iterator[str]:
    if isinstance(reference, list):
        for one in reference:
            yield from _leaves(one)
    elif isinstance(reference, dict):
        for one in reference.values():
            yield from _leaves(one)
    else:
        yield reference
