"""No network makes the host wait for the device, or the device for the host: kernels are queued ahead of a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from stages.diffusion.animators import load_animator
from tests.made.small_clips import WRITE, steps_of

# What each system's denoising networks are called by, for every window.
CALLED = {
    "magicanimate": (("unet", "predict"), ("reference", "features"), ("control", "forward")),
    "animate_anyone": (("unet", "stem"), ("unet", "finish")),
    "dreampose": (("unet", "predict"),),
    "text2video_zero": (("unet", "predict"), ("control", "residuals")),
    "drawn": (("networks.denoiser", "predict"),),
}
# The same in steps of mode fast that reuse deep features; MagicAnimate's `first_residuals` copies frames besides.
CALLED_AGAIN = {
    "magicanimate": (("unet", "predict_again"),),
    "animate_anyone": (("unet", "predict_again"),),
    "dreampose": (("unet", "predict_again"),),
    "text2video_zero": (("unet", "predict_again"), ("control", "first_residuals")),
    "drawn": (("networks.denoiser", "predict_again"),),
}
FAST: dict[str, Any] = {"mode": "fast", "steps": 4, "options": {"fast": {"sampler": "own", "guided": 0.5, "reuse": 2}}}
MODES: dict[str, dict[str, Any]] = {"standard": {}, "fast": FAST}

TENSOR = torch.Tensor
WAITS = {torch.tensor, torch.as_tensor, torch.nonzero, TENSOR.nonzero, TENSOR.item, TENSOR.tolist, TENSOR.cpu}
WAITS |= {TENSOR.numpy, TENSOR.__bool__, TENSOR.__int__, TENSOR.__float__, TENSOR.__index__, torch.equal}


class Waits(TorchFunctionMode):
    """Counts calls within networks for which a GPU would have to be waited for, and calls of networks."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.calls = self.inside = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.inside and func in WAITS:
            self.found[func.__name__] += 1
        if func is TENSOR.__getitem__ and _lists(args[1]):  # in the loop around networks too
            self.found["a list as an index"] += 1
        return func(*args, **(kwargs or {}))

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **given: Any) -> Any:
            self.calls += 1
            self.inside += 1
            try:
                return call(*args, **given)
            finally:
                self.inside -= 1

        return watched


def _lists(index: Any) -> bool:
    """Whether a tensor is asked for places by a list, which is copied to its device and waited for."""
    return any(isinstance(one, list | range) for one in (index if isinstance(index, tuple) else (index,)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WRITE)
def test_networks_are_asked_without_a_wait(
    name: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    animator, waits = load_animator(name, WRITE[name](tmp_path / name), "cpu", torch.float32), Waits()
    for path, method in CALLED[name] + (CALLED_AGAIN[name] if mode == "fast" else ()):
        owner = animator
        for part in path.split("."):
            owner = getattr(owner, part)
        monkeypatch.setattr(owner, method, waits.around(getattr(owner, method)))
    with waits:
        steps_of(animator, 8, **MODES[mode])
    assert waits.calls > len(CALLED[name])
    assert waits.found == {}
