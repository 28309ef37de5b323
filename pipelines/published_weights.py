"""Where the published animators' weights are fetched from, as their authors name the places, and by which commands."""

from __future__ import annotations

import shlex
from typing import NamedTuple


class _Repository(NamedTuple):
    """A repository on the Hugging Face hub, the folder of the checkpoint it belongs into, and what is read of it."""

    name: str
    below: str
    files: tuple[str, ...]


_NETWORK = ("config.json", "diffusion_pytorch_model.safetensors")
_STABLE_DIFFUSION, _VAE = "stable-diffusion-v1-5", "sd-vae-ft-mse"


def _stable_diffusion(*files: str) -> _Repository:
    return _Repository("stable-diffusion-v1-5/stable-diffusion-v1-5", _STABLE_DIFFUSION, files)


_TEXT = ("tokenizer/*", "text_encoder/config.json", "text_encoder/model.safetensors")
# shards and their index among them
_WAN = ("transformer/*", "vae/*", "text_encoder/*", "tokenizer/*", "scheduler/*")
_UNET, _OWN_VAE = (tuple(f"{part}/{file}" for file in _NETWORK) for part in ("unet", "vae"))

PUBLISHED = {
    "magicanimate": (
        _Repository(
            "zcxu-eric/MagicAnimate",
            "MagicAnimate",
            ("appearance_encoder/*", "densepose_controlnet/*", "temporal_attention/*"),
        ),
        _stable_diffusion(*_TEXT, *_UNET),
        _Repository("stabilityai/sd-vae-ft-mse", _VAE, _NETWORK),
    ),
    "animate_anyone": (
        _Repository("patrolli/AnimateAnyone", "", ("*.pth",)),
        _Repository("lambdalabs/sd-image-variations-diffusers", "", ("image_encoder/*",)),
        _stable_diffusion("unet/config.json"),
        _Repository("stabilityai/sd-vae-ft-mse", _VAE, _NETWORK),
    ),
    "text2video_zero": (
        _stable_diffusion(*_TEXT, *_UNET, *_OWN_VAE, "scheduler/*"),
        _Repository(
            "fusing/stable-diffusion-v1-5-controlnet-openpose",
            "stable-diffusion-v1-5-controlnet-openpose",
            ("config.json", "diffusion_pytorch_model.bin"),
        ),
    ),
    "wan_vace": (_Repository("Wan-AI/Wan2.1-VACE-1.3B-diffusers", "", _WAN),),  # or 14B in the place of 1.3B
    "wan_animate": (
        _Repository("Wan-AI/Wan2.2-Animate-14B-Diffusers", "", (*_WAN, "image_encoder/*", "image_processor/*")),
    ),
}


def commands(animator: str, folder: str) -> tuple[str, ...]:
    """What fetches an animator's weights into a local folder; empty where no command does."""
    return tuple(
        shlex.join(["hf", "download", one.name, "--local-dir", f"{folder}/{one.below}".rstrip("/")])
        + "".join(f" --include {shlex.quote(file)}" for file in one.files)
        for one in PUBLISHED.get(animator, ())
    )
