"""Prompts to CLIP embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from manifests.errors import Problem
from stages.diffusion.checkpoint import load_strictly, read_config, read_state, weights_file


class TextEncoder:
    """Tokenizer and CLIP text model of an SD base model."""

    def __init__(self, tokenizer: CLIPTokenizer, model: CLIPTextModel) -> None:
        self.tokenizer = tokenizer
        self.model = model

    @classmethod
    def load(cls, base: Path, device: str, dtype: torch.dtype) -> TextEncoder:
        """Read `tokenizer/` and `text_encoder/` of a base model folder."""
        try:
            tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        except (OSError, ValueError, TypeError) as broken:
            reason = str(broken).splitlines()[0]
            raise Problem(
                f"tokenizer in {base / 'tokenizer'} cannot be read: {reason}", "copy the published folder"
            ) from None
        folder = base / "text_encoder"
        model = CLIPTextModel(CLIPTextConfig(**read_config(folder)))
        # published files name the tensors of the older class, and carry a buffer that is now computed
        state = {
            key.removeprefix("text_model."): value
            for key, value in read_state(weights_file(folder, ("model", "pytorch_model"))).items()
            if not key.endswith("embeddings.position_ids")
        }
        return cls(tokenizer, load_strictly(model, state, folder, dtype).to(device))

    def token_ids(self, prompts: Sequence[str]) -> torch.Tensor:
        """(prompts, 77): padded with the tokenizer's pad token, cut at 77."""
        return self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> torch.Tensor:
        """(prompts, 77, width): the last hidden state after the final norm, without an attention mask."""
        return self.model(self.token_ids(prompts).to(self.model.device)).last_hidden_state
