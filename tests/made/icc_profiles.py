"""ICC profiles as files carry them, made here from the numbers that define them (ICC.1:2001-04)."""

import struct
from collections.abc import Sequence
from itertools import product

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
D65 = (0.3127, 0.3290)
# Primaries as (x, y) of red, green and blue, white and exponent.
ADOBE_RGB = (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), D65, 563 / 256)
DISPLAY_P3 = (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), D65, None)
PROPHOTO = (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), (0.3457, 0.3585), 1.8)
SRGB = (((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), D65, None)

Space = tuple[Sequence[tuple[float, float]], tuple[float, float], float | None]

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def linear(encoded: np.ndarray, exponent: float | None) -> np.ndarray:
    """Light of encoded values 0…1: a power, or sRGB's curve."""
    if exponent is not None:
        return encoded**exponent
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray, exponent: float | None) -> np.ndarray:
    light = np.clip(light, 0, 1)
    if exponent is not None:
        return light ** (1 / exponent)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(space: Space) -> np.ndarray:
    """Linear RGB → XYZ under D50, as profiles have it."""
    primaries, white, _ = space
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    x, y = white
    white_xyz = np.array([x / y, 1, (1 - x - y) / y])
    adapt = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ white_xyz)) @ BRADFORD
    return adapt @ (columns * np.linalg.solve(columns, white_xyz))


def in_space(srgb: np.ndarray, space: Space) -> np.ndarray:
    """The same colours, uint8 (…, 3), as another space of RGB encodes them."""
    light = linear(srgb / 255, SRGB[2]) @ to_xyz(SRGB).T @ np.linalg.inv(to_xyz(space)).T
    return np.round(encoded(light, space[2]) * 255).astype(np.uint8)


def rgb_profile(space: Space) -> bytes:
    tags = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), to_xyz(space).T, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(space[2])))


def grey_profile(exponent: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(exponent)})


def cmyk_profile() -> bytes:
    """A press whose inks are less pure than arithmetic has it: (1-C·ink)… of light, in a table of Lab."""
    table = bytearray()
    for ink in product(np.linspace(0, 1, 9), repeat=4):
        table += _lab8(to_xyz(SRGB) @ press_light(np.array(ink)))
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if n % 4 == 0 else 0 for n in range(9)))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 9, 0)) + identity + ramp * 4 + bytes(table) + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def press_light(ink: np.ndarray) -> np.ndarray:
    """Linear RGB that the press prints of CMYK 0…1."""
    absorbs = np.array([[0.92, 0.25, 0.08], [0.10, 0.88, 0.35], [0.02, 0.12, 0.90], [0.90, 0.90, 0.90]])
    return np.prod(1 - ink[:, None] * absorbs, axis=0)


def _lab8(xyz: np.ndarray) -> bytes:
    ratio = np.maximum(xyz / D50, 0)
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    lightness, a, b = 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])
    return bytes(int(np.clip(round(v), 0, 255)) for v in (lightness * 2.55, a + 128, b + 128))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(exponent: float | None) -> bytes:
    if exponent is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"
    table = np.round(linear(np.linspace(0, 1, 1024), None) * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(table)) + table.tobytes()


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    words = b"made for a test\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(words)) + words + bytes(78)
    tags = {b"desc": described, b"cprt": b"text\0\0\0\0" + words, b"wtpt": _xyz(D50), **tags}
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    body = table + data
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02400000, kind, space, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(D50)[8:]
    return header.ljust(128, b"\0") + body
