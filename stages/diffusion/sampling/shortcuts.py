"""What a step of mode fast leaves out, and what its window models keep for it.

Deep features change little from step to step (DeepCache, Ma et al. 2023), and so does what guidance adds at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch

from stages.diffusion.fast import Fast, fast_of, guided_steps
from stages.diffusion.sampling.branches import Branches
from stages.diffusion.sampling.windows import Window

if TYPE_CHECKING:
    from manifests.clip import Clip


@dataclass(frozen=True)
class Shortcut:
    """One step's. Deep features are made and forgotten, made and kept for the next step, or those that were kept."""

    guided: bool = True  # False: the conditional branch alone
    deep: Literal["made", "kept", "reused"] = "made"


WHOLE = Shortcut()


@dataclass(frozen=True)
class Shortcuts:
    """Those of a film, step by step."""

    fast: Fast
    steps: int  # of the film
    done: int = 0  # steps before the first one that is counted here

    def at(self, step: int) -> Shortcut:
        """That of a step, counted from 0."""
        last = self.done + step == self.steps - 1
        turn = step % self.fast.reuse
        kept = self.fast.reuse > 1 and not last
        guided = self.done + step < guided_steps(self.fast, self.steps)
        return Shortcut(guided, "reused" if turn else "kept" if kept else "made")

    def grid(self, step: int) -> int:
        """The number of the windows that a step has: those that share deep features have the same ones."""
        return step // self.fast.reuse


def shortcuts_of(clip: Clip, steps: int | None = None, done: int = 0) -> Shortcuts | None:
    """Those of a clip in mode fast; `steps` where they are others than the clip states, of which some may be `done`."""
    fast = fast_of(clip)
    return None if fast is None else Shortcuts(fast, steps or cast(int, clip.steps), done)


@dataclass
class Deep:
    """Hidden states of a window before the last layers of a network: filled by a whole forward, read by short ones."""

    hidden: torch.Tensor | None = None  # (branches · frames, channels, height, width)

    def of_last(self, samples: int) -> torch.Tensor:
        """Those of the last `samples`: the conditional branch's, where the unconditional one is left out by now."""
        return self.filled()[-samples:]

    def by_branch(self, branches: int) -> torch.Tensor:
        """(branches, frames, channels, height, width)."""
        return self.filled().unflatten(0, (branches, -1))

    def filled(self) -> torch.Tensor:
        """All of them. Raises `RuntimeError` where there are none."""
        if self.hidden is None:
            raise RuntimeError("no whole forward has filled the deep features of this window")
        return self.hidden


def in_turns(
    turns: Branches, branches: int, deep: Deep | None, call: Callable[[range, Deep | None], torch.Tensor]
) -> torch.Tensor:
    """(branches, …) of `call`, which is given the numbers of some branches, and what it fills of `deep`."""
    parts: dict[int, Deep] = {}

    def of(which: range) -> torch.Tensor:
        part = None if deep is None else Deep()
        made = call(which, part)
        if part is not None:
            parts[which.start] = part
        return made

    made = turns.predict(branches, of)
    if deep is not None:
        deep.hidden = torch.cat([parts[start].filled() for start in sorted(parts)])
    return made


def again_in_turns(
    turns: Branches, branches: int, deep: Deep, call: Callable[[range, Deep], torch.Tensor], frames: int
) -> torch.Tensor:
    """(branches, …) of `call`, which is given the numbers of some branches, and their part of `deep`.

    Those that are asked for are the last ones of `deep`, which holds `frames` of each.
    """
    hidden = deep.of_last(branches * frames)
    return turns.predict(branches, lambda which: call(which, Deep(hidden[which.start * frames : which.stop * frames])))


class Shortened:
    """A window model that can take shortcuts: all steps are whole until it is told otherwise.

    Windows stay where they are while deep features are shared, and so does who has them where replicas deal them.
    """

    shortcut: Shortcut = WHOLE

    def __init__(self) -> None:
        self._deep: dict[Window, Deep] = {}

    def shorten(self, shortcut: Shortcut) -> None:
        """Take this shortcut at the step that begins."""
        self.shortcut = shortcut
        if shortcut.deep != "reused":
            self._deep = {}

    def deep(self, window: Window) -> Deep | None:
        """Where the deep features of a window are put at this step, or read; None where nobody needs them."""
        return None if self.shortcut.deep == "made" else self._deep.setdefault(window, Deep())
