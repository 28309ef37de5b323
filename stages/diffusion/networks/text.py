"""Prompts to CLIP embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from manifests.errors import Problem
from stages.diffusion.networks.offload import at_work
from stages.diffusion.weights.bounds import require_weights_for
from stages.diffusion.weights.checkpoint import described_by, load_strictly, read_config, read_state, weights_file
from stages.diffusion.weights.published_names import AS_PUBLISHED
from stages.diffusion.weights.tokenizer import read_tokenizer


class TextEncoder:
    """Tokenizer and CLIP text model of an SD base model."""

    def __init__(self, tokenizer: CLIPTokenizer, model: CLIPTextModel) -> None:
        self.tokenizer = tokenizer
        self.model = model

    @classmethod
    def load(cls, base: Path, device: str, dtype: torch.dtype) -> TextEncoder:
        """Read `tokenizer/` and `text_encoder/` of a base model folder."""
        folder = base / "text_encoder"
        weights = partial(weights_file, folder, ("model", "pytorch_model"))
        model = _text_model(read_config(folder), folder, weights)
        tokenizer = _tokenizer(base / "tokenizer", model.config.vocab_size)
        # published files name the tensors of the older class, and carry a buffer that is now computed
        state = {
            key.removeprefix("text_model."): value
            for key, value in read_state(weights()).items()
            if not key.endswith("embeddings.position_ids")
        }
        return cls(tokenizer, load_strictly(model, state, folder, dtype).to(device))

    def token_ids(self, prompts: Sequence[str]) -> torch.Tensor:
        """(prompts, 77): padded with the tokenizer's pad token, cut at the text model's 77 positions."""
        return self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.model.config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> torch.Tensor:
        """(prompts, 77, width): the last hidden state after the final norm, without an attention mask."""
        with at_work(self.model):
            return self.model(self.token_ids(prompts).to(self.model.device)).last_hidden_state


def _text_model(config: dict[str, Any], folder: Path, weights: Callable[[], Path]) -> CLIPTextModel:
    with described_by(folder / "config.json", "CLIP text model"):
        described = CLIPTextConfig(**config)
        require_weights_for(lambda: CLIPTextModel(described), weights)
        return CLIPTextModel(described)


def _tokenizer(folder: Path, vocabulary: int) -> CLIPTokenizer:
    for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
            raise Problem(f"checkpoint file {folder / name} is missing", AS_PUBLISHED)
    return read_tokenizer(CLIPTokenizer, folder, vocabulary)
