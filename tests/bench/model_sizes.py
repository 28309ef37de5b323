"""Parameters and floating point operations of every animator at production size.

    python -m tests.bench.model_sizes

The networks are the product's own, built on the meta device from the published configurations: nothing is computed, and
no weights are needed. Multiplications and additions count as one operation each. "Published" is what the original code
computes, "needed" what Catwalk does for the same result, "known" what others have counted of either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel, UNetMotionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from stages.diffusion.animate_anyone.settings import PublishedSettings
from stages.diffusion.animate_anyone.unet import PosedUNet, build_denoising_network
from stages.diffusion.dreampose.checkpoint import IN_CHANNELS
from stages.diffusion.dreampose.dual_guidance import branch_weights
from stages.diffusion.dreampose.embedding_adapter import EmbeddingAdapter
from stages.diffusion.dreampose.unet import Conditioning as ContextConditioning
from stages.diffusion.dreampose.unet import ContextUNet
from stages.diffusion.magicanimate.animator import LONGEST_WINDOW
from stages.diffusion.magicanimate.unet import Conditioning, ControlledUNet
from stages.diffusion.networks.motion_unet import build_motion_unet, span_frames
from stages.diffusion.networks.reference_attention import Features, reading_blocks, transformer_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network, end_at_last_feature
from stages.diffusion.text2video_zero.control import AnchoredControl
from stages.diffusion.text2video_zero.cross_frame_attention import Conditioning as AnchorConditioning
from stages.diffusion.text2video_zero.unet import AnchoredUNet

TIMESTEP, WORDS, WIDTH = 500, 77, 768
SD_UNET = {
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 8,
}
SD_VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
CLIP_L_TEXT = {"hidden_size": WIDTH, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_L_VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
CLIP_L_VISION |= {"patch_size": 14, "projection_dim": WIDTH}
CLIP_B_VISION = CLIP_L_TEXT
POSE_GUIDER = (320, (16, 32, 96, 256))


class Figure(NamedTuple):
    """TFLOP of one thing; `known` are the published and, if there is one, the needed figure."""

    what: str
    published: float
    needed: float | None = None
    known: tuple[float, ...] = ()


class System(NamedTuple):
    """An animator's networks, and what they cost."""

    name: str
    networks: dict[str, torch.nn.Module]
    figures: Iterator[Figure]


def configured(kind: type, **config: Any) -> torch.nn.Module:
    """A diffusers network on the meta device."""
    with torch.device("meta"):
        return kind.from_config(config)


def clip(kind: type, config: dict[str, Any]) -> torch.nn.Module:
    """A CLIP tower on the meta device."""
    with torch.device("meta"):
        return kind((CLIPTextConfig if kind is CLIPTextModel else CLIPVisionConfig)(**config))


def empty(*shape: int) -> torch.Tensor:
    """A tensor of that shape without values."""
    return torch.empty(shape, device="meta")


def operations(run: Callable[[], Any], layers: Sequence[torch.nn.Module] = ()) -> float:
    """TFLOP of a call, or of some layers in it."""
    marks: list[int] = []

    def enter(*_: Any) -> None:
        marks.append(-counter.get_total_flops())

    def leave(*_: Any) -> None:
        marks[-1] += counter.get_total_flops()

    handles = [layer.register_forward_pre_hook(enter) for layer in layers]
    handles += [layer.register_forward_hook(leave) for layer in layers]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return (sum(marks) if handles else counter.get_total_flops()) / 1e12


def decoder(width: int, height: int, *known: float) -> Figure:
    """The autoencoder's decoder for one frame."""
    vae = configured(AutoencoderKL, **SD_VAE)
    made = operations(lambda: vae.decode(empty(1, 4, height // 8, width // 8)))
    return Figure(f"VAE decoder, a frame of {width}×{height}", made, known=known)


def reference_features(network: ReferenceNetwork, width: int, height: int, words: int) -> Features:
    """What a denoising network reads, without values."""
    with torch.no_grad():
        return network.features(empty(1, 4, height // 8, width // 8), TIMESTEP, empty(1, words, WIDTH))


def published_window(unet: UNetMotionModel, latents: torch.Tensor, words: int, features: Features) -> float:
    """A guided window as the published codes compute it.

    Both halves attend to the reference, whose keys and values are made anew for every frame; then the unconditional
    half attends once more, without the reference.
    """
    half, text = ControlledUNet(unet), empty(1, words, WIDTH)
    attentions = [unet.get_submodule(name).attn1 for name in features]
    again = operations(lambda: half.predict(latents, TIMESTEP, Conditioning(text)), attentions)
    projections = operations(lambda: half.project(features))
    conditioning = Conditioning(text, reference=half.project(features))
    reading = operations(lambda: half.predict(latents, TIMESTEP, conditioning))
    return 2 * (reading + len(latents) * projections) + again


def magicanimate() -> System:
    """A window of 16 frames."""
    network = span_frames(build_motion_unet(SD_UNET, LONGEST_WINDOW, mid_block=False))
    reference = end_at_last_feature(build_reference_network(SD_UNET))
    control = configured(ControlNetModel, **SD_UNET)
    latents, text = empty(16, 4, 64, 64), empty(2, WORDS, WIDTH)

    def figures() -> Iterator[Figure]:
        writer = ReferenceNetwork(reference, reading_blocks(reference))
        features = reference_features(writer, 512, 512, WORDS)
        unet = ControlledUNet(network)
        half = operations(lambda: unet.predict(latents, TIMESTEP, Conditioning(text[:1])))
        yield Figure("UNet, 16 frames of 512×512, one guidance half", half, known=(17.7,))
        published = published_window(network, latents, WORDS, features)
        conditioning = Conditioning(text, shared_text=True, reference=unet.project(features))
        needed = operations(lambda: unet.predict(latents, TIMESTEP, conditioning))
        yield Figure("UNet, guided, reading the reference", published, needed, (39.9, 30.6))
        picture = empty(1, 3, 512, 512)
        one = operations(lambda: control(latents[:1], TIMESTEP, text[:1], controlnet_cond=picture))
        yield Figure("ControlNet, one frame", one, known=(0.283,))
        yield Figure(
            "a window and ControlNet for its 12 new frames", published + 12 * one, needed + 12 * one, (43.3, 34.0)
        )
        whole = configured(UNet2DConditionModel, **SD_UNET)
        both = 2 * operations(lambda: whole(latents[:1], TIMESTEP, text[:1]))
        once = operations(lambda: writer.features(latents[:1], TIMESTEP, text[:1]))
        yield Figure("reference network, every step", both, once, (1.6, 0.8))
        yield decoder(512, 512, 2.51)

    text_tower, vae = clip(CLIPTextModel, CLIP_L_TEXT), configured(AutoencoderKL, **SD_VAE)
    networks = {"UNet with motion": network, "reference": reference, "ControlNet": control}
    return System("magicanimate", {**networks, "VAE": vae, "text": text_tower}, figures())


def animate_anyone() -> System:
    """A window of 24 frames as published, and one of 16 for comparison with the others."""
    network = build_denoising_network(SD_UNET, PublishedSettings())
    reference = end_at_last_feature(build_reference_network(SD_UNET))
    with torch.device("meta"):
        guider = ControlNetConditioningEmbedding(POSE_GUIDER[0], block_out_channels=POSE_GUIDER[1])

    def window(frames: int, width: int, height: int, *known: float) -> Figure:
        latents = empty(frames, 4, height // 8, width // 8)
        features = reference_features(ReferenceNetwork(reference, transformer_blocks(reference)), width, height, 1)
        published = published_window(build_denoising_network(SD_UNET, PublishedSettings()), latents, 1, features)
        unet, pose = (
            PosedUNet(build_denoising_network(SD_UNET, PublishedSettings())),
            empty(frames, 320, *latents.shape[2:]),
        )
        conditioning = unet.condition(features, empty(2, 1, WIDTH))
        needed = operations(lambda: unet.predict(latents, TIMESTEP, conditioning, pose))
        return Figure(f"UNet, {frames} frames of {width}×{height}, guided", published, needed, known)

    def figures() -> Iterator[Figure]:
        yield window(16, 512, 512)
        yield window(24, 512, 768, 107)
        whole, token = configured(UNet2DConditionModel, **SD_UNET), empty(2, 1, WIDTH)
        latents = empty(2, 4, 96, 64)
        writer = ReferenceNetwork(reference, transformer_blocks(reference))
        both = operations(lambda: whole(latents, TIMESTEP, token))
        once = operations(lambda: writer.features(latents[:1], TIMESTEP, token[:1]))
        yield Figure("reference network, once per clip, 512×768", both, once, (2.6,))
        yield Figure("pose guider, 24 frames", operations(lambda: guider(empty(24, 3, 768, 512))), known=(0.5,))
        yield decoder(512, 768, 3.8)

    encoder, vae = clip(CLIPVisionModelWithProjection, CLIP_L_VISION), configured(AutoencoderKL, **SD_VAE)
    networks = {"UNet with motion": network, "reference": reference, "pose guider": guider}
    return System("animate_anyone", {**networks, "VAE": vae, "image encoder": encoder}, figures())


def dreampose() -> System:
    """One frame, which is made by itself."""
    network = configured(UNet2DConditionModel, **SD_UNET, in_channels=IN_CHANNELS)
    with torch.device("meta"):
        adapter = EmbeddingAdapter(1280, WIDTH, 50)
    sample = empty(3, IN_CHANNELS, 80, 64)

    def figures() -> Iterator[Figure]:
        three = operations(lambda: network(sample, TIMESTEP, empty(3, 50, WIDTH)))
        unet = ContextUNet(configured(UNet2DConditionModel, **SD_UNET, in_channels=IN_CHANNELS))
        projected = unet.project(empty(2, 50, WIDTH))  # once per clip
        for image, pose in ((8.0, 3.0), (3.0, 3.0), (1.0, 3.0), (1.0, 1.0)):
            read = torch.tensor([branch.context for branch in branch_weights(image, pose)], device="meta")
            given = sample[: len(read)], TIMESTEP, ContextConditioning(projected, read)
            needed = operations(lambda given=given: unet.predict(*given))
            yield Figure(f"UNet, a frame of 512×640, scales {image:g} and {pose:g}", three, needed)
        vae = configured(AutoencoderKL, **SD_VAE)
        yield Figure(
            "VAE encoder, three pictures per frame or clip", 3 * operations(lambda: vae.encode(empty(1, 3, 640, 512)))
        )
        yield decoder(512, 640)

    encoder, vae = clip(CLIPVisionModel, {**CLIP_B_VISION, "patch_size": 32}), configured(AutoencoderKL, **SD_VAE)
    return System("dreampose", {"UNet": network, "adapter": adapter, "VAE": vae, "image encoder": encoder}, figures())


def text2video_zero(frames: int = 8) -> System:
    """One frame of a chunk, whose first slot the published code spends on the clip's first frame again."""
    network, control = configured(UNet2DConditionModel, **SD_UNET), configured(ControlNetModel, **SD_UNET)
    sample, text = empty(2 * frames, 4, 64, 64), empty(2, WORDS, WIDTH)

    def figures() -> Iterator[Figure]:
        words, pictures = text.repeat_interleave(frames, dim=0), empty(2 * frames, 3, 512, 512)
        plain = operations(lambda: network(sample, TIMESTEP, words)) / (frames - 1)
        drawn = operations(lambda: control(sample, TIMESTEP, words, controlnet_cond=pictures)) / (frames - 1)
        unet = AnchoredUNet(configured(UNet2DConditionModel, **SD_UNET))
        anchored = operations(lambda: unet.predict(sample, TIMESTEP, AnchorConditioning(text, {}, alike=True))) / frames
        yield Figure(
            f"UNet, a frame of 512×512 in a chunk of {frames}, guided", plain, anchored, (1.6 * frames / (frames - 1),)
        )
        posed = AnchoredControl(configured(ControlNetModel, **SD_UNET))
        embedded = empty(frames, 320, 64, 64)
        needed = (
            operations(
                lambda: posed.residuals(sample, TIMESTEP, AnchorConditioning(text, {}, alike=True), embedded, 1.0)
            )
            / frames
        )
        yield Figure("ControlNet, the same", drawn, needed, (0.56 * frames / (frames - 1),))
        yield decoder(512, 512, 2.4)

    text_tower, vae = clip(CLIPTextModel, CLIP_L_TEXT), configured(AutoencoderKL, **SD_VAE)
    return System(
        "text2video_zero", {"UNet": network, "ControlNet": control, "VAE": vae, "text": text_tower}, figures()
    )


SYSTEMS = (magicanimate, animate_anyone, dreampose, text2video_zero)  # a new animator's function is added here


def main() -> None:
    """Print one block for each animator."""
    for made in SYSTEMS:
        system = made()
        sizes = {
            name: sum(one.numel() for one in network.parameters()) / 1e6 for name, network in system.networks.items()
        }
        print(f"\n{system.name}: {sum(sizes.values()):,.0f} M parameters")
        print("  " + ", ".join(f"{name} {size:,.1f}" for name, size in sizes.items()))
        print(f"  {'TFLOP':58} published   needed   known", flush=True)
        for figure in system.figures:
            needed = "" if figure.needed is None else f"{figure.needed:.3f}"
            known = " / ".join(f"{value:.3g}" for value in figure.known)
            print(f"  {figure.what:58} {figure.published:9.3f} {needed:>8}   {known}".rstrip())


if __name__ == "__main__":
    main()
