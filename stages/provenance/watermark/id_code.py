"""A 64-bit id as bits that stand much noise: a checksum, and the convolutional code of deep space probes.

CRC-16/CCITT-FALSE; constraint length 7, rate 1/3, generators 133, 171 and 165 (octal), closed by six zeros (CCSDS
131.0-B). Decoded by Viterbi's algorithm from soft values: a Reed-Solomon code of the same length (`reedsolo`), which
takes hard bits, needs 4 dB more (tests/bench/RESULTS.md).
"""

from __future__ import annotations

import binascii

import numpy as np

ID_BITS = 64
_CHECKSUM_BITS, _MEMORY = 16, 6
_GENERATORS = (0o133, 0o171, 0o165)
_STEPS = ID_BITS + _CHECKSUM_BITS + _MEMORY
CODED_BITS = _STEPS * len(_GENERATORS)

_STATES = np.arange(1 << _MEMORY)  # the last six bits, the newest in front
# what goes out, −1 or 1, by state, next bit and generator
_OUT = np.array(
    [
        [[2 * ((bit << _MEMORY | state) & taps).bit_count() % 4 - 1 for taps in _GENERATORS] for bit in (0, 1)]
        for state in range(1 << _MEMORY)
    ],
    np.float64,
)
_BIT = _STATES >> (_MEMORY - 1)  # that led to a state, and from which two it may have come
_BEFORE = np.stack([(_STATES << 1) % (1 << _MEMORY), (_STATES << 1) % (1 << _MEMORY) | 1])


def coded(identity: int) -> np.ndarray:
    """The bits for an id in 0…2⁶⁴ − 1, as float64 −1 or 1 (258,)."""
    word = (identity << _CHECKSUM_BITS | _checksum(identity)) << _MEMORY
    state, out = 0, np.empty((_STEPS, len(_GENERATORS)))
    for step in range(_STEPS):
        bit = word >> (_STEPS - 1 - step) & 1
        out[step] = _OUT[state, bit]
        state = (bit << _MEMORY | state) >> 1
    return out.reshape(-1)


def decoded(soft: np.ndarray) -> int | None:
    """The likeliest id for bits as they were read (258,), the surer the farther from 0; None if its checksum is wrong.

    Noise alone passes the checksum once in 65,536 times.
    """
    worth, came_from = np.full(len(_STATES), -np.inf), []
    worth[0] = 0.0
    for read in np.asarray(soft, np.float64).reshape(_STEPS, len(_GENERATORS)):
        both = worth[_BEFORE] + (_OUT @ read)[_BEFORE, _BIT]
        better = both.argmax(axis=0)
        worth = both[better, _STATES]
        came_from.append(_BEFORE[better, _STATES])
    state, word = 0, 0
    for step, before in enumerate(reversed(came_from)):
        word |= int(_BIT[state]) << step
        state = int(before[state])
    identity, checksum = divmod(word >> _MEMORY, 1 << _CHECKSUM_BITS)
    return identity if checksum == _checksum(identity) else None


def _checksum(identity: int) -> int:
    return binascii.crc_hqx(identity.to_bytes(ID_BITS // 8, "big"), 0xFFFF)
