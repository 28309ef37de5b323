"""Wan's systems at production size, counted on the meta device for the tables that `catwalk plan` reads.

A whole segment goes through the transformer at once. What that computes grows with 0, 1 and 2 powers of the segment's
tokens, which are told by three sizes; beside it stand the faces of Wan-Animate, by frame, and the autoencoder, by
latent frame, for its first one is one frame and each later one four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel, WanVACETransformer3DModel
from torch import nn
from transformers import CLIPVisionModel, UMT5Config, UMT5EncoderModel

from stages.diffusion.chained_segments import PER_LATENT
from stages.diffusion.networks.block_streaming import blocks_of
from stages.diffusion.networks.umt5 import TOKENS
from stages.diffusion.weights.checkpoint import load_strictly
from tests.bench.held import held_bytes
from tests.bench.model_sizes import clip, configured, empty, operations

# as published; what is not named is diffusers' default
VACE_SMALL = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30, "vace_layers": list(range(0, 30, 2))}
VACE_LARGE = {"vace_layers": list(range(0, 40, 5))}
ANIMATE = {"added_kv_proj_dim": 5120}
UMT5 = {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "d_kv": 64, "vocab_size": 256384}
CLIP_H = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}
CLIP_H |= {"patch_size": 14}
SIZES = ((256, 256), (512, 512), (768, 768))
PICTURE_TOKENS = 257  # of the published image encoder
Transformer = WanVACETransformer3DModel | WanAnimateTransformer3DModel
Counted = dict[str, Any]
HALF = 2  # bytes


def transformer(kind: type[Transformer], **config: Any) -> Any:
    """In half precision but for what its class keeps in float32, on the meta device."""
    network = configured(kind, **config)
    return load_strictly(network, network.state_dict(), "", torch.bfloat16, kind._keep_in_fp32_modules)


def given_to(network: Any, frames: int, height: int, width: int, picture_tokens: int = PICTURE_TOKENS) -> Counted:
    """What a forward of a segment of 4n + 1 frames is given, at a size in pixels; on the meta device."""
    latent, h, w, config = (frames - 1) // PER_LATENT + 1, height // 8, width // 8, network.config

    def half(*shape: int) -> torch.Tensor:
        return empty(*shape).to(network.dtype)

    given = {"timestep": torch.zeros(1, device="meta"), "encoder_hidden_states": half(1, TOKENS, config.text_dim)}
    given |= {"hidden_states": half(1, config.in_channels, latent + 1, h, w), "return_dict": False}
    if isinstance(network, WanVACETransformer3DModel):
        scale = half(len(config.vace_layers))
        return given | {
            "control_hidden_states": half(1, config.vace_in_channels, latent + 1, h, w),
            "control_hidden_states_scale": scale,
        }
    return given | {
        "pose_hidden_states": half(1, config.latent_channels, latent, h, w),
        "encoder_hidden_states_image": half(1, picture_tokens, config.image_dim),
        "face_pixel_values": half(1, 3, frames, config.motion_encoder_size, config.motion_encoder_size),
    }


@cache
def autoencoder() -> Any:
    """It computes in float32."""
    return configured(AutoencoderKLWan)


@cache
def text_encoder() -> nn.Module:
    """UMT5-XXL's."""
    with torch.device("meta"):
        return UMT5EncoderModel(UMT5Config(**UMT5, feed_forward_proj="gated-gelu"))


@cache
def image_encoder() -> nn.Module:
    """CLIP's, ViT-H/14."""
    return clip(CLIPVisionModel, CLIP_H)


def of_autoencoder(vae: Any, width: int, height: int) -> tuple[Counted, Counted]:
    """TFLOP of the first latent frame and of each later one, and numbers for each pixel that they hold."""
    h, w = height // 8, width // 8

    def encoding(frames: int) -> float:
        return operations(lambda: vae.encode(empty(1, 3, frames, height, width)))

    def decoding(latents: int) -> float:
        return operations(lambda: vae.decode(empty(1, 16, latents, h, w)))

    tflop = {"encode_first": encoding(1), "decode_first": decoding(1)}
    tflop["encode_later"] = encoding(1 + PER_LATENT) - tflop["encode_first"]
    tflop["decode_later"] = decoding(2) - tflop["decode_first"]
    # of the third one: what convolutions remember of the ones before is there
    decoded = held_bytes(lambda: vae.decode(empty(1, 16, 3, h, w)))
    encoded = held_bytes(lambda: vae.encode(empty(1, 3, 1 + 2 * PER_LATENT, height, width)))
    return tflop, {"picture": max(decoded, encoded) / 4 / (width * height)}


def of_forward(network: Any, frames: int, width: int, height: int, picture_tokens: int) -> tuple[Counted, Counted]:
    """TFLOP of one forward of a segment, and of a face in it; numbers of two bytes that are held for each token."""
    faces = [network.motion_encoder, network.face_encoder] if hasattr(network, "motion_encoder") else []
    given = given_to(network, frames, height, width, picture_tokens)
    whole = operations(lambda: network(**given))
    face = operations(lambda: network(**given), faces) if faces else 0.0
    tokens = ((frames - 1) // PER_LATENT + 2) * (height // 16) * (width // 16)
    held = held_bytes(lambda: network(**given)) / HALF / tokens
    return {"forward": whole - face, "face": face / frames}, {"token": held}


def of_encoders(text: nn.Module, image: nn.Module | None) -> Counted:
    """TFLOP of a prompt, and of the reference's picture tokens."""
    ids = torch.zeros(1, TOKENS, dtype=torch.long, device="meta")
    found = {"prompt": operations(lambda: text(ids)), "picture_tokens": 0.0}
    if image is not None:
        side = image.config.image_size
        found["picture_tokens"] = operations(lambda: image(empty(1, 3, side, side)))
    return found


# by the name under which a plan looks for them, which for a larger checkpoint has its size behind the animator's
SYSTEMS: dict[str, tuple[Callable[[], Any], int]] = {
    "wan_vace": (lambda: transformer(WanVACETransformer3DModel, **VACE_SMALL), 81),
    "wan_vace-14B": (lambda: transformer(WanVACETransformer3DModel, **VACE_LARGE), 81),
    "wan_animate": (lambda: transformer(WanAnimateTransformer3DModel, **ANIMATE), 77),
}


def counted(name: str) -> Counted:
    """A system's part of the table."""
    build, frames = SYSTEMS[name]
    image = image_encoder() if name == "wan_animate" else None
    return table_of(build(), autoencoder(), text_encoder(), image, frames, SIZES)


def table_of(
    network: Any,
    vae: Any,
    text: nn.Module,
    image: nn.Module | None,
    frames: int,
    sizes: Sequence[tuple[int, int]],
) -> Counted:
    """What networks on the meta device compute and hold, each figure at every size (width, height)."""
    found, tokens = [], 0 if image is None else (image.config.image_size // image.config.patch_size) ** 2 + 1
    for width, height in sizes:
        tflop, held = of_autoencoder(vae, width, height)
        forward, of_token = of_forward(network, frames, width, height, tokens)
        found.append(({**forward, **tflop}, {**of_token, **held}))
    rounded = [[{part: float(f"{one:.6g}") for part, one in kind.items()} for kind in both] for both in found]
    latent = (frames - 1) // PER_LATENT + 2
    return {
        "chained": True,
        "channels": vae.config.z_dim,
        "pixels": [width * height for width, height in sizes],
        "frames": frames,
        "latent_frames": latent,
        "once": {part: float(f"{one:.6g}") for part, one in of_encoders(text, image).items()},
        "tflop": {part: [one[0][part] for one in rounded] for part in rounded[0][0]},
        "elements": {part: [one[1][part] for one in rounded] for part in rounded[0][1]},
    }


def memory(name: str) -> Counted:
    """A system's part of the table of memory: millions of weights by part, and of one block."""
    network = SYSTEMS[name][0]()
    parts = {"transformer": network, "autoencoder": autoencoder(), "text": text_encoder()}
    parts |= {"image_encoder": image_encoder()} if name == "wan_animate" else {}
    sizes = [weights(block) for block in blocks_of(network)]
    return {
        "chained": True,
        "weights": {part: round(weights(one), 3) for part, one in parts.items()},
        "in_float32": ["autoencoder"],
        "waiting": ["autoencoder", "text", *(["image_encoder"] if name == "wan_animate" else [])],
        "blocks": round(sum(sizes), 3),
        "largest_block": round(max(sizes), 3),
        # numbers of a pixel of latents: control video and mask; pose, picture and mask
        "conditioning": network.config.vace_in_channels if "vace" in name else network.config.in_channels + 16,
    }


def weights(network: nn.Module) -> float:
    """Millions."""
    return sum(one.numel() for one in network.parameters()) / 1e6
