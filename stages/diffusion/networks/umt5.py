"""Prompts to UMT5 embeddings, as Wan's systems are told what to draw."""

from __future__ import annotations

import html
import re
from collections import OrderedDict
from pathlib import Path

import ftfy
import torch
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

from manifests.errors import Problem
from stages.diffusion.networks.offload import at_work, offload
from stages.diffusion.weights.bounds import on_meta
from stages.diffusion.weights.checkpoint import described_by, load_strictly, read_config
from stages.diffusion.weights.published_names import AS_PUBLISHED
from stages.diffusion.weights.sharded import read_network_state
from stages.diffusion.weights.tokenizer import read_tokenizer

TOKENS = 512  # the cross-attention splits words from picture tokens by this number
KEPT = 64  # embeddings of prompts that are remembered, 4 MB each at the published width in half precision


class PromptEncoder:
    """Tokenizer and text encoder. It waits on the CPU between prompts: its weights are larger than many a card."""

    def __init__(self, tokenizer: T5Tokenizer, model: UMT5EncoderModel, device: str) -> None:
        self.tokenizer = tokenizer
        self.model = model
        offload(model, device)
        self._known: OrderedDict[str, torch.Tensor] = OrderedDict()

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> PromptEncoder:
        """Read `tokenizer/` and `text_encoder/`. Raises `Problem` for folders that hold something else."""
        folder = checkpoint / "text_encoder"
        model = _build(folder)
        state = read_network_state(folder, ("model", "pytorch_model"))
        # published files hold the table of words under one name, which the class has twice
        state.setdefault("encoder.embed_tokens.weight", state.get("shared.weight"))
        return cls(
            _tokenizer(checkpoint / "tokenizer", model.config.vocab_size),
            load_strictly(model, state, folder, dtype),
            device,
        )

    @property
    def channels(self) -> int:
        """Of an embedded token."""
        return self.model.config.d_model

    def forget(self) -> int:
        """Drop what is remembered → its bytes."""
        bytes_kept = sum(found.nbytes for found in self._known.values())
        self._known.clear()
        return bytes_kept

    def token_ids(self, prompt: str) -> tuple[torch.Tensor, int]:
        """(1, 512) filled with the pad token, and how many of them are the prompt's."""
        found = self.tokenizer(
            [cleaned(prompt)],
            padding="max_length",
            max_length=TOKENS,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return found.input_ids, int(found.attention_mask.sum())

    @torch.inference_mode()
    def encode(self, prompt: str) -> torch.Tensor:
        """(1, 512, width) on the device; rows behind the text are zero. A prompt is encoded once."""
        if prompt not in self._known:
            self._known[prompt] = self._encoded(prompt)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(prompt)
        return self._known[prompt]

    def _encoded(self, prompt: str) -> torch.Tensor:
        ids, words = self.token_ids(prompt)
        mask = (torch.arange(TOKENS) < words).long()[None]
        with at_work(self.model):
            device = self.model.device
            found = self.model(ids.to(device), mask.to(device)).last_hidden_state.clone()
        found[:, words:] = 0
        return found


def cleaned(prompt: str) -> str:
    """A prompt as the published code reads it: characters repaired, HTML entities undone, one blank between words."""
    plain = html.unescape(html.unescape(ftfy.fix_text(prompt))).strip()
    return re.sub(r"\s+", " ", plain).strip()


def _build(folder: Path) -> UMT5EncoderModel:
    with described_by(folder / "config.json", "UMT5 encoder"), on_meta():
        return UMT5EncoderModel(UMT5Config(**read_config(folder)))


def _tokenizer(folder: Path, vocabulary: int) -> T5Tokenizer:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model")):
        raise Problem(f"checkpoint file {folder / 'tokenizer.json'} is missing", AS_PUBLISHED)
    return read_tokenizer(T5Tokenizer, folder, vocabulary)
