"""Pixels to latents and back, through an SD autoencoder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import AutoencoderKL

from manifests.errors import NotFinite, Problem
from manifests.out_of_memory import first_line, out_of_memory
from stages.diffusion.networks.decode_room import DecodeRoom
from stages.diffusion.networks.offload import at_work
from stages.diffusion.weights.checkpoint import (
    State,
    build,
    load_strictly,
    read_config,
    read_state,
    weights_file,
    with_current_attention_names,
)

log = logging.getLogger(__name__)


class EachFrames(Protocol):
    """What an autoencoder of its own is given of every frame beside its latents."""

    def __getitem__(self, frames: slice, /) -> Sequence[Any]:
        """Of some frames."""


Beside = tuple[torch.Tensor, EachFrames]

TOO_LARGE = "use a smaller size, or a device with more memory"


class LatentImages:
    """An autoencoder with the scale its latents are used at."""

    def __init__(self, autoencoder: AutoencoderKL, scale: float) -> None:
        self.autoencoder = autoencoder
        self._scale = scale
        self.decode_frames: int | None = None  # in one call of the decoder; None: as suits the device

    @classmethod
    def load(
        cls, folder: Path, scale: float, device: str, dtype: torch.dtype, tuned: State | None = None
    ) -> LatentImages:
        """Read a published autoencoder folder; `tuned` are weights in place of its own, of any age.

        Raises `Problem` when it does not hold one.
        """
        autoencoder = build(AutoencoderKL, read_config(folder), folder / "config.json")
        state = with_current_attention_names(read_state(weights_file(folder)) if tuned is None else tuned)
        return cls(load_strictly(autoencoder, state, folder, dtype).to(device), scale)

    @torch.inference_mode()
    def encode(self, image: np.ndarray) -> torch.Tensor:
        """uint8 (height, width, 3) → the posterior's mean, scaled: (1, 4, height/8, width/8).

        In float32 where half precision overflows.
        """
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        with at_work(self.autoencoder):
            pixels = pixels.to(self.autoencoder.device, torch.float32) / 127.5 - 1
            kept = self.autoencoder.dtype
            mean = self._mean(pixels)
            if kept != torch.float32 and not bool(torch.isfinite(mean).all()):
                log.warning("the encoder overflowed in %s; once more in float32", kept)
                with self._in_float32():
                    mean = self._mean(pixels).to(kept)
        return mean * self._scale

    @torch.inference_mode()
    def posterior(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, 3, height, width) in whatever range → mean and log variance, (1, 4, height/8, width/8), not scaled.

        In float32 whatever the weights are kept in: values far from [-1, 1] overflow half precision.
        """
        with at_work(self.autoencoder), self._in_float32():
            found = self.autoencoder.encode(pixels.to(self.autoencoder.device, torch.float32)).latent_dist
        return found.mean, found.logvar

    @torch.inference_mode()
    def decode(self, parts: Iterable[torch.Tensor | Beside]) -> Iterator[torch.Tensor]:
        """Some of (frames, 4, h, w) → batches of (n, 3, 8·h, 8·w) in [0, 1], float32 on the autoencoder's device.

        An autoencoder that decodes by more than latents is given what lies beside each frame's.
        From the first batch that overflows half precision on, in float32. Raises `NotFinite` where that overflows too,
        `Problem` where there is no memory for a single frame.
        """
        with at_work(self.autoencoder):
            yield from self._decode(parts)

    def frames(self, parts: Iterable[torch.Tensor | Beside], rounded: bool = False) -> Iterator[np.ndarray]:
        """Some of (frames, 4, h, w) → batches of uint8 (n, 8·h, 8·w, 3), truncated as the papers' writers do.

        Or `rounded`.
        """
        for decoded in self.decode(parts):
            levels = decoded * 255 + (0.5 if rounded else 0)
            yield levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def _decode(self, parts: Iterable[torch.Tensor | Beside]) -> Iterator[torch.Tensor]:
        device, dtype = self.autoencoder.device, self.autoencoder.dtype  # each a walk over all modules
        room, precisely = DecodeRoom(device, self.decode_frames), False
        for part in parts:
            latents, beside = part if isinstance(part, tuple) else (part, None)
            pixels, done = latents.shape[-2] * latents.shape[-1] * 64, 0
            while done < len(latents):
                batch = latents[done : done + room.frames(pixels)]
                more = () if beside is None else (beside[done : done + len(batch)],)
                like = device, torch.float32 if precisely else dtype
                decoded = self._decoded(batch, more, pixels, like, room, precisely)
                if decoded is None:
                    continue  # with fewer frames
                if not bool(torch.isfinite(decoded).all()):  # as uint8 it would be black
                    if precisely or dtype == torch.float32:
                        raise NotFinite("the decoder produced values that are not finite")
                    log.warning("the decoder overflowed in %s; from here on in float32", dtype)
                    precisely = True
                    continue
                yield (decoded.float() / 2 + 0.5).clamp(0, 1)
                done += len(batch)

    def _mean(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.autoencoder.encode(pixels.to(self.autoencoder.dtype)).latent_dist.mean

    def _decoded(
        self,
        batch: torch.Tensor,
        more: Sequence[Any],
        pixels: int,
        like: tuple[torch.device, torch.dtype],
        room: DecodeRoom,
        precisely: bool,
    ) -> torch.Tensor | None:
        """What the decoder, whose weights are `like` so, answers for frames of `pixels` each.

        None where they were too many for the memory.
        """
        try:
            with room.measured(len(batch) * pixels), self._in_float32() if precisely else nullcontext():
                return self.autoencoder.decode(batch.to(*like) / self._scale, *more, return_dict=False)[0]
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if len(batch) == 1:
                what = f"decoding one frame of {pixels} pixels ran out of memory: {first_line(error)}"
                raise Problem(what, TOO_LARGE) from error
        # behind the handler: the error's traceback held what had been computed
        room.did_not_fit(len(batch) * pixels)
        log.warning("%d frames at once did not fit into the memory of %s", len(batch), self.autoencoder.device)
        return None

    @contextmanager
    def _in_float32(self) -> Iterator[None]:
        """The weights widened while the block lasts, which loses nothing: all values of a half type are float32's."""
        kept = self.autoencoder.dtype
        convert = torch.nn.Module.to  # diffusers' own warns of layers to be kept in float32, of which there are none
        try:
            convert(self.autoencoder, torch.float32)  # within: out of memory, it stops halfway
            yield
        finally:
            convert(self.autoencoder, kept)
