"""What of a loaded animator is made faster or smaller: the same films, to rounding. Imports torch where it is applied.

In no key: a film is the same whatever has made it fast.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from manifests.errors import Problem

if TYPE_CHECKING:
    import torch

    from stages.diffusion.animator import Animator, SavesMemory

log = logging.getLogger(__name__)

XFORMERS = "xformers"
GET_XFORMERS = "pip install 'catwalk[gpu]' where animators are loaded, or set animate_pool.attention to torch"
GET_COMPILER = "install a C++ compiler where animators are loaded, or set animate_pool.compile to false"

EVERY_WINDOW = ("unet", "control", "transformer")  # networks that are asked for every window of every step


class Acceleration(BaseModel):
    """The settings, part of a pool's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attention: Literal["torch", "xformers"] = Field(
        "torch", description="who computes attention; xformers: on cuda, with the extra `gpu`"
    )
    compile: bool = Field(
        False, description="have torch compile the blocks that every step repeats; the first film waits for it"
    )
    channels_last: bool | Literal["auto"] = Field(
        "auto", description="convolutions' weights with channels last; auto: on cuda in half precision"
    )
    low_vram: bool = Field(
        False,
        description="text encoder, image encoder and autoencoder in main memory while frames are denoised, and the "
        "branches of guidance one by one: half the memory of a window; of Wan's systems the transformer too, whose "
        "blocks are on the device while they compute",
    )
    decode_frames: int | None = Field(
        None,
        ge=1,
        description="frames decoded at once; left out, one on a CPU, on cuda up to 4 of 512² as they fit",
    )

    def puts_channels_last(self, device: str, dtype: torch.dtype) -> bool:
        """Of networks on this device in this compute type."""
        return self.channels_last is True or (
            self.channels_last == "auto" and device.startswith("cuda") and dtype.itemsize == 2
        )


DEFAULT = Acceleration()


def accelerate(animator: Animator, wanted: Acceleration, device: str, dtype: torch.dtype) -> None:
    """Make an animator faster that was loaded on this device in this compute type.

    Its networks it shows as `ShowsModules` says; one that shows none stays as it is. Raises `Problem` for what there is
    not where it was loaded.
    """
    shown: Mapping[str, torch.nn.Module] = getattr(animator, "modules", {})
    if not shown:
        return
    cannot = getattr(animator, "cannot", {})
    _refuse(animator.facts.name, wanted, cannot)
    modules = list(shown.values())
    if wanted.attention == "xformers":
        _attend_by_xformers(animator.facts.name, modules, device)
    if wanted.puts_channels_last(device, dtype) and "channels_last" not in cannot:
        _put_channels_last(modules)
    if getattr(animator, "waiting", None) is not None:
        _spare_memory(cast("SavesMemory", animator), wanted, device)
    if wanted.compile:  # last: what is compiled is what the others have left
        _compile(animator.facts.name, [module for name, module in shown.items() if name in EVERY_WINDOW], device)


def _spare_memory(animator: SavesMemory, wanted: Acceleration, device: str) -> None:
    from stages.diffusion.networks.offload import spare

    animator.images.decode_frames = wanted.decode_frames
    if wanted.low_vram:
        animator.together = False
        spare(animator.modules, animator.waiting, getattr(animator, "streaming", ()), device)


def _refuse(name: str, wanted: Acceleration, cannot: Mapping[str, str]) -> None:
    for setting, why in cannot.items():
        asked, default = getattr(wanted, setting), Acceleration.model_fields[setting].default
        if asked and asked != default:
            said = str(asked).lower()
            raise Problem(
                f"{setting} {said}: not for {name}: {why}", f"leave animate_pools.{name}.{setting} at its default"
            )


def xformers_is_here() -> bool:
    """Whether the package is installed in this process's environment. It is not imported."""
    return importlib.util.find_spec(XFORMERS) is not None


def _attend_by_xformers(name: str, modules: Iterable[torch.nn.Module], device: str) -> None:
    if not xformers_is_here():
        raise Problem("attention xformers: the package is not installed here", GET_XFORMERS)
    from stages.diffusion.networks.memory_efficient import attend_memory_efficiently

    given, refused = attend_memory_efficiently(modules)
    if refused and not given:
        error = f"attention xformers: it has no operator for {name} on {device}"
        raise Problem(error, "set animate_pool.attention to torch")
    if refused:
        log.warning("attention xformers: no operator for %d layers of %s, which keep torch's", refused, name)


def _put_channels_last(modules: Iterable[torch.nn.Module]) -> None:
    """Weights of four dimensions, in place: the layers' results follow them, and the rest of the network its input."""
    import torch

    for module in modules:
        torch.nn.Module.to(module, memory_format=torch.channels_last)


def compiler_fault(device: str) -> str | None:
    """Why torch cannot compile for this device here; None: it can. The first call compiles something."""
    from stages.diffusion.networks.compiled_blocks import require_compiler

    try:
        require_compiler(device)
    except Exception as error:  # of torch's, of a compiler's, of whatever the machine lacks
        reason = (str(error).strip() or "no message").splitlines()[0]
        return f"torch.compile does not work on {device} here: {type(error).__name__}: {reason}"
    return None


def _compile(name: str, modules: Iterable[torch.nn.Module], device: str) -> None:
    from stages.diffusion.networks.block_streaming import streamed
    from stages.diffusion.networks.compiled_blocks import compile_blocks

    if any(map(streamed, modules)):
        raise Problem(
            f"compile: blocks of {name} that wait in main memory cannot be compiled",
            f"set animate_pools.{name}.compile to false, or take a device that holds it, without low_vram",
        )
    if fault := compiler_fault(device):
        raise Problem(f"compile: {fault}", GET_COMPILER)
    compile_blocks(modules)
