"""What the cache of loaded animators holds in memory: never more than one too many, and nothing that was refused."""

from __future__ import annotations

import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from manifests.errors import Problem, Rejected
from stages.diffusion.animators import ANIMATORS, import_ahead
from stages.diffusion.model_cache import ModelCache


class Network(torch.nn.Linear):
    """Whatever weighs something."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.itself = [self]  # as networks with processors that know them: only the collector frees it


NETWORKS: weakref.WeakSet[Network] = weakref.WeakSet()
ALIVE: weakref.WeakSet[Sized] = weakref.WeakSet()
BESIDE: list[list[int]] = []  # of every load, the sizes of what was in memory meanwhile


class Sized:
    """An animator of as many bytes as its folder is named; `refused` is refused with its network half loaded."""

    def __init__(self, nbytes: int, device: str) -> None:
        self.nbytes = nbytes
        self.device = device
        ALIVE.add(self)

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> Sized:
        network = Network()
        NETWORKS.add(network)
        BESIDE.append(sorted(one.nbytes for one in ALIVE))
        if checkpoint.name == "refused":
            raise Problem("checkpoint refused does not fit", "use the published one")
        if checkpoint.name == "rejected":
            raise Rejected("lora rejected does not fit", "use another")
        return cls(int(checkpoint.name), device)


class Greedy(Sized):
    """Its weights fit beside no other's; `endless` ones nowhere."""

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> Sized:
        half = Network()
        NETWORKS.add(half)
        if ALIVE or checkpoint.name == "endless":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")
        return super().load(checkpoint, device, dtype)


class Mindful(Sized):
    """It keeps so many bytes of its clips."""

    kept = 8

    def forget(self) -> int:
        dropped, self.kept = self.kept, 0
        return dropped


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> ModelCache:
    for name, parameters in (("sized", 0.0), ("other", 0.0), ("described", 50 / 4e6)):
        own = {"name": name, "implementation": f"{__name__}:Sized", "parameters": parameters, "deals_windows": True}
        facts = replace(ANIMATORS["magicanimate"], **own)
        monkeypatch.setitem(ANIMATORS, name, facts)
    for kind in (Greedy, Mindful):
        facts = replace(ANIMATORS["sized"], name=kind.__name__.lower(), implementation=f"{__name__}:{kind.__name__}")
        monkeypatch.setitem(ANIMATORS, facts.name, facts)
    for kept in (ALIVE, NETWORKS, BESIDE):
        kept.clear()
    return ModelCache("cpu", "float32", max_bytes=100)


def load(cache: ModelCache, size: object, name: str = "sized") -> None:
    cache.get(name, Path(str(size)), f"digest {size}")


@pytest.mark.parametrize(("folder", "kind"), [("refused", Problem), ("rejected", Rejected)])
def test_a_refused_model_leaves_nothing_in_memory_but_its_reason(
    cache: ModelCache, folder: str, kind: type[Problem]
) -> None:
    said = []
    for _ in range(3):
        with pytest.raises(kind, match="does not fit") as refused:
            load(cache, folder)
        said.append((type(refused.value), refused.value.error, refused.value.remedy))
        assert len(refused.traceback) < 5, "a reason told again grows no longer"
    assert len(BESIDE) == 1
    assert len(set(said)) == 1
    assert not NETWORKS


def test_room_is_made_before_a_model_as_large_as_the_last_of_its_name_is_loaded(cache: ModelCache) -> None:
    load(cache, 60)
    load(cache, 61)
    load(cache, 62)
    assert BESIDE == [[], [], []]


def test_the_first_model_of_a_name_is_expected_to_be_as_large_as_its_facts_say(cache: ModelCache) -> None:
    load(cache, 60)
    load(cache, 50, "described")
    assert BESIDE == [[], []], "room for 50 bytes was made before they came"


def test_a_model_of_a_new_name_drives_others_out_once_its_size_is_known(cache: ModelCache) -> None:
    load(cache, 60)
    load(cache, 30, "other")
    load(cache, 20, "other")  # 60 + 30 and another 30 are too many
    load(cache, 50, "other")
    assert BESIDE == [[], [60], [30], [20, 30]]
    assert sorted(one.nbytes for one in ALIVE) == [20, 30, 50]


def test_a_model_alone_above_the_limit_is_kept_until_the_next_one_comes(cache: ModelCache) -> None:
    load(cache, 500)
    load(cache, 500)
    load(cache, 10, "other")
    assert BESIDE == [[], []]
    assert [one.nbytes for one in ALIVE] == [10]


def test_a_model_that_fits_beside_no_other_is_loaded_without_them(cache: ModelCache) -> None:
    load(cache, 10)
    load(cache, 20)
    load(cache, 30, "greedy")
    assert [one.nbytes for one in ALIVE] == [30]
    assert len(NETWORKS) <= 2, "both of the last load: what the first try had loaded is gone"


def test_a_model_that_fits_nowhere_is_no_reason_to_refuse_it_later_nor_others(cache: ModelCache) -> None:
    load(cache, 10)
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            load(cache, "endless", "greedy")
        load(cache, 10)
    assert [one.nbytes for one in ALIVE] == [10]


def test_for_room_the_one_in_use_forgets_with_its_replicas_what_it_remembers(cache: ModelCache) -> None:
    together = ModelCache("cpu", "float32", max_bytes=100, others=["meta"])
    load(together, 5)
    load(together, 10, "mindful")
    assert together.keep_one()
    assert sorted((one.nbytes, one.kept) for one in ALIVE) == [(10, 0), (10, 0)]
    assert not together.keep_one(), "nothing is left that could make room"
    next(iter(ALIVE)).kept = 1
    assert together.keep_one(), "without any other model"


def test_replicas_stand_on_their_devices_and_are_counted_and_dropped_with_the_animator(cache: ModelCache) -> None:
    together = ModelCache("cpu", "float32", max_bytes=100, others=["meta", "meta"])
    first = together.get("sized", Path("30"), "digest 30")
    assert [one.device for one in (first, *first.others)] == ["cpu", "meta", "meta"]
    assert together.get("sized", Path("30"), "digest 30") is first
    del first
    load(together, 5, "other")  # 90 bytes and 15 are too many
    assert sorted(one.nbytes for one in ALIVE) == [5, 5, 5]
    load(together, 25, "other")
    assert sorted(one.nbytes for one in ALIVE) == [5, 5, 5, 25, 25, 25]
    BESIDE.clear()
    load(together, 1, "described")  # three of 50 bytes are expected
    assert BESIDE[0] == []


def test_an_animator_that_deals_no_windows_is_loaded_once_and_without_replicas(
    cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANIMATORS, "sized", replace(ANIMATORS["sized"], deals_windows=False))
    alone = ModelCache("cpu", "float32", max_bytes=100, others=["meta"]).get("sized", Path("30"), "digest 30")
    assert len(ALIVE) == 1
    assert not hasattr(alone, "others")


def test_animators_are_imported_ahead_and_what_is_wrong_with_one_is_left_to_its_clip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = "stages.diffusion.drawn.animator"
    broken = replace(ANIMATORS["drawn"], name="broken", implementation="no_such_package:Animator")
    monkeypatch.setitem(ANIMATORS, "broken", broken)
    monkeypatch.delitem(sys.modules, module, raising=False)
    import_ahead(["nobody", "broken", "drawn"])
    assert module in sys.modules
