"""LoRA files as rows name them, before anything is loaded. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open

from manifests import storage
from manifests.errors import Problem, Rejected

Family = Literal["stable_diffusion", "wan"]  # networks that LoRAs are made for

REMEDIES: dict[Family, str] = {
    "stable_diffusion": "use a LoRA of Stable Diffusion 1.x in kohya's or diffusers' layout, as .safetensors",
    "wan": "use a LoRA of Wan, of this model's size, in its own, kohya's or diffusers' layout, as .safetensors",
}
REMEDY = "use a LoRA of the animator's networks in kohya's or diffusers' layout, as .safetensors"


@dataclass(frozen=True)
class LoraFile:
    """A LoRA on this machine, and how strongly it is meant."""

    path: Path
    name: str  # as its owner knows it
    digest: str
    scale: float

    def check(self) -> None:
        """Raise `Problem` unless the file still holds the bytes that were validated."""
        if not self.path.is_file() or storage.sha256_file(self.path) != self.digest:
            raise Problem(f"lora {self.name} changed while the run was going on", "run again")


def probe_lora(path: Path) -> dict[str, Any]:
    """Nothing, where the header names layers of a LoRA. Raises `Rejected` for any other file."""
    try:
        with safe_open(path, "numpy") as opened:
            names = list(opened.keys())
    except Exception as broken:  # a pickle, a text, a damaged header
        reason = (str(broken) or type(broken).__name__).splitlines()[0]
        raise Rejected(f"is no safetensors file: {reason}", REMEDY) from None
    if not any("lora" in name.lower() for name in names):
        raise Rejected(f"holds no LoRA, but {', '.join(sorted(names)[:3]) or 'nothing'}", REMEDY)
    return {}
