"""The trained parts, in half precision, as the checkpoint that the repository carries, and the keypoint net."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from manifests.errors import Problem
from pipelines.training.keypoints import ONNX
from pipelines.training.optimisation import Settings
from stages.bundled import bundled
from stages.diffusion.weights.checkpoint import read_object

BUNDLED = Path(bundled("bundled:drawn"))
KEYPOINTS = Path(bundled("bundled:keypoints")) / ONNX
PARTS = ("codec", "unet", "reference", "pose_guider", "motion", "finishing")
CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"
# A clone of the repository has to stay light: bytes of one file, and of all beside the keypoint net's 1.8 MB.
LARGEST_FILE = 16_000_000
LARGEST_CHECKPOINT = 28_000_000


def run(settings: Settings) -> None:
    """Copy every part from `output` to where the animator is bundled, and the keypoint net if one was trained."""
    export(settings.output, BUNDLED)
    if (trained := settings.output / "keypoints" / ONNX).is_file():
        shutil.copyfile(trained, KEYPOINTS)


def export(source: Path, target: Path) -> None:
    """Write `target`: every part's configuration and float16 weights, the scheduler and `digests.json`.

    Raises `Problem`, and leaves `target` as it was, when a part is missing or the checkpoint would be too large.
    """
    states = {part: halved(source / part / WEIGHTS) for part in PARTS}
    check_sizes({part: sum(value.nbytes for value in state.values()) for part, state in states.items()})
    configs = {name: read_object(source / name) for name in (*(f"{part}/{CONFIG}" for part in PARTS), SCHEDULER)}
    for name, config in configs.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        # diffusers notes where a configuration was read from, which is nobody else's concern
        config.pop("_name_or_path", None)
        (target / name).write_text(json.dumps(config, indent=2) + "\n")
    for part, state in states.items():
        save_file(state, target / part / WEIGHTS, metadata={"format": "pt"})
    written = sorted([*configs, *(f"{part}/{WEIGHTS}" for part in PARTS)])
    digests = {name: hashlib.sha256((target / name).read_bytes()).hexdigest() for name in written}
    (target / "digests.json").write_text(json.dumps(digests, indent=2) + "\n")


def halved(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, those of floats as float16."""
    if not file.is_file():
        raise Problem(f"there are no weights {file}", f"run python -m pipelines.training {file.parent.name} first")
    state = load_file(file)
    return {name: value.half().contiguous() if value.is_floating_point() else value for name, value in state.items()}


def check_sizes(sizes: dict[str, int]) -> None:
    """Raise `Problem` when one part, or all together, are more bytes than the repository is to carry."""
    for part, size in sizes.items():
        if size > LARGEST_FILE:
            raise Problem(f"{part} has {size / 1e6:.1f} MB, over {LARGEST_FILE / 1e6:g}", "train a narrower network")
    total = sum(sizes.values())
    if total > LARGEST_CHECKPOINT:
        raise Problem(
            f"all parts have {total / 1e6:.1f} MB, over {LARGEST_CHECKPOINT / 1e6:g}", "train narrower networks"
        )
