"""Which branches of a batch attend to a reference, and to which."""

from dataclasses import dataclass

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from stages.diffusion.networks.attention_heads import KeysValues, keys_values_of
from stages.diffusion.networks.reference_attention import ReferenceReader

BRANCHES, FRAMES, TOKENS, CHANNELS = 3, 2, 4, 8


@dataclass(frozen=True)
class Conditioning:
    reference: dict[str, KeysValues]
    branches: int = BRANCHES


@pytest.fixture
def attn() -> Attention:
    torch.manual_seed(0)
    made = Attention(CHANNELS, heads=2, dim_head=CHANNELS // 2).requires_grad_(False)
    made.set_processor(ReferenceReader("block"))
    return made


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_the_last_branches_attend_to_a_reference_each_beside_themselves(attn: Attention, readers: int) -> None:
    hidden, references = torch.randn(BRANCHES * FRAMES, TOKENS, CHANNELS), torch.randn(readers, 5, CHANNELS)
    conditioning = Conditioning({"block": keys_values_of(attn, references)})
    together = attn(hidden, conditioning=conditioning).unflatten(0, (BRANCHES, FRAMES))

    nothing = references[:1, :0]
    attn.set_processor(AttnProcessor2_0())  # of diffusers: attends to whatever it is given
    for branch, frames in enumerate(hidden.unflatten(0, (BRANCHES, FRAMES))):
        number = branch - (BRANCHES - readers)
        reference = references[[number]] if number >= 0 else nothing
        seen = torch.cat([frames, reference.expand(FRAMES, -1, -1)], dim=1)
        torch.testing.assert_close(together[branch], attn(frames, encoder_hidden_states=seen))


def test_a_block_without_a_reference_attends_to_itself(attn: Attention) -> None:
    hidden = torch.randn(BRANCHES * FRAMES, TOKENS, CHANNELS)
    read = attn(hidden, conditioning=Conditioning({"another block": keys_values_of(attn, hidden[:1])}))
    attn.set_processor(AttnProcessor2_0())
    assert torch.equal(read, attn(hidden))
