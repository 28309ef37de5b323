"""The weights of motion modules under the names they were published with, and where they go in diffusers' network.

Source: magicanimate/SPEC.md sections 1 (prefixes) and 3 (key mapping).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from manifests.errors import Problem
from stages.diffusion.weights.checkpoint import State, is_state

_RENAMED = (
    (r"\.temporal_transformer\.", "."),
    (r"\.attention_blocks\.0\.pos_encoder\.pe$", ".pos_embed.pe"),
    (r"\.attention_blocks\.0\.", ".attn1."),
    (r"\.attention_blocks\.1\.", ".attn2."),
    (r"\.norms\.0\.", ".norm1."),
    (r"\.norms\.1\.", ".norm2."),
    (r"\.ff_norm\.", ".norm3."),
)
_SECOND_TABLE = ".attention_blocks.1.pos_encoder.pe"


def motion_unet_state(network: torch.nn.Module, spatial: State, published: Mapping[str, Any], source: Path) -> State:
    """All tensors of a motion UNet: the 2-D UNet's, overridden and completed by the motion file's.

    `published` is a flat dict or one with `state_dict`; keys may carry `module.`, `unet.` or both. Motion keys go to
    the motion modules; from files without `unet.` any other key overrides the 2-D weight of that name. Raises `Problem`
    naming keys that belong nowhere. Missing ones are found when the result is loaded strictly.
    """
    tensors = published.get("state_dict", published)
    if not is_state(tensors):
        raise Problem(f"state_dict in motion checkpoint {source} is no state dict", "use the published file")
    foreign = [
        key for key, value in tensors.items() if not isinstance(value, torch.Tensor) and tensors is not published
    ]
    known = network.state_dict().keys()
    state = dict(spatial)
    for key, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            continue
        name = key.removeprefix("module.")
        from_unet = name.startswith("unet.")
        name = name.removeprefix("unet.")
        if "motion_modules" in name:
            if name.endswith(_SECOND_TABLE):
                _check_second_table(name, value, tensors, key, source)
                continue
            for pattern, replacement in _RENAMED:
                name = re.sub(pattern, replacement, name)
        elif from_unet:
            continue
        if name in known:
            state[name] = value
        else:
            foreign.append(key)
    if foreign:
        shown = ", ".join(foreign[:4]) + (f" and {len(foreign) - 4} more" if len(foreign) > 4 else "")
        raise Problem(
            f"motion checkpoint {source} holds {len(foreign)} unexpected keys ({shown})",
            f"the file belongs to another system or version: use the published {source.name}",
        )
    return state


def _check_second_table(name: str, table: torch.Tensor, tensors: Mapping[str, Any], key: str, source: Path) -> None:
    """The second attention's position table is dropped, so it has to equal the first one's."""
    first = tensors.get(key.replace(".attention_blocks.1.", ".attention_blocks.0."))
    if first is None or not torch.equal(first, table):
        raise Problem(
            f"motion checkpoint {source} has different position tables in {name} and the attention before it",
            f"use the published {source.name}",
        )
