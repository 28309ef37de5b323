"""Arrays in users' .npz files, looked at before they are unpacked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import IO, Any
from zipfile import ZipFile

import numpy as np

from stages.poses.files.stated_facts import stated_rate

_LENGTHS = {(1, 0): 2, (2, 0): 4}  # format version → bytes of the field that says how long the header is
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_LONGEST_HEADER = 10_000  # bytes; NumPy's own bound, which it looks at only after it has read the header
_LARGEST_NUMBER = 4096  # bytes of a member that holds one number


@dataclass(frozen=True)
class ArrayHeader:
    """What the header of an array says."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(member: IO[bytes]) -> ArrayHeader:
    """The header of an array; the member is left at its first value. Raises `ValueError` for one that is none."""
    version = np.lib.format.read_magic(member)
    if version not in _LENGTHS:
        raise ValueError(f"an array of format {version}")
    field = member.read(_LENGTHS[version])
    length = int.from_bytes(field, "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"an array's header of {length} bytes, at most {_LONGEST_HEADER} are read")
    try:
        shape, fortran, dtype = _READERS[version](BytesIO(field + member.read(length)))
    except Exception as broken:  # NumPy gives text to Python's own parser, whose errors are of many kinds
        raise ValueError(f"an array's header that is none: {broken}") from None
    if any(type(side) is not int or side < 0 for side in shape):  # to NumPy, True is a whole number
        raise ValueError(f"an array of shape {list(shape)}")
    return ArrayHeader(shape, dtype, fortran)


def read_rows(member: IO[bytes], header: ArrayHeader) -> Iterator[np.ndarray]:
    """The array along its first axis, one in memory at a time; all of it where it lies in Fortran's order.

    Raises `ValueError` for one that ends before its last value.
    """
    count, *shape = header.shape
    if header.fortran:
        yield from np.frombuffer(_read(member, header.nbytes), header.dtype).reshape(header.shape, order="F")
        return
    length = math.prod(shape) * header.dtype.itemsize
    for _ in range(count):
        yield np.frombuffer(_read(member, length), header.dtype).reshape(shape)


def _read(member: IO[bytes], length: int) -> bytes:
    data = member.read(length)
    if len(data) < length:
        raise ValueError("an array that ends before its last value")
    return data


def read_number(archive: ZipFile, name: str) -> Any:
    """The one value, a number or text, of the array `name`. Raises `ValueError` for more than one."""
    with archive.open(f"{name}.npy") as member:
        header = read_header(member)
        if math.prod(header.shape) != 1 or header.nbytes > _LARGEST_NUMBER or header.dtype.kind not in "fiuU":
            raise ValueError(f"{name} is no single number")
        return np.frombuffer(member.read(header.nbytes), header.dtype)[0].item()


def read_rate(archive: ZipFile) -> Fraction | None:
    """The array `fps`; None where there is none. Raises `ValueError` for what is no frame rate."""
    return stated_rate(read_number(archive, "fps")) if "fps.npy" in archive.namelist() else None
