"""Every animator in every compute type it states, the whole way on the CPU; what it cannot compute in is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from manifests.errors import Problem
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.demo import demo_clips
from stages.diffusion.animator import compute_dtype
from stages.diffusion.animators import ANIMATORS
from tests.whole.test_many_animators import SYSTEMS, checkpoints, rows, write_uv

# Relative deviation (root mean square) of latents from float32's. Half precision keeps 10 bits, bfloat16 7.
MOST = {"float16": 0.02, "bfloat16": 0.12}


def chain_in(dtype: str, output: Path, heard: list[tuple] | None = None, **fields: Any) -> StageChain:
    """The stages in one compute type; `heard` is told of their progress."""
    heard = [] if heard is None else heard
    pool = {"dtype": dtype, "threads": 1, "device": "cpu"}
    return StageChain(
        RunConfig.load(None, {"animate_pool": pool, **fields}), str(output), lambda *told: heard.append(told)
    )


def deviations(row: dict[str, Any], output: Path, **fields: Any) -> dict[str, float]:
    """How far the latents of a row lie from float32's, for every half precision that its animator states."""
    made = {}
    for dtype in ("float32", *ANIMATORS[row["animator"]].half):
        heard: list[tuple] = []
        chain = chain_in(dtype, output, heard, **fields)
        work = chain.work(row)
        assert chain.film(work).frames == work.frames
        # PNDM takes a step more
        ends = [done for part, done, whole in heard if part == "denoising, step" and done == whole]
        assert ends in ([work.clip.steps], [work.clip.steps + 1]), "every system tells its progress"
        assert heard[-1] == ("drawing, frame", work.frames, work.frames)
        made[dtype] = load_file(chain.settings.layout.latents(work.latents_key))["latents"]
        assert made[dtype].isfinite().all()
    exact = made.pop("float32")
    return {dtype: float((one - exact).pow(2).mean().sqrt() / exact.std()) for dtype, one in made.items()}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_published_system_stays_close_to_float32_in_half_precision(system: str, shared: Path, tmp_path: Path) -> None:
    everyone = rows(shared / "media", write_uv(tmp_path / "uv.npz", 5))
    row = next(row for row in everyone if row["animator"] == system) | {"frame_count": 3}
    found = deviations(row, tmp_path, checkpoints=checkpoints(shared))
    assert found.keys() == set(ANIMATORS[system].half)
    assert all(deviation <= MOST[dtype] for dtype, deviation in found.items()), found


def test_the_bundled_animator_computes_in_bfloat16_and_refuses_what_overflows(tmp_path: Path) -> None:
    row = {**demo_clips()[0], "frame_count": 2}
    assert deviations(row, tmp_path)["bfloat16"] <= MOST["bfloat16"]
    with pytest.raises(Problem, match="float16: drawn cannot compute in it"):
        chain_in("float16", tmp_path).work(row)


def test_auto_never_chooses_what_an_animator_cannot_compute_in() -> None:
    for facts in ANIMATORS.values():
        assert compute_dtype(facts, "cpu", "auto") == "float32"
        assert compute_dtype(facts, "cuda:0", "auto") in facts.half
    assert compute_dtype(ANIMATORS["drawn"], "cuda", "auto") == "bfloat16"
