"""What a measurement on a GPU leaves behind where the device fails for good."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.bench import on_gpu


class Broken:
    """A device that one part breaks for its process: every later call fails, as after an illegal memory access."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broken, self.ran = False, []
        for name in ("synchronize", "empty_cache"):
            monkeypatch.setattr(torch.cuda, name, self.call)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def call(self) -> None:
        if self.broken:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    def parts(self, _: on_gpu.Bench) -> Iterator[tuple[str, Callable[[], on_gpu.Measured]]]:
        for name in ("runs/sound", "runs/breaking", "runs/later"):
            yield name, lambda name=name: self.part(name)

    def part(self, name: str) -> on_gpu.Measured:
        self.ran.append(name)
        self.broken = self.broken or name == "runs/breaking"
        self.call()
        return {"finite": True}


def test_a_part_that_breaks_the_device_is_written_down_and_the_next_process_goes_on_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, out = Broken(monkeypatch), tmp_path / "on_gpu.json"
    monkeypatch.setattr(on_gpu, "parts", device.parts)
    monkeypatch.setattr("sys.argv", ["on_gpu", "--out", str(out)])
    assert on_gpu.main() == on_gpu.AGAIN
    assert list(json.loads(out.read_text())) == device.ran == ["runs/sound", "runs/breaking"]

    device.broken = False  # another process
    assert on_gpu.main() == 0
    assert device.ran == ["runs/sound", "runs/breaking", "runs/later"]
    known = json.loads(out.read_text())
    assert [name for name, part in known.items() if "error" in part] == ["runs/breaking"]
    assert "illegal memory access" in known["runs/breaking"]["error"]
