"""The orthographic camera: fixed per shape of the picture, looking slightly down."""

from functools import lru_cache

import numpy as np

from pipelines.training.people.skeleton import Change

PITCH = 7.0  # degrees that the camera looks down
TALLEST = 0.755  # heights of the picture that the tallest person fills
FLOOR = 0.93  # heights of the picture at which the person stands


@lru_cache(maxsize=32)
def camera(width: int, height: int) -> Change:
    """The map from body space to picture space: x right, y down, z toward the viewer, pixels.

    Pixel centres are whole numbers. A picture narrower than 3:4 gets a smaller person.
    """
    scale = TALLEST * min(height, width * 4 / 3)
    c, s = np.cos(np.radians(PITCH)), np.sin(np.radians(PITCH))
    view = np.array([[1, 0, 0], [0, -c, s], [0, s, c]])
    return Change(scale * view, np.array([(width - 1) / 2, FLOOR * height, 0.0]), scale)
