"""A DreamPose folder loads whatever its epochs and its age; anything else is refused by name, and runs no code."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler

from manifests import storage
from manifests.errors import Problem
from manifests.source_memo import SourceMemo
from stages.checkpoint_files import checkpoint_digest, held_checkpoint
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.dreampose.animator import DreamPose
from stages.diffusion.dreampose.clip_tokens import ClipTokens
from stages.diffusion.dreampose.scheduler import PublishedScheduler
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.weights.checkpoint import read_state
from stages.diffusion.weights.published_names import among, on_disk, the_one
from stages.node_cache import NodeCache
from tests.conftest import CHECKOUT
from tests.made.dreampose_media import write_checkpoint

FACTS = ANIMATORS["dreampose"]
SAVED = "checkpoint-499"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("dreampose") / "checkpoint")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return copytree(written, tmp_path / "checkpoint")


def load(folder: Path) -> DreamPose:
    return DreamPose.load(folder, "cpu", torch.float32)


def weights(animator: DreamPose) -> dict[str, torch.Tensor]:
    keys = animator.keys
    networks = (animator.unet.network, keys.adapter, keys.images.autoencoder, keys.encoder.model)
    return {f"{number} {key}": value for number, one in enumerate(networks) for key, value in one.state_dict().items()}


def equal(one: DreamPose, other: DreamPose) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def refusal(folder: Path) -> str:
    with pytest.raises(Problem) as refused:
        load(folder)
    return refused.value.error


def resave(path: Path, change: Callable[[dict], dict]) -> None:
    torch.save(change(torch.load(path, weights_only=True)), path)


def prefixed(state: dict) -> dict:
    return {f"module.{key}": value for key, value in state.items()}


def test_every_file_loads_with_and_without_the_prefix_of_a_wrapper(written: Path, folder: Path) -> None:
    resave(folder / "unet_epoch_499.pth", prefixed)
    resave(folder / "vae_1499.pth", prefixed)
    resave(
        folder / "adapter_499.pth",
        lambda state: {key.replace("module.", ""): value for key, value in state.items()},
    )
    assert equal(load(folder), load(written))


def test_epochs_may_have_any_number(written: Path, folder: Path) -> None:
    for old, new in (("unet_epoch_499", "unet_epoch_7"), ("adapter_499", "adapter_7"), ("vae_1499", "vae_1")):
        (folder / f"{old}.pth").rename(folder / f"{new}.pth")
    (folder / SAVED).rename(folder / "checkpoint-20")
    assert equal(load(folder), load(written))


def test_a_vae_that_was_not_fine_tuned_is_the_saved_pipelines(folder: Path) -> None:
    tuned = load(folder)
    # the recorded pipeline's own VAE is not in this copy: the fine-tuned one in its place
    (folder / "vae_1499.pth").rename(folder / SAVED / "vae" / "diffusion_pytorch_model.bin")
    saved = load(folder)
    assert (tuned.tuned_decoder, saved.tuned_decoder) == (True, False)
    assert equal(tuned, saved)


def test_vae_scheduler_and_clip_may_be_the_base_models(written: Path, folder: Path) -> None:
    base, clip = folder / "stable-diffusion-v1-4", folder / "clip-vit-base-patch32"
    (folder / SAVED).rename(base)
    (base / "image_encoder").rename(clip)
    # published with its text tower, under a configuration for both
    config = json.loads((clip / "config.json").read_text())
    (clip / "config.json").write_text(json.dumps({"vision_config": config, "text_config": {}, "projection_dim": 24}))
    resave(
        clip / "pytorch_model.bin",
        lambda state: {**state, "text_model.a": torch.zeros(1), "logit_scale": torch.zeros(())},
    )
    assert equal(load(folder), load(written))


def test_a_folder_of_links_is_followed(written: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    for part in written.iterdir():
        (tmp_path / "links" / part.name).symlink_to(part)
    assert equal(load(tmp_path / "links"), load(written))
    memo = SourceMemo(str(tmp_path / "memo"))
    assert checkpoint_digest(str(tmp_path / "links"), FACTS, memo) == checkpoint_digest(str(written), FACTS, memo)


@pytest.mark.parametrize(
    ("copy", "of"),
    [
        ("unet_epoch_20.pth", "unet_epoch_499.pth"),
        ("adapter_20.pth", "adapter_499.pth"),
        ("vae_20.pth", "vae_1499.pth"),
        ("checkpoint-20", SAVED),
    ],
)
def test_a_folder_with_two_of_a_kind_is_refused_with_both_names(folder: Path, copy: str, of: str) -> None:
    if (folder / of).is_dir():
        copytree(folder / of, folder / copy)
    else:
        (folder / copy).write_bytes((folder / of).read_bytes())

    refused = refusal(folder)
    assert "ambiguous" in refused
    assert copy in refused
    assert of in refused
    with pytest.raises(Problem, match="ambiguous"):
        checkpoint_digest(str(folder), FACTS, SourceMemo(str(folder / "memo")))


def test_a_unet_and_an_adapter_of_different_epochs_are_refused(folder: Path) -> None:
    (folder / "adapter_499.pth").rename(folder / "adapter_20.pth")
    refused = refusal(folder)
    assert "unet_epoch_499.pth and adapter_20.pth" in refused


@pytest.mark.parametrize(
    "part",
    ["unet_epoch_499.pth", "adapter_499.pth", f"{SAVED}/unet/config.json", f"{SAVED}/vae", f"{SAVED}/image_encoder"],
)
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    (folder / part).rename(folder.parent / "away")
    refused = refusal(folder)
    assert "lacks" in refused
    assert part.replace("499", "*") in refused
    with pytest.raises(Problem, match="lacks"):
        checkpoint_digest(str(folder), FACTS, SourceMemo(str(folder / "memo")))


@pytest.mark.parametrize("system", ["magicanimate", "animate_anyone", "nothing"])
def test_another_systems_folder_is_refused(system: str) -> None:
    assert "lacks unet_epoch_*.pth" in refusal(CHECKOUT / "tests" / "golden" / system / "checkpoint")


@pytest.mark.parametrize("name", ["unet_epoch_499.pth", "adapter_499.pth", "vae_1499.pth"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_refused_by_name(folder: Path, name: str, kept: float) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * kept)])
    assert str(folder / name) in refusal(folder)


class Payload:
    """A pickle that creates a file when it is opened the careless way."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["unet_epoch_499.pth", "adapter_499.pth", "vae_1499.pth"])
def test_code_in_a_pickle_is_refused_and_never_run(folder: Path, tmp_path: Path, name: str) -> None:
    trace = tmp_path / "the payload ran"
    torch.save({"a": Payload(trace)}, folder / name)
    torch.load(folder / name, weights_only=False)
    assert trace.exists(), "the payload is harmless: this test could not fail"
    trace.unlink()

    assert str(folder / name) in refusal(folder)
    assert not trace.exists()


def test_files_that_were_swapped_are_refused_by_name(folder: Path) -> None:
    unet, vae, adapter = (folder / name for name in ("unet_epoch_499.pth", "vae_1499.pth", "adapter_499.pth"))
    originals = {path: path.read_bytes() for path in (unet, vae, adapter)}
    for path, other in ((unet, vae), (vae, unet), (adapter, vae), (unet, adapter)):
        path.write_bytes(originals[other])
        refused = refusal(folder)
        assert path.name in refused or "AutoencoderKL" in refused
        path.write_bytes(originals[path])


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {key: value for key, value in state.items() if "linear1" not in key},
        lambda state: {key: value.flatten() for key, value in state.items()},
        lambda state: {key: value[:, :-1] if "linear1.weight" in key else value for key, value in state.items()},
        lambda state: {**state, "module.more": torch.zeros(1)},
    ],
    ids=["a layer is missing", "flat", "other tokens", "one more"],
)
def test_an_adapter_of_other_shapes_is_refused_by_name(folder: Path, change: Callable[[dict], dict]) -> None:
    resave(folder / "adapter_499.pth", change)
    assert str(folder / "adapter_499.pth") in refusal(folder)


def test_networks_that_do_not_fit_together_are_refused(folder: Path) -> None:
    resave(
        folder / "adapter_499.pth",
        lambda state: {
            **state,
            "module.linear1.weight": state["module.linear1.weight"][:49, :53],
            "module.linear1.bias": state["module.linear1.bias"][:49],
        },
    )
    assert "CLIP makes 50 tokens of width 32, the adapter is for 49" in refusal(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "image_encoder"])
@pytest.mark.parametrize("content", ["{", "[]", '{"block_out_channels": 3, "hidden_size": -1}'])
def test_a_configuration_that_describes_no_network_is_refused_by_name(folder: Path, part: str, content: str) -> None:
    file = folder / SAVED / part / "config.json"
    file.write_text(content)
    assert str(file) in refusal(folder)


@pytest.mark.parametrize(
    "change",
    [{"_class_name": "EulerDiscreteScheduler"}, {"_class_name": None}, {"beta_schedule": "none"}, {"beta_end": "x"}],
    ids=str,
)
def test_a_scheduler_that_is_not_stable_diffusions_is_refused_by_name(folder: Path, change: dict) -> None:
    file = folder / SAVED / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert str(file) in refusal(folder)


def test_the_checkpoints_sampler_is_used_unless_the_other_is_asked_for(folder: Path) -> None:
    scheduler = folder / SAVED / "scheduler"
    published = PublishedScheduler.read(scheduler)
    assert isinstance(published.prepared("checkpoint", 4), PNDMScheduler)
    assert isinstance(published.prepared("ddim", 4), DDIMScheduler)
    saved = json.loads((scheduler / "scheduler_config.json").read_text())
    (scheduler / "scheduler_config.json").write_text(json.dumps({**saved, "_class_name": "DDIMScheduler"}))
    assert isinstance(PublishedScheduler.read(scheduler).prepared("checkpoint", 4), DDIMScheduler)
    assert published.prepared("ddim", 4).config.beta_end == 0.012


@pytest.mark.parametrize("kind", ["DDIMScheduler", "PNDMScheduler"])
def test_a_file_that_does_not_say_to_skip_the_first_steps_is_taken(folder: Path, kind: str) -> None:
    file = folder / SAVED / "scheduler" / "scheduler_config.json"
    saved = {**json.loads(file.read_text()), "_class_name": kind}
    del saved["skip_prk_steps"]
    file.write_text(json.dumps(saved))
    published = PublishedScheduler.read(file.parent)
    assert published.prepared("ddim", 2).timesteps.tolist() == [501, 1]
    assert len(published.prepared("pndm", 8).timesteps) == 17  # twelve of Runge-Kutta's, then the last five


def test_ddim_clips_where_the_file_says_nothing_in_parity_alone_and_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = folder / SAVED / "scheduler" / "scheduler_config.json"
    saved = json.loads(file.read_text())

    def clips(parity: bool, sampler: str = "ddim", **changed: object) -> bool:
        settings = {**saved, **changed}
        file.write_text(json.dumps({key: value for key, value in settings.items() if value != "absent"}))
        return PublishedScheduler.read(file.parent).prepared(sampler, 4, parity=parity).config.clip_sample

    for given in ({}, {"clip_sample": True}, {"_class_name": "DDIMScheduler", "clip_sample": "absent"}):
        assert not clips(True, **given)
    assert "clip_sample" not in caplog.text
    assert not clips(False, clip_sample="absent")
    assert clips(True, clip_sample="absent")
    assert "clip_sample" in caplog.text


def test_timesteps_start_at_one_whatever_the_file_says(folder: Path) -> None:
    file = folder / SAVED / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "steps_offset": 0}))
    assert PublishedScheduler.read(file.parent).prepared("ddim", 4).timesteps.tolist() == [751, 501, 251, 1]


def test_parts_are_read_alone_as_well(folder: Path) -> None:
    assert ClipTokens.load(folder / SAVED / "image_encoder", "cpu").num_tokens == 50
    with pytest.raises(Problem, match="no diffusion_pytorch_model"):
        LatentImages.load(folder / SAVED / "vae", 0.18215, "cpu", torch.float32)


def test_a_part_is_found_on_disk_as_among_names(folder: Path) -> None:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    for matching in (on_disk(folder), among(names)):
        assert the_one("unet_epoch_*.pth", matching, "f") == "unet_epoch_499.pth"
        assert the_one("nothing | checkpoint-*/vae", matching, "f") == f"{SAVED}/vae"
        assert the_one("checkpoint-*/unet/config.json", matching, "f") == f"{SAVED}/unet/config.json"
        assert the_one("checkpoint-*/va", matching, "f") is None
        assert the_one("*.bin", matching, "f") is None, "a star stays in its level"
        with pytest.raises(Problem, match=r"adapter_499.pth and unet_epoch_499.pth and vae_1499.pth could each be"):
            the_one("*.pth", matching, "f")


def test_the_digest_follows_every_file_that_is_read_and_no_other(folder: Path, tmp_path: Path) -> None:
    memo = SourceMemo(str(tmp_path / "memo"))

    def digest() -> str:
        return checkpoint_digest(str(folder), FACTS, memo)

    before = digest()
    (folder / "optimizer.pt").write_bytes(b"left over from the training")
    (folder / SAVED / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"never read")
    assert digest() == before
    resave(folder / "vae_1499.pth", lambda state: {key: value + 1 for key, value in state.items()})
    assert digest() != before
    (folder / "vae_1499.pth").unlink()
    assert digest() not in (before, "")


def test_a_checkpoint_in_object_storage_is_fetched_without_what_is_not_read(
    folder: Path, tmp_path: Path, s3: str
) -> None:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    for name in [*names, "optimizer.pt"]:
        data = (folder / name).read_bytes() if name in names else b"left over from the training"
        storage.publish_bytes(data, storage.join(s3, "weights", name))
    uri, memo = f"{s3}/weights", SourceMemo(str(tmp_path / "memo"))
    digest = checkpoint_digest(uri, FACTS, memo)
    assert digest == checkpoint_digest(str(folder), FACTS, memo)
    with held_checkpoint(uri, FACTS, digest, NodeCache(tmp_path / "scratch")) as copy:
        assert equal(load(copy), load(folder))
        assert not (copy / "optimizer.pt").exists()
        assert read_state(copy / "adapter_499.pth").keys() == read_state(folder / "adapter_499.pth").keys()
