"""Which stages run again after a change: a table, from real runs of the stages in this process.

    python -m tests.bench.key_changes

Each row starts from the same finished clip, changes one thing, makes the clip again in the same cache and output, and
counts what appeared in storage.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from manifests.errors import Problem
from pipelines.clip import StageChain
from pipelines.plan import make_plan
from pipelines.planned_clip import planned_clip
from tests.made.sample_media import CHECKPOINT, clip_row, config, write_driving, write_reference

STAGES = {"reference": "cache/references", "pose": "cache/poses", "denoise": "cache/latents", "encode": "films"}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.chdir(folder)
        write_reference(folder / "reference.png")
        write_driving(folder / "driving.mp4")
        shutil.copy(folder / "reference.png", folder / "same-bytes.png")
        shutil.copy(folder / "driving.mp4", folder / "same-bytes.mp4")
        write_reference(folder / "other.png", seed=5)
        write_driving(folder / "other.mp4", seed=5)
        shutil.copytree(CHECKPOINT, folder / "weights")
        other = folder / "other-weights"
        shutil.copytree(CHECKPOINT, other)
        config_file = other / "MagicAnimate" / "densepose_controlnet" / "config.json"
        config_file.chmod(0o644)
        config_file.write_text(config_file.read_text() + "\n")
        changes: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            ("nothing", {}, {}),
            ("clip id", {"id": "b"}, {}),
            ("metadata", {"metadata": {"sku": 1}}, {}),
            ("same bytes under another URI", {"reference": "same-bytes.png", "driving": "same-bytes.mp4"}, {}),
            ("weights under another path", {"checkpoint": str(folder / "weights")}, {}),
            ("worker pool size", {}, {"animate_pool": {"size": 4}}),
            ("CRF", {}, {"encode": {"crf": 30}}),
            ("seed", {"seed": 9}, {}),
            ("steps", {"steps": 2}, {}),
            ("prompt", {"prompt": "a dancer"}, {}),
            ("size", {"width": 64, "height": 64}, {}),
            ("mode", {"mode": "parity"}, {}),
            ("another reference", {"reference": "other.png"}, {}),
            ("another driving video", {"driving": "other.mp4"}, {}),
            ("weights with one byte more", {"checkpoint": str(other)}, {}),
        ]
        print(f"{'change':32}" + "".join(f"{stage:>11}" for stage in STAGES))
        for number, (name, fields, settings) in enumerate(changes):
            home = folder / f"out{number}"
            make(home, {}, {})
            before = files(home)
            make(home, fields, settings)
            again = {stage: bool(files(home)[stage] - before[stage]) for stage in STAGES}
            print(f"{name:32}" + "".join(f"{'ran again' if again[stage] else '-':>11}" for stage in STAGES))


def make(home: Path, fields: dict[str, Any], settings: dict[str, Any]) -> None:
    """Plan one clip and make it if the plan says so, as a run does."""
    chain = StageChain(config(**settings), str(home))
    work = chain.work({**clip_row("a"), **fields})
    if make_plan([planned_clip(work)], chain.settings.layout, "run").todo:
        chain.film(work)


def files(home: Path) -> dict[str, set[str]]:
    """What each stage has left in storage; a film copied to another id is no new encoding."""
    found = {stage: {path.name for path in (home / place).glob("*")} for stage, place in STAGES.items()}
    found["encode"] = {name.split(".")[-2] for name in found["encode"] if name.endswith(".mp4")}
    return found


if __name__ == "__main__":
    try:
        main()
    except Problem as problem:
        raise SystemExit(str(problem)) from None
