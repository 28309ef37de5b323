"""Memory of every animator's device beside what one forward holds: writes `pipelines/planning/memory.json`.

    python -m tests.bench.memory [--check | --measure [SIDE…]]

Weights, by part, and what is kept from window to window, in numbers for each pixel of a frame: of networks of
production size on the meta device (`tests/bench/model_sizes.py`), where nothing is computed. `--check` writes nothing
and says where the file is another. `--measure` computes here, in float32 on the CPU, with narrower networks, and prints
the peak of resident memory that a forward adds beside what was counted for it on the same networks.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import nn
from torch.utils._pytree import tree_leaves
from transformers import CLIPTextModel, CLIPVisionModel, CLIPVisionModelWithProjection

from pipelines.planning.memory import TABLE
from stages.bundled import bundled
from stages.diffusion.animate_anyone.animator import AnimateAnyone
from stages.diffusion.animate_anyone.settings import PublishedSettings
from stages.diffusion.animate_anyone.unet import PosedUNet, build_denoising_network
from stages.diffusion.drawn.animator import Drawn
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.finishing import Finishing
from stages.diffusion.drawn.networks import LATENT_CHANNELS, PARTS, WARP_CHANNELS, DrawnNetworks
from stages.diffusion.dreampose.animator import DreamPose
from stages.diffusion.dreampose.checkpoint import IN_CHANNELS
from stages.diffusion.dreampose.unet import ContextUNet
from stages.diffusion.magicanimate.animator import MagicAnimate
from stages.diffusion.magicanimate.facts import LONGEST_WINDOW
from stages.diffusion.magicanimate.unet import Conditioning, ControlledUNet
from stages.diffusion.networks.motion_unet import build_motion_unet, span_frames
from stages.diffusion.networks.reference_attention import reading_blocks, transformer_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network, end_at_last_feature
from stages.diffusion.networks.shallow import SHALLOW_LAYERS
from stages.diffusion.text2video_zero.animator import Text2VideoZero
from stages.diffusion.text2video_zero.control import AnchoredControl
from stages.diffusion.text2video_zero.cross_frame_attention import Conditioning as AnchorConditioning
from stages.diffusion.text2video_zero.unet import AnchoredUNet
from stages.diffusion.weights.checkpoint import read_config
from tests.bench import wan_sizes
from tests.bench.decode_batches import decoder, resident
from tests.bench.held import held
from tests.bench.model_sizes import (
    CLIP_B_VISION,
    CLIP_L_TEXT,
    CLIP_L_VISION,
    POSE_GUIDER,
    SD_UNET,
    SD_VAE,
    TIMESTEP,
    WIDTH,
    WORDS,
    clip,
    configured,
    empty,
)

SIDE = 64  # of the latents that are counted
PIXELS = (8 * SIDE) ** 2
BRANCHES = 2


def numbers(of: Any) -> float:
    """For each pixel, in all tensors of a structure."""
    return sum(one.numel() for one in tree_leaves(of) if isinstance(one, torch.Tensor)) / PIXELS


def millions(networks: dict[str, nn.Module]) -> dict[str, float]:
    """Weights by part."""
    return {name: sum(one.numel() for one in network.parameters()) / 1e6 for name, network in networks.items()}


def told(
    networks: dict[str, nn.Module],
    waiting: Iterable[str],
    reference: float,
    window: float,
    frame: float,
    by_step: bool,
    embedded: float = 0,
) -> dict[str, Any]:
    """One animator's part of the table."""
    weights = {name: round(number, 3) for name, number in millions(networks).items()}
    unet: Any = networks["unet"]
    # what comes into the first of the layers that a short forward makes has a skip behind it
    deep = (unet.up_blocks[-1].resnets[-SHALLOW_LAYERS].in_channels - unet.conv_in.out_channels) / 64
    kept = {"reference": reference, "window_frame": window, "segment_frame": frame}
    kept |= {"embedded_frame": embedded, "deep_frame": deep}
    return {
        "weights": weights,
        "waiting": list(waiting),
        "kept": {name: float(f"{number:.4g}") for name, number in kept.items()},
        "reference_by_step": by_step,
    }


def magicanimate() -> dict[str, Any]:
    """The reference's features at every step are kept for later clips; residuals of a window's frames, and joined."""
    unet = ControlledUNet(span_frames(build_motion_unet(SD_UNET, LONGEST_WINDOW, mid_block=False)))
    network = end_at_last_feature(build_reference_network(SD_UNET))
    writer, control = ReferenceNetwork(network, reading_blocks(network)), configured(ControlNetModel, **SD_UNET)
    latents, words = empty(1, 4, SIDE, SIDE), empty(1, WORDS, WIDTH)
    features = writer.features(latents, TIMESTEP, words)
    residuals = control(latents, TIMESTEP, words, empty(1, 3, 8 * SIDE, 8 * SIDE), return_dict=False)
    vae, text = configured(AutoencoderKL, **SD_VAE), clip(CLIPTextModel, CLIP_L_TEXT)
    parts = {"unet": unet.network, "reference": network, "control": control, "autoencoder": vae, "text": text}
    poses = control.controlnet_cond_embedding.conv_out.out_channels / 64
    kept = (numbers(features), 2 * numbers(residuals), 0)
    return told(parts, MagicAnimate.waiting, *kept, by_step=True, embedded=poses)


def animate_anyone() -> dict[str, Any]:
    """Features and their keys and values; stems of a window's frames, and joined; what the poses are to the network."""
    unet = PosedUNet(build_denoising_network(SD_UNET, PublishedSettings()))
    network = end_at_last_feature(build_reference_network(SD_UNET))
    writer, tokens = ReferenceNetwork(network, transformer_blocks(network)), empty(BRANCHES, 1, WIDTH)
    latents, pose = empty(1, 4, SIDE, SIDE), empty(1, 320, SIDE, SIDE)
    features = writer.features(latents, TIMESTEP, tokens[:1])
    given = unet.condition(features, tokens)
    stem = unet.stem(latents, TIMESTEP, given, pose)
    with torch.device("meta"):
        guider = ControlNetConditioningEmbedding(POSE_GUIDER[0], block_out_channels=POSE_GUIDER[1])
    parts = {"unet": unet.network, "reference": network, "pose_guider": guider}
    parts |= {"autoencoder": configured(AutoencoderKL, **SD_VAE)}
    parts |= {"image_encoder": clip(CLIPVisionModelWithProjection, CLIP_L_VISION)}
    reference, stems = numbers(features) + numbers(given.reference), 2 * numbers([stem.entry, stem.hidden])
    return told(parts, AnimateAnyone.waiting, reference, stems, numbers(pose), by_step=False)


def dreampose() -> dict[str, Any]:
    """Contexts, whose size is no film's, are left out; a pose of a frame has two numbers at latent size."""
    unet = ContextUNet(configured(UNet2DConditionModel, **SD_UNET, in_channels=IN_CHANNELS))
    parts = {"unet": unet.network, "autoencoder": configured(AutoencoderKL, **SD_VAE)}
    parts |= {"image_encoder": clip(CLIPVisionModel, {**CLIP_B_VISION, "patch_size": 32})}
    return told(parts, DreamPose.waiting, 0, 0, 2 / 64, by_step=False)


def text2video_zero() -> dict[str, Any]:
    """Keys and values of the anchor in both networks; residuals of a window's frames, of every branch."""
    unet = AnchoredUNet(configured(UNet2DConditionModel, **SD_UNET))
    control = AnchoredControl(configured(ControlNetModel, **SD_UNET))
    words, sample = empty(BRANCHES, WORDS, WIDTH), empty(BRANCHES, 4, SIDE, SIDE)
    anchor, of_control = AnchorConditioning(words, {}, alike=True), AnchorConditioning(words, {}, alike=True)
    residuals = control.residuals(sample, TIMESTEP, of_control, empty(1, 320, SIDE, SIDE), 1.0)
    unet.predict(sample, TIMESTEP, anchor)
    parts = {"unet": unet.network, "control": control.network, "pose_embedding": control.embedding}
    parts |= {"autoencoder": configured(AutoencoderKL, **SD_VAE), "text": clip(CLIPTextModel, CLIP_L_TEXT)}
    anchors = numbers([list(anchor.anchor.values()), list(of_control.anchor.values())])
    return told(parts, Text2VideoZero.waiting, anchors, numbers(residuals), 0, by_step=False)


def drawn() -> dict[str, Any]:
    """From the configurations that are bundled."""
    folder = Path(bundled("bundled:drawn"))
    networks = DrawnNetworks({part: read_config(folder / part) for part in (*PARTS, "motion")})
    with torch.device("meta"):
        pictures = (
            DrawnCodec.from_config(read_config(folder / "codec")),
            Finishing.from_config(read_config(folder / "finishing")),
        )
    given = networks.condition(empty(1, LATENT_CHANNELS, SIDE, SIDE))
    frame = networks.pose_guider(empty(1, 3, 8 * SIDE, 8 * SIDE)), empty(1, WARP_CHANNELS, SIDE, SIDE)
    parts = {"unet": networks.unet, "reference": networks.reference, "pose_guider": networks.pose_guider}
    parts |= {"autoencoder": nn.ModuleList(pictures)}
    return told(parts, Drawn.waiting, 2 * numbers(given.reference), 0, numbers(frame), by_step=False)


SYSTEMS = (magicanimate, animate_anyone, dreampose, text2video_zero, drawn)


# --measure

NARROW = {**SD_UNET, "block_out_channels": [64, 64, 128, 128], "cross_attention_dim": 64, "attention_head_dim": 8}
FRAMES = 4


def a_window(device: str, side: int) -> Callable[[], Any]:
    """A guided window of MagicAnimate's network, narrower, with a reference."""
    unet = ControlledUNet(span_frames(build_motion_unet(NARROW, LONGEST_WINDOW, mid_block=False)))
    if device != "meta":
        unet.network.to_empty(device=device)
        for weight in unet.network.parameters():
            nn.init.normal_(weight, std=0.02)
        for buffer in unet.network.buffers():
            buffer.zero_()
    latents = torch.zeros(FRAMES, 4, side // 8, side // 8, device=device)
    given = Conditioning(torch.zeros(BRANCHES, WORDS, 64, device=device))
    return lambda: unet.predict(latents, TIMESTEP, given)


def a_picture(device: str, side: int) -> Callable[[], Any]:
    """One frame through a decoder half as wide as the published one."""
    vae = decoder(64).to(device)
    latents = torch.zeros(1, 4, side // 8, side // 8, device=device)
    return lambda: vae.decode(latents)


PARTS_MEASURED = {"window": a_window, "picture": a_picture}


@torch.inference_mode()
def grown(part: str, side: int) -> float:
    """MB that one forward adds to this process at its peak."""
    torch.set_num_threads(1)
    run = PARTS_MEASURED[part]("cpu", side)
    PARTS_MEASURED[part]("cpu", 64)()  # what the libraries allocate once
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is the system's again
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    run()
    return resident("VmHWM") - before


def measure(sides: list[int]) -> None:
    """Print counted and measured."""
    print("part      side  counted MB  measured MB  measured / counted")
    for part, build in PARTS_MEASURED.items():
        for side in sides:
            with torch.no_grad():
                counted = held(build("meta", side)) * 4e6 / 2**20
            command = [sys.executable, "-m", "tests.bench.memory", "--only", part, str(side)]
            measured = float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            print(f"{part:<8} {side:5d} {counted:11.1f} {measured:12.1f} {measured / counted:19.2f}", flush=True)


def main() -> int:
    """Write the table, compare it, or hold its kind against this machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--measure", nargs="*", type=int, metavar="SIDE")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(grown(given.only[0], int(given.only[1])))
        return 0
    if given.measure is not None:
        measure(given.measure or [128, 256])
        return 0
    with torch.no_grad():
        made = {system.__name__: system() for system in SYSTEMS}
        made |= {name: wan_sizes.memory(name) for name in wan_sizes.SYSTEMS}
    for name, one in made.items():
        print(name, json.dumps(one))
    if not given.check:
        TABLE.write_text("{\n" + ",\n".join(f' "{name}": {json.dumps(one)}' for name, one in made.items()) + "\n}\n")
        return 0
    same = json.loads(TABLE.read_text()) == made
    print("the same" if same else "the table is another: run without --check")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
