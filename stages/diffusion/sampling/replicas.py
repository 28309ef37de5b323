"""One clip on several devices: replicas of its window model deal the windows of every step among themselves.

Exact: what a window's prediction is computed from, and together with, follows from the step's windows alone, whoever
computes it. So on equal devices, with equal threads and kernels, the film is the same to the bit as on one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from stages.diffusion.sampling.denoise import WindowModel
    from stages.diffusion.sampling.windows import Window

Told = Callable[[int], None]  # of the windows of a step that are predicted


def deal(windows: int, replicas: int) -> list[range]:
    """Neighbouring windows to each replica, by their numbers: as many to all, and one more to the first ones.

    The first ones, because later replicas may have to compute something of earlier windows for their own.
    """
    each, more = divmod(windows, replicas)
    starts = [number * each + min(number, more) for number in range(replicas + 1)]
    return [range(start, stop) for start, stop in pairwise(starts)]


class Replicas:
    """The models of one clip, each on a device of its own and, where there are several, in a thread of its own."""

    def __init__(self, models: Sequence[WindowModel]) -> None:
        self._models = models
        self._broken = Event()
        # threads of kernels, inference mode and gradients are a thread's own: the replicas have those of this one
        self._threads = torch.get_num_threads()
        self._inference, self._gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        self._pool = ThreadPoolExecutor(len(models), "replica", torch.set_num_threads, (self._threads,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends when every replica has finished the window that it is at."""
        self._broken.set()
        self._pool.shutdown()

    def predictions(
        self, latents: torch.Tensor, timestep: int, windows: Sequence[Window], told: Told
    ) -> Iterator[torch.Tensor]:
        """Raw predictions of the windows of one step, in their order, each on the device of who made it.

        Raises what the first replica to fail raised, once the others have stopped.
        """
        if len(self._models) > 1:
            yield from self._together(latents, timestep, windows, told)
            return
        (model,) = self._models
        model.begin_step(timestep, windows, range(len(windows)))
        for number, window in enumerate(windows, 1):
            yield model.predict(latents, timestep, window)
            told(number)

    def _together(
        self, latents: torch.Tensor, timestep: int, windows: Sequence[Window], told: Told
    ) -> Iterator[torch.Tensor]:
        news: SimpleQueue[BaseException | bool] = SimpleQueue()  # True: another window, False: a replica is through
        shares = deal(len(windows), len(self._models))
        # before the devices are busy: a copy waits for all that was asked of either side
        given = [latents.to(model.device) for model in self._models]
        made = [
            self._pool.submit(self._share, model, own, timestep, windows, share, news)
            for model, own, share in zip(self._models, given, shares, strict=True)
        ]
        running, predicted, failure = len(made), 0, None
        while running:
            one = news.get()
            if one is True:
                predicted += 1
                told(predicted)
                continue
            running -= 1
            if isinstance(one, BaseException) and failure is None:
                self._broken.set()
                failure = one
        if failure is not None:
            raise failure
        for replica in made:
            yield from replica.result()

    def _share(
        self,
        model: WindowModel,
        latents: torch.Tensor,
        timestep: int,
        windows: Sequence[Window],
        share: range,
        news: SimpleQueue[BaseException | bool],
    ) -> list[torch.Tensor]:
        """In a replica's thread: its predictions of one step."""
        predictions: list[torch.Tensor] = []
        try:
            if model.device.type == "cuda":
                torch.cuda.set_device(model.device)
            with torch.inference_mode(self._inference), torch.set_grad_enabled(self._gradients):
                model.begin_step(timestep, windows, share)
                for number in share:
                    if self._broken.is_set():
                        break
                    predictions.append(model.predict(latents, timestep, windows[number]))
                    news.put(True)
        except BaseException as error:
            news.put(error)
        else:
            news.put(False)
        return predictions
