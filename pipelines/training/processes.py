"""Training in several processes of one machine.

On a CPU two processes with one thread each and averaged gradients train about twice as fast as one with two threads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as distributed
import torch.multiprocessing

Argument = TypeVar("Argument")


def launch(work: Callable[[Argument], None], argument: Argument, processes: int) -> None:
    """Call `work(argument)` in this process and in `processes - 1` more, as one group with one thread each.

    `work` is a function of a module, `argument` can be pickled. This process is the first of the group; `rank`,
    `average` and `maximum` know the group while `work` runs.
    """
    if processes == 1:
        work(argument)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        spawn = torch.multiprocessing.get_context("spawn")
        # a waiting OpenMP thread that spins would take the core from the other process
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        others = [
            spawn.Process(target=_join, args=(work, argument, meeting, number, processes), daemon=True)
            for number in range(1, processes)
        ]
        for other in others:
            other.start()
        _join(work, argument, meeting, 0, processes)
        for other in others:
            other.join()


def _join(work: Callable[[Argument], None], argument: Argument, meeting: str, number: int, processes: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting, rank=number, world_size=processes)
    try:
        work(argument)
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """This process's number in the group; 0 outside one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """How many processes the group has; 1 outside one."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def average(tensors: Sequence[torch.Tensor]) -> None:
    """Replace each tensor by its mean over the group, in one exchange."""
    if size() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= size()
    parts = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])


def maximum(*values: float) -> list[float]:
    """The largest of each value over the group."""
    if size() == 1:
        return list(values)
    shared = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return shared.tolist()
