"""Tokenizers of published folders."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from transformers import CLIPTokenizer, T5Tokenizer

from manifests.errors import Problem

Tokenizer = TypeVar("Tokenizer", CLIPTokenizer, T5Tokenizer)


def read_tokenizer(kind: type[Tokenizer], folder: Path, vocabulary: int) -> Tokenizer:
    """The tokenizer of a folder, by its class, never by what the folder names: that may be code of its own.

    `vocabulary` is how many tokens the text encoder beside it knows. Raises `Problem` where it cannot be read, or
    knows more.
    """
    try:
        tokenizer = kind.from_pretrained(folder, local_files_only=True)
        tokenizer(["a"])  # a foreign vocabulary is noticed only in use
    except Exception as broken:  # missing files, and the bare Exception of the Rust tokenizer
        reason = (str(broken) or type(broken).__name__).splitlines()[0]
        raise Problem(f"tokenizer in {folder} cannot be read: {reason}", "copy the published folder again") from None
    if len(tokenizer) > vocabulary:
        raise Problem(
            f"tokenizer in {folder} knows {len(tokenizer)} tokens, the text encoder beside it {vocabulary}",
            "use the tokenizer and the text encoder of one checkpoint",
        )
    return tokenizer
