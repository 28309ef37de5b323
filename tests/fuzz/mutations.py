"""Damage to a file: blind, and by its structure. All of it is decided by one generator of random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.retyping import may_be_retyped, retyped
from tests.fuzz.structures import Span, mended, spans

MOST_BYTES = 4 * 2**20  # of a mutated file
_WORDS = (
    b'-1 0 1e999 NaN Infinity -Infinity null true 4294967296 9223372036854775808 0.1e-400 [] {} "" "\\u0000" '
    b'"\\ud800" [[[[[[[[]]]]]]]] !!python/object/apply:os.system &a *a <<: O >f8 |O8 |V4096 |U1000000 I64 F8_E4M3'
).split(b" ")


def mutated(data: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """The file after one to four mutations; two of three know its structure. `others` are spliced into it."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        other = retyped(data, random) if may_be_retyped(data) and random.random() < 0.3 else None
        known = spans(data)
        if other is not None:
            data = other
        elif known and random.random() < 0.67:
            data = _structured(data, known, random)
        else:
            data = random.choice(BLIND)(data, random, others)
        data = data[:MOST_BYTES]
    return mended(data) if random.random() < 0.8 else data


def _structured(data: bytes, known: Sequence[Span], random: Random) -> bytes:
    parts = [span for span in known if span.kind == "part"]
    numbers = [span for span in known if span.kind != "part"]
    whole = bytearray(data)
    if numbers and (not parts or random.random() < 0.6):
        for span in random.sample(numbers, min(len(numbers), random.choice((1, 1, 2, 5)))):
            span.write(whole, _interesting(span.value(data), 8 * len(span), random))
        return bytes(whole)
    span = random.choice(parts)
    piece = data[span.start : span.stop]
    other = random.choice(parts)
    made = random.choice(
        (
            b"",
            piece * 2,
            piece * random.choice((3, 50)),
            data[other.start : other.stop],
            random.choice(_WORDS),
            bytes(len(piece)),
            random.randbytes(min(len(piece), 4096)),
            piece[: len(piece) // 2],
            b"1" * random.choice((20, 400, 5000)),
        )
    )
    whole[span.start : span.stop] = made[:MOST_BYTES]
    if random.random() < 0.7:  # so that what holds it is as long as it says
        for length in span.around:
            length.write(whole, length.value(data) + len(made) - len(piece))
    return bytes(whole)


def _interesting(value: int, bits: int, random: Random) -> int:
    """A number that parsers trip over, or one near the right one."""
    edges = (0, 1, 2, 7, 8, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 10**6, 10**9)
    near = (value + 1, value - 1, value * 2, value // 2, value ^ (1 << random.randrange(bits)))
    return random.choice((*edges, *near, random.getrandbits(bits), (1 << bits) - 1))


def _flip_bits(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    whole = bytearray(data)
    for _ in range(random.choice((1, 4, 30)) if whole else 0):
        whole[random.randrange(len(whole))] ^= 1 << random.randrange(8)
    return bytes(whole)


def _truncate(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _cut_out(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start + random.choice((1, 2, 8, 100, 5000)) :]


def _insert(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start, size = random.randrange(len(data) + 1), random.choice((1, 4, 64, 4096))
    made = random.choice((bytes(size), b"\xff" * size, random.randbytes(size), b"[" * size, b"A" * size))
    return data[:start] + made + data[start:]


def _overwrite(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start, size = random.randrange(len(data) + 1), random.choice((1, 4, 16, 512))
    return data[:start] + random.choice((bytes(size), b"\xff" * size, random.randbytes(size))) + data[start + size :]


def _repeat(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start : start + 4096] * random.choice((2, 20)) + data[start:]


def _splice(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    other = random.choice(others) if others else data
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


Blind = Callable[[bytes, Random, Sequence[bytes]], bytes]
BLIND: tuple[Blind, ...] = (_flip_bits, _truncate, _cut_out, _insert, _overwrite, _repeat, _splice)
