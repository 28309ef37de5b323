"""What the training stages share: the settings of a run, and an optimisation that time limits and interruptions shape.

A stage reads as its own loop:

    training = Training(network, optimiser, settings, folder=settings.output / "codec", seconds=540)
    for step in training.steps():
        loss = ...                       # draws from training.random() and training.generator() only
        training.update(loss, psnr=psnr)
    with training.averaged():            # the moving average stands in for the weights
        ...
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import nn

from pipelines.training.processes import average, maximum, rank

Choice = TypeVar("Choice")

CHECKPOINT = "training.pt"
CHECKPOINT_SECONDS = 300
LOG_SECONDS = 10


@dataclass(frozen=True)
class Settings:
    """What the command was asked for. `seconds` and `processes` are None where the stage's own default holds.

    `begin` is a checkpoint folder whose weights are gone on from.
    """

    output: Path = Path("out/training")
    seconds: float | None = None
    device: str = "cpu"
    seed: int = 0
    recipe: Literal["cpu", "gpu"] = "cpu"
    begin: Path | None = None
    processes: int | None = None

    def choose(self, cpu: Choice, gpu: Choice) -> Choice:
        """The value that this recipe takes."""
        return gpu if self.recipe == "gpu" else cpu

    def autocast(self) -> AbstractContextManager:
        """bfloat16 arithmetic where it pays; weights, gradients and their averages stay float32."""
        return autocast(self.device)


def autocast(device: str) -> AbstractContextManager:
    """bfloat16 arithmetic where the device has it: a CPU without computes it a hundred times slower than float32."""
    kind = torch.device(device).type
    has_it = kind != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(kind, torch.bfloat16, enabled=has_it)


class Interrupted(SystemExit):
    """SIGTERM or SIGINT arrived; the checkpoint is written and the same command goes on from it."""


class Training:
    """One network's optimisation: learning rate, gradient averaging, clipping, moving average, log and checkpoint.

    The learning rates given to `optimiser` are the peaks: `warm_up` steps rise to them, a cosine over the *time*
    falls from them, so that a run of any length ends annealed. Only parameters with `requires_grad` are averaged.
    The checkpoint in `folder` is written by the first process every five minutes, at the end and on SIGTERM or SIGINT,
    and read at the start; the log is `folder/log.jsonl`. `clock` counts the seconds.

    In several processes (`pipelines.training.processes.launch`) every process makes its own `Training`; gradients are
    averaged over them, and they agree on the time.
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        settings: Settings,
        *,
        folder: Path,
        seconds: float,
        warm_up: int = 20,
        decay: tuple[float, float] = (0.99, 0.999),
        clip: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.network = network
        self.optimiser = optimiser
        self.seed = settings.seed
        self.device = settings.device
        self.folder = folder
        self.seconds = seconds
        self.warm_up = warm_up
        self.decay = decay
        self.clip = clip
        self.clock = clock
        self.step = 0
        self.spent = 0.0
        self.trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self.moving_average = {name: value.detach().clone() for name, value in self.trained.items()}
        self.peaks = [group["lr"] for group in optimiser.param_groups]
        self._signal = 0
        self._pending: list[dict[str, torch.Tensor | float]] = []
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            self._resume()

    @property
    def progress(self) -> float:
        """The part of the time that is used up, 0 to 1."""
        return min(self.spent / self.seconds, 1.0)

    def random(self) -> np.random.Generator:
        """This step's own random numbers: an interrupted training draws the ones that it would have drawn."""
        return np.random.default_rng([self.seed, rank(), self.step])

    def generator(self) -> torch.Generator:
        """As `random`, for torch on the training's device."""
        return torch.Generator(self.device).manual_seed(int(self.random().integers(2**62)))

    def steps(self) -> Iterator[int]:
        """Count steps until the time is used up. Raises `Interrupted` after a signal, with the checkpoint written."""
        with self._signals():
            began = self.clock() - self.spent
            saved = logged = self.spent
            while self.spent < self.seconds:
                self._set_rates()
                yield self.step
                self.step += 1
                self.spent, signalled = maximum(self.clock() - began, float(self._signal))
                if self.spent - logged >= LOG_SECONDS:
                    self._log()
                    logged = self.spent
                if signalled or self.spent - saved >= CHECKPOINT_SECONDS:
                    self.save()
                    saved = self.spent
                if signalled:
                    raise Interrupted(128 + int(signalled))
            if self._pending:
                self._log()
            self.save()

    def update(self, loss: torch.Tensor, **measures: torch.Tensor | float) -> None:
        """Take one optimiser step on a scalar `loss`; `measures` are logged beside it, which not every step needs."""
        loss.backward()
        gradients = [value.grad for value in self.trained.values() if value.grad is not None]
        average(gradients)
        norm = torch.nn.utils.get_total_norm(gradients)
        # one overflow in bfloat16 must not end a training of two hours
        if torch.isfinite(norm):
            torch.nn.utils.clip_grads_with_norm_(self.trained.values(), self.clip, norm)
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        first, last = self.decay
        keep = first + (last - first) * self.progress
        torch._foreach_lerp_(
            list(self.moving_average.values()), [value.detach() for value in self.trained.values()], 1 - keep
        )
        measured = {"loss": loss, "gradient": norm, **measures}
        self._pending.append({n: v.detach() if isinstance(v, torch.Tensor) else v for n, v in measured.items()})

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The network with the moving average in place of its trained weights, which come back at the end."""
        weights = {name: value.detach().clone() for name, value in self.trained.items()}
        self._put(self.moving_average)
        try:
            yield self.network
        finally:
            self._put(weights)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all; does nothing but in the first process."""
        if rank():
            return
        state = {
            "step": self.step,
            "spent": self.spent,
            "weights": {name: value.detach() for name, value in self.trained.items()},
            "average": self.moving_average,
            "optimiser": self.optimiser.state_dict(),
        }
        unfinished = self.folder / f"{CHECKPOINT}.part"
        torch.save(state, unfinished)
        os.replace(unfinished, self.folder / CHECKPOINT)

    def _resume(self) -> None:
        state = torch.load(self.folder / CHECKPOINT, map_location=self.device, weights_only=True)
        self.step, self.spent = state["step"], state["spent"]
        self._put(state["weights"])
        self.moving_average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])

    @torch.no_grad()
    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        for name, value in self.trained.items():
            value.copy_(weights[name])

    def _set_rates(self) -> None:
        part = min((self.step + 1) / self.warm_up, 1.0) * 0.5 * (1 + math.cos(math.pi * self.progress))
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * part

    def _log(self) -> None:
        names = dict.fromkeys(name for line in self._pending for name in line)
        means = {name: float(np.mean([float(line[name]) for line in self._pending if name in line])) for name in names}
        self._pending.clear()
        if rank():
            return
        line = {"step": self.step, "seconds": round(self.spent, 1), "rate": self.optimiser.param_groups[0]["lr"]}
        text = json.dumps(line | {name: float(f"{value:.5g}") for name, value in means.items()})
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(text + "\n")
        sys.stderr.write(f"{self.folder.name} {text}\n")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def note(number: int, frame: Any) -> None:
            self._signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
