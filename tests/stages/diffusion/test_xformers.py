"""xFormers' operator computes all attention of the networks where it is asked to, and the films stay the same."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, XFormersAttnProcessor
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from manifests.errors import Problem
from stages.diffusion import acceleration
from stages.diffusion.acceleration import Acceleration
from stages.diffusion.animators import load_animator
from stages.diffusion.networks import memory_efficient
from stages.diffusion.networks.attention_heads import keys_values_of
from stages.diffusion.networks.reference_attention import ReferenceReader
from tests.made.small_clips import WRITE, steps_of

ops = pytest.importorskip("xformers.ops", reason="needs xformers, from the extra 'gpu' or 'dev'")

ENCODERS = ("text", "image_encoder")  # transformers': attention of their own
ATTENDING = {
    "magicanimate": {"unet", "reference", "control", "autoencoder"},
    "animate_anyone": {"unet", "reference", "autoencoder"},
    "dreampose": {"unet", "autoencoder"},
    "text2video_zero": {"unet", "control", "autoencoder"},
    "drawn": {"unet", "reference"},
}


class Reference:
    """In the operator's place, which there is for CUDA alone: counts its calls, and holds them to its documentation."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_bias: None = None, **given: Any
    ) -> torch.Tensor:
        """[B, M, H, K], or [B, M, K] for a single head."""
        self.calls += 1
        assert attn_bias is None
        assert given.get("op") is None
        assert given.get("scale") in (None, pytest.approx(query.shape[-1] ** -0.5))
        laid_out = [one[:, :, None] if one.ndim == 3 else one for one in (query, key, value)]
        assert {(len(one), *one.shape[2:]) for one in laid_out} == {(len(query), *laid_out[0].shape[2:])}
        assert key.shape == value.shape
        assert all(one.stride(-1) == 1 for one in laid_out)
        assert len(query) < 2**16, "samples are a dimension of CUDA's grid"
        with torch._C.DisableTorchFunction():  # else `Torchs` counts this one
            made = scaled_dot_product_attention(*(one.transpose(1, 2) for one in laid_out)).transpose(1, 2)
        return made if query.ndim == 4 else made[:, :, 0]


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reference]:
    reference = Reference()
    monkeypatch.setattr(ops, "memory_efficient_attention", reference)
    memory_efficient._works.cache_clear()
    yield reference
    memory_efficient._works.cache_clear()


class Torchs(TorchFunctionMode):
    """Counts calls of torch's attention, those of the encoders by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.encoding = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            self.calls["encoders" if self.encoding else "networks"] += 1
        return func(*args, **(kwargs or {}))

    def entering(self, *_: Any) -> None:
        self.encoding += 1

    def leaving(self, *_: Any) -> None:
        self.encoding -= 1


@contextmanager
def watched(animator: Any) -> Iterator[tuple[Torchs, Counter[str]]]:
    """Calls of torch's attention, and how often the attention layers of each network were asked."""
    torchs, asked = Torchs(), Counter[str]()

    def counting(name: str) -> Callable[..., None]:
        return lambda *_: asked.update([name])

    hooks = []
    for name, module in animator.modules.items():
        if name in ENCODERS:
            hooks += [module.register_forward_pre_hook(torchs.entering), module.register_forward_hook(torchs.leaving)]
        hooks += [layer.register_forward_hook(counting(name)) for layer in attention_layers(module)]
    with torchs:
        yield torchs, asked
    for hook in hooks:
        hook.remove()


def attention_layers(*modules: nn.Module) -> list[Attention]:
    return [layer for module in modules for layer in module.modules() if isinstance(layer, Attention)]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp("weights") / name) for name, write in WRITE.items()}


def loaded(checkpoints: dict[str, Path], name: str, **wanted: Any) -> Any:
    return load_animator(name, checkpoints[name], "cpu", torch.float32, acceleration=Acceleration(**wanted))


def film(animator: Any) -> list[torch.Tensor]:
    """Latents of every step, and the frames that are decoded of the last ones."""
    latents = [step.latents for step in steps_of(animator, 8)]
    images = animator.keys.images if hasattr(animator, "keys") else animator.images
    return [*latents, *images.decode([latents[-1]])]


@pytest.mark.parametrize("name", WRITE)
def test_every_attention_of_every_network_is_xformers_and_the_film_is_the_same_to_the_bit(
    name: str, checkpoints: dict[str, Path], operator: Reference
) -> None:
    plain = film(loaded(checkpoints, name))
    assert operator.calls == 0
    animator = loaded(checkpoints, name, attention="xformers")
    operator.calls = 0
    with watched(animator) as (torchs, asked):
        made = film(animator)
    assert torchs.calls["networks"] == 0, "attention that went past xFormers"
    assert operator.calls >= asked.total()
    assert set(asked) == ATTENDING[name]
    for ours, theirs in zip(made, plain, strict=True):
        assert torch.equal(ours, theirs)


def test_animators_loaded_beside_it_keep_torchs_attention(checkpoints: dict[str, Path], operator: Reference) -> None:
    before = loaded(checkpoints, "animate_anyone")
    loaded(checkpoints, "animate_anyone", attention="xformers")
    after = loaded(checkpoints, "animate_anyone")
    operator.calls = 0
    for one in (before, after):
        with watched(one) as (torchs, _):
            film(one)
        assert torchs.calls["networks"] > 0
    assert operator.calls == 0
    assert type(Attention(8, heads=1, dim_head=8).processor) is AttnProcessor2_0


def test_without_an_operator_for_the_device_loading_is_refused(checkpoints: dict[str, Path]) -> None:
    memory_efficient._works.cache_clear()
    with pytest.raises(Problem, match="attention xformers: it has no operator for drawn on cpu") as refused:
        loaded(checkpoints, "drawn", attention="xformers")
    assert refused.value.remedy == "set animate_pool.attention to torch"


def test_without_the_package_loading_is_refused(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "XFORMERS", "no_such_package")
    with pytest.raises(Problem, match="attention xformers: the package is not installed here") as refused:
        loaded(checkpoints, "drawn", attention="xformers")
    assert "catwalk[gpu]" in refused.value.remedy


def test_layers_that_it_has_no_operator_for_keep_torchs_and_are_told_of(
    checkpoints: dict[str, Path], operator: Reference, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def only_small(query: torch.Tensor, *others: torch.Tensor, **given: Any) -> torch.Tensor:
        if query.shape[-1] > 8:  # the autoencoder's single head
            raise NotImplementedError
        return operator(query, *others, **given)

    monkeypatch.setattr(ops, "memory_efficient_attention", only_small)
    plain = film(loaded(checkpoints, "text2video_zero"))
    animator = loaded(checkpoints, "text2video_zero", attention="xformers")
    kept = attention_layers(animator.modules["autoencoder"])
    assert {type(layer.processor) for layer in kept} == {AttnProcessor2_0}
    assert f"no operator for {len(kept)} layers of text2video_zero, which keep torch's" in caplog.text
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(film(animator), plain, strict=True))


def test_more_samples_than_a_call_takes_are_shared_out(operator: Reference) -> None:
    query, key, value = (torch.randn(2**16 + 3, 1, 2, 4) for _ in range(3))
    made = memory_efficient.memory_efficient(query, key, value)
    assert operator.calls == 2
    assert torch.equal(made, scaled_dot_product_attention(query, key, value))


@pytest.mark.gpu
@pytest.mark.parametrize("readers", [0, 1, 2], ids=lambda readers: f"{readers} readers")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels", [40, 80, 160])
def test_on_a_gpu_its_attention_is_torchs(channels: int, dtype: torch.dtype, readers: int) -> None:
    """Two branches of three frames of 24×16 latents; of none, the last or both, the frames read a reference."""
    torch.manual_seed(1)
    plain = Attention(8 * channels, heads=8, dim_head=channels, processor=ReferenceReader("block")).to("cuda", dtype)
    theirs = copy.deepcopy(plain)
    assert memory_efficient.attend_memory_efficiently([theirs]) == (1, 0)
    tokens, reference = (torch.randn(n, 384, 8 * channels, device="cuda", dtype=dtype) for n in (6, readers))
    read = {"block": keys_values_of(plain, reference)} if readers else {}
    conditioning = SimpleNamespace(reference=read, branches=2)
    with torch.inference_mode():
        ours, made = (layer(tokens, conditioning=conditioning) for layer in (plain, theirs))
    # two kernels of the same type: a few units in the last place of results near 0.1
    torch.testing.assert_close(made, ours, rtol=0, atol={torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype])


@pytest.mark.gpu
def test_on_a_gpu_diffusers_layers_take_it_too() -> None:
    """As in an autoencoder: one head of all channels, normalised and added to what comes in."""
    torch.manual_seed(1)
    given = {"residual_connection": True, "norm_num_groups": 8, "eps": 1e-6, "bias": True}
    plain = Attention(512, heads=1, dim_head=512, **given).to("cuda", torch.float16)
    theirs = copy.deepcopy(plain)
    given, refused = memory_efficient.attend_memory_efficiently([theirs])
    if refused:
        pytest.skip("xFormers has no operator for heads of 512 on this GPU")
    assert type(theirs.processor) is XFormersAttnProcessor
    pixels = torch.randn(1, 512, 24, 16, device="cuda", dtype=torch.float16)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(pixels), plain(pixels), rtol=0, atol=4e-3)
