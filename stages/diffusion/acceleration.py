"""What of a loaded animator is made faster, and how: the same films, to rounding. Imports torch where it is applied.

In no key: a film is the same whatever has made it fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch

    from stages.diffusion.animator import Animator


class Acceleration(BaseModel):
    """The settings, part of a pool's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels_last: bool | Literal["auto"] = Field(
        "auto", description="convolutions' weights with channels last; auto: on cuda in half precision"
    )

    def puts_channels_last(self, device: str, dtype: torch.dtype) -> bool:
        """Of networks on this device in this compute type."""
        return self.channels_last is True or (
            self.channels_last == "auto" and device.startswith("cuda") and dtype.itemsize == 2
        )


DEFAULT = Acceleration()


def accelerate(animator: Animator, wanted: Acceleration, device: str, dtype: torch.dtype) -> None:
    """Make an animator faster that was loaded on this device in this compute type.

    What is its own, it shows as `modules`, as `ShowsModules` says; one that shows none stays as it is.
    """
    modules = list(getattr(animator, "modules", {}).values())
    if wanted.puts_channels_last(device, dtype):
        _put_channels_last(modules)


def _put_channels_last(modules: Iterable[torch.nn.Module]) -> None:
    """Weights of four dimensions, in place: the layers' results follow them, and the rest of the network its input."""
    import torch

    for module in modules:
        torch.nn.Module.to(module, memory_format=torch.channels_last)
