"""How far off a plan is: forecast after calibration against the run itself, on films of many lengths, sizes and steps.

    python -m tests.bench.plan_accuracy [--clips N] [--sample] [--seed S]

Wall time is that of this machine, whatever else it does; processor seconds tell more where that is much. `--sample`
takes the sample catalogue as it is.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from manifests.build import build
from pipelines.animate import run
from pipelines.configuration import RunConfig
from pipelines.planning.look_ahead import look_ahead
from stages.diffusion.animators import ANIMATORS
from tests.conftest import CHECKOUT

CATALOGUE = CHECKOUT / "manifests" / "sample" / "catalogue"
SIZES = ((96, 128), (128, 128), (128, 192), (192, 256), (224, 224))
LENGTHS = (8, 12, 16, 20, 24, 30)


def mixed(clips: int, seed: int) -> list[dict[str, Any]]:
    """Rows of the bundled animator at sizes, lengths and steps drawn at random."""
    draw = random.Random(seed)
    references, videos = sorted(CATALOGUE.glob("*.png")), sorted(CATALOGUE.glob("*.mp4"))
    rows = []
    for number in range(clips):
        width, height = draw.choice(SIZES)
        row = {"id": f"mix{number}", "animator": "drawn", "reference": str(draw.choice(references))}
        row |= {"driving": str(draw.choice(videos)), "width": width, "height": height, "seed": number}
        rows.append({**row, "steps": draw.choice((1, 2, 3, 4, 6)), "frame_count": draw.choice(LENGTHS)})
    return rows


def main() -> None:
    """Plan, run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = CATALOGUE / "clips.jsonl"
        if not options.sample:
            source = folder / "clips.jsonl"
            source.write_text("\n".join(map(json.dumps, mixed(options.clips, options.seed))))
        report = build(source, manifest := str(folder / "clips.parquet"), ANIMATORS)
        assert report.ok, report.lines()
        config = RunConfig(allowed_prefixes=[str(CATALOGUE)])
        output = str(folder / "out")
        planned = look_ahead(config, manifest, output, calibrate=True, say=print)
        print("\n".join(planned.assumptions), flush=True)
        outcome = run(config, manifest, output, run_id="actual", say=print)
        print(f"\n{'':16} {'planned':>10} {'actual':>10} {'ratio':>6}")
        for name, one in outcome.summary["plan"].items():
            print(f"{name:16} {one['planned']:10.1f} {one['actual']:10.1f} {one['ratio']:6.2f}")


if __name__ == "__main__":
    main()
