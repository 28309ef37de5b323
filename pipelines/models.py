"""`catwalk models`: which weights are here, and what each animator and estimator still needs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

from manifests import storage
from manifests.errors import Problem
from pipelines.configuration import RunConfig
from pipelines.published_weights import commands
from stages.bundled import SCHEME, bundled
from stages.checkpoint_files import checkpoint_files
from stages.diffusion.animator import Facts
from stages.diffusion.animators import ANIMATORS, add_animators
from stages.hub import SCHEME as HUB
from stages.hub import Repository, on_hub
from stages.poses.people_nets import LICENCE, NETS
from stages.poses.recipes import remedy_for

REINSTALL = "run `make setup`, or pip install -c constraints.txt -e ."

Kind = Literal["animator", "checkpoint", "estimator"]


class _Estimator(NamedTuple):
    """What is told of an estimator that is not configured."""

    finds: str
    licence: str
    needs: str
    package: str | None = None  # that runs it, where that is not one that everybody has
    extra: str = ""  # of ours, which brings the package


ESTIMATORS = {
    "people": _Estimator(
        "real people",
        LICENCE,
        f"nets, {sum(net.size for net in NETS.values()) / 1e6:.1f} MB",
        "ai_edge_litert",
        "people",
    ),
    "dwpose": _Estimator(
        "real people, in groups too", "Apache-2.0", "DWPose's yolox_l.onnx, 217 MB, and dw-ll_ucoco_384.onnx, 134 MB"
    ),
    "densepose": _Estimator(
        "real people as body parts, for magicanimate and dreampose",
        "detectron2's models CC-BY-NC: not for commercial use",
        "a TorchScript export of DensePose",
        "torchvision",
    ),
    "drawn": _Estimator("drawn people", "Apache-2.0, trained by this repository on people it draws itself", ""),
}


@dataclass(frozen=True)
class Model:
    """The weights of one animator, of a label that rows may name, or of one estimator."""

    kind: Kind
    name: str
    licence: str
    remedy: str  # what to do where something is missing
    place: str | None = None  # folder or files; None: not configured
    sizes: dict[str, int] = field(default_factory=dict)  # bytes by part; 0 where it is not there
    needs: str = ""  # what it would take, where nothing is configured
    note: str = ""  # what it draws or finds
    animator: str = ""  # whose weights they are
    commands: tuple[str, ...] = ()  # that get what is missing

    @property
    def lacks(self) -> list[str]:
        """What is missing; nothing: it can work."""
        return [part for part, size in self.sizes.items() if not size] or ([] if self.place else [self.needs])

    @property
    def megabytes(self) -> float:
        """Of all parts that are there."""
        return sum(self.sizes.values()) / 1e6

    def __str__(self) -> str:
        note = self.note or (self.animator if self.animator != self.name else "")
        title = f"{self.kind} {self.name}" + (f" ({note})" if note else "")
        if not self.lacks:
            size = f", {self.megabytes:,.1f} MB" if self.sizes else ""
            return f"{'ready':<7}{title}: {self.place}{size}; {self.licence}"
        parts = [part.removeprefix(f"{self.place}/") for part in self.lacks]
        where = f"{self.place} lacks " if self.place else "needs "
        lines = [f"{'-':<7}{title}: {where}{', '.join(parts)}; {self.licence}"]
        lines += [f"{'':<7}$ {command}" for command in self.commands]
        return "\n".join([*lines, f"{'':<7}→ {self.remedy}"])

    def to_dict(self) -> dict[str, Any]:
        """The same for another program: JSON values."""
        whole = not self.lacks
        told = {"kind": self.kind, "name": self.name, "ready": whole, "place": self.place}
        told |= {"bytes": sum(self.sizes.values()), "lacks": self.lacks, "licence": self.licence}
        return {**told, "remedy": None if whole else self.remedy, "commands": [] if whole else list(self.commands)}


def models(config: RunConfig) -> Iterator[Model]:
    """Every animator, label of the configuration and estimator; one that cannot be looked at hides no other."""
    add_animators(config.animators)
    looks: list[tuple[Kind, str, Callable[[], Model]]] = []
    for name, facts in ANIMATORS.items():
        if name not in config.checkpoints:
            looks.append(("animator", name, partial(_unconfigured, facts)))
    for label, folder in config.checkpoints.items():
        kind: Kind = "animator" if label in ANIMATORS else "checkpoint"
        looks.append((kind, label, partial(checkpoint, label, folder, config.model_cache.allow_hub)))
    looks += [("estimator", name, partial(estimator, name, config)) for name in ESTIMATORS]
    for kind, name, look in looks:
        try:
            yield look()
        except Exception as error:
            fault = error if isinstance(error, Problem) else Problem(f"{type(error).__name__}: {error}", "correct it")
            yield Model(kind, name, "", fault.remedy, needs=storage.redact_text(fault.error))


def _unconfigured(facts: Facts) -> Model:
    if facts.bundled:
        return checkpoint(facts.name, facts.bundled)
    if not facts.checkpoint:
        return Model("animator", facts.name, facts.licence, "", place="no weights")
    remedy = f"--checkpoint {facts.name}=FOLDER; see stages/diffusion/README.md, {facts.name!r}"
    size = f", {facts.parameters * 4 / 1e3:.0f} GB in float32" if facts.parameters else ""
    needs, fetching = f"the published weights{size}", commands(facts.name, "FOLDER")
    return Model("animator", facts.name, facts.licence, remedy, needs=needs, commands=fetching)


def checkpoint(label: str, given: str, allow_hub: bool = False) -> Model:
    """A folder of weights. A label that is no animator's may serve any: it is held against the one it fits best.

    What lies on the hub is not looked at.
    """
    if repository := on_hub(given):
        return _on_hub(label, repository, allow_hub)
    folder = storage.resolve(bundled(given), os.getcwd())
    own = label in ANIMATORS
    candidates = [ANIMATORS[label]] if own else [facts for facts in ANIMATORS.values() if facts.checkpoint]
    looked = [(facts, _part_sizes(folder, facts)) for facts in candidates]
    facts, sizes = min(looked, key=lambda one: sum(not size for size in one[1].values()))
    published = f"lay the folder out as published: see stages/diffusion/README.md, {facts.name!r}"
    remedy = REINSTALL if given.startswith(SCHEME) else published
    kind: Kind = "animator" if own else "checkpoint"
    fetching = commands(facts.name, folder) if storage.is_local(folder) and not given.startswith(SCHEME) else ()
    shown = storage.redact(folder)
    return Model(kind, label, facts.licence, remedy, shown, sizes, animator=facts.name, commands=fetching)


def _on_hub(label: str, repository: Repository, allowed: bool) -> Model:
    kind: Kind = "animator" if label in ANIMATORS else "checkpoint"
    licence = ANIMATORS[label].licence if label in ANIMATORS else "licence as the hub says"
    place = f"{HUB}{repository.name}@{repository.commit}"
    if allowed:
        return Model(kind, label, licence, "", place, note="fetched by each node that needs it")
    remedy = f"set model_cache.allow_hub: true; or fetch it, and --checkpoint {label}=FOLDER"
    needs = f"{place}, on the Hugging Face hub, which may not be asked"
    return Model(kind, label, licence, remedy, needs=needs, commands=(repository.download("FOLDER"),))


def _part_sizes(folder: str, facts: Facts) -> dict[str, int]:
    found = checkpoint_files(folder, facts)
    return {part: sum(found[part].values()) for part in facts.checkpoint}


def estimator(name: str, config: RunConfig) -> Model:
    """An estimator's files, and the package that runs them."""
    told = ESTIMATORS[name]
    files = [storage.resolve(uri, os.getcwd()) for uri in config.estimators.files(name)]
    if not files:
        remedy = f"set `estimators.{name}` in the configuration; see stages/poses/README.md, 'Estimators'"
        return Model("estimator", name, told.licence, remedy, needs=told.needs, note=told.finds)
    sizes = {storage.redact(uri): storage.stamp(uri).size if storage.exists(uri) else 0 for uri in files}
    remedy = REINSTALL if name == "drawn" else remedy_for(name)
    if told.package and importlib.util.find_spec(told.package) is None:
        sizes[f"package {told.package}"] = 0
        if all(size for part, size in sizes.items() if not part.startswith("package ")):
            remedy = f"pip install 'catwalk[{told.extra}]'" if told.extra else f"pip install {told.package}"
    folders = list(dict.fromkeys(storage.redact(storage.parent(uri)) for uri in files))
    return Model("estimator", name, told.licence, remedy, ", ".join(folders), sizes, note=told.finds)
