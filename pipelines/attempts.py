"""How often a worker has died on a clip, so that no clip holds a night up for ever."""

from __future__ import annotations

from collections.abc import Callable

from manifests import storage
from manifests.errors import Problem


class AttemptLedger:
    """Counts how often a worker has died on a clip: an exclusive marker per try, written before the heavy work.

    Ray restarts a row that kills its process for ever. A death counts only if its node is still alive: when a node is
    lost, the clips on it are not to blame.
    """

    def __init__(self, folder: str, limit: int, node: str, alive_nodes: Callable[[], set[str]]) -> None:
        self._folder = folder
        self._limit = limit
        self._node = node
        self._alive_nodes = alive_nodes

    def begin(self, name: str) -> int:
        """Number of this try, from 1. Raises `WorkerDied` when earlier tries were the worker's death too often."""
        earlier: list[str] = []
        while True:
            uri = storage.join(self._folder, f"{name}.{len(earlier) + 1}.json")
            marker = storage.read_json(uri)
            if marker is None:
                self._judge(earlier)
                if storage.create_exclusive(uri, f'{{"node": "{self._node}"}}\n'.encode()):
                    return len(earlier) + 1
            earlier.append((marker or {}).get("node", ""))

    def _judge(self, nodes: list[str]) -> None:
        """Raise `WorkerDied` when too many of the tries were begun on nodes that are still alive."""
        alive = self._alive_nodes() if nodes else set()
        deaths = sum(node in alive for node in nodes)
        if deaths >= self._limit:
            raise WorkerDied(deaths)


class WorkerDied(Problem):
    """A clip whose worker died every time."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        super().__init__(
            f"its worker died {deaths} times",
            "most often memory: use a smaller size, window or model, or a worker with more memory",
        )
