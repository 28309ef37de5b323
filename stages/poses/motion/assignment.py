"""The cheapest pairing of a few people with a few detections."""

from __future__ import annotations

import numpy as np


def assign(cost: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost; infinite ones never pair. cost (rows, columns), exact.

    As many rows as possible are paired first. Kuhn's Hungarian method with potentials, O(rows² · columns).
    """
    if not cost.size:
        return []
    if cost.shape[0] > cost.shape[1]:
        return sorted((row, column) for column, row in assign(cost.T))
    finite = cost[np.isfinite(cost)]
    forbidden = (1.0 + np.abs(finite).sum()) * 2 if len(finite) else 1.0
    cost = np.where(np.isfinite(cost), cost, forbidden)
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, int)  # 1-based; 0: free
    for row in range(1, rows + 1):
        owner[0], current = row, 0
        least, came_from = np.full(columns + 1, np.inf), np.zeros(columns + 1, int)
        used = np.zeros(columns + 1, bool)
        while owner[current]:
            used[current] = True
            reduced = cost[owner[current] - 1] - row_price[owner[current]] - column_price[1:]
            better = ~used[1:] & (reduced < least[1:])
            least[1:][better], came_from[1:][better] = reduced[better], current
            nearest = int(np.where(used[1:], np.inf, least[1:]).argmin()) + 1
            step = least[nearest]
            row_price[owner[used]] += step
            column_price[used] -= step
            least[~used] -= step
            current = nearest
        while current:
            owner[current] = owner[came_from[current]]
            current = came_from[current]
    pairs = [(int(owner[column]) - 1, column - 1) for column in range(1, columns + 1) if owner[column]]
    return sorted((row, column) for row, column in pairs if cost[row, column] < forbidden)
