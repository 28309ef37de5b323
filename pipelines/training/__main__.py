"""`python -m pipelines.training STAGE`: train the bundled animator, stage by stage."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from manifests.errors import Problem
from pipelines.training.optimisation import Settings

STAGES = {
    "codec": "train the picture codec",
    "dataset": "draw the people to train on and encode them",
    "image": "train the denoiser on single frames",
    "motion": "train its motion modules on clips",
    "finishing": "train the network that makes pictures of latents and the warped reference",
    "keypoints": "train the keypoint net",
    "export": "copy the weights, in half precision, to where the animator is bundled",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one stage, or all of them; returns the exit code."""
    options = parser().parse_args(argv)
    settings = Settings(**{name: value for name, value in vars(options).items() if name != "stage"})
    names = STAGES if options.stage == "all" else [options.stage]
    try:
        for name in names:
            # a stage imports what only it needs, and the ones before it can be done without that
            importlib.import_module(f"pipelines.training.{name}").run(settings)
    except ModuleNotFoundError as missing:
        if missing.name != "onnx":
            raise
        sys.stderr.write("training: the keypoint net is written with onnx, which is not installed\n")
        sys.stderr.write("  → install it: pip install -e '.[train]'\n")
        return 1
    except Problem as problem:
        sys.stderr.write(f"training: {problem.error}\n  → {problem.remedy}\n")
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    stages = [f"  {name:10} {what}" for name, what in STAGES.items()]
    made = argparse.ArgumentParser(
        prog="python -m pipelines.training",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train the bundled animator. A stage that was interrupted goes on from its checkpoint.",
        epilog="\n".join(["stages:", *stages, "  all        in this order"]),
    )
    made.add_argument("stage", choices=[*STAGES, "all"], metavar="STAGE")
    made.add_argument("--output", type=Path, default=Path("out/training"), help="folder of everything that is made")
    made.add_argument("--seconds", type=float, help="training time of each stage, instead of the recipe's")
    made.add_argument("--begin", type=Path, help="checkpoint whose weights the animator goes on from")
    made.add_argument("--processes", type=int, help="processes to train in, each on one core")
    made.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--recipe", choices=["cpu", "gpu"], default="cpu", help="gpu: larger batches, more people")
    return made


if __name__ == "__main__":
    sys.exit(main())
