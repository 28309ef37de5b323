"""The picture in the making: colour, coverage and depth of what has been drawn over the backdrop so far."""

import numpy as np

BLEND = 2.0  # pixels of depth over which two surfaces that cross each other melt


class Layer:
    """Premultiplied colour (3, h, w) 0…255, coverage (h, w) 0…1 and depth (h, w) toward the viewer, in pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.colour = np.zeros((3, height, width), np.float32)
        self.coverage = np.zeros((height, width), np.float32)
        self.depth = np.full((height, width), -1e4, np.float32)

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice] | None:
        """Rows and columns of the box inside the picture; None if nothing of it is."""
        rows = slice(max(int(top), 0), min(int(bottom) + 2, self.height))
        columns = slice(max(int(left), 0), min(int(right) + 2, self.width))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def merge(self, window: tuple[slice, slice], colour: np.ndarray, coverage: np.ndarray, depth: np.ndarray) -> None:
        """Add a surface, in front of or behind what is there as its depth says.

        colour (3, h, w) or (3, 1, 1), not premultiplied; coverage and depth (h, w), all of the window's size.
        """
        rows, columns = window
        below, reached = self.coverage[rows, columns], self.depth[rows, columns]
        front = np.clip((depth - reached) * (1 / BLEND) + 0.5, 0, 1)
        over = coverage * front
        free = 1 - below
        shown = over + (coverage - over) * free
        drawn = self.colour[:, rows, columns]
        drawn *= 1 - over
        drawn += colour * shown
        below += coverage * free
        np.copyto(reached, depth, where=(coverage > 0.5) & (depth > reached))

    def over(self, backdrop: np.ndarray) -> np.ndarray:
        """The finished picture on a backdrop (3, h, w): uint8 (h, w, 3)."""
        picture = self.colour + backdrop * (1 - self.coverage)
        return np.ascontiguousarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0))
