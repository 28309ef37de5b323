"""What the reading process is denied, by itself, before it looks at the first byte. Every part is left out where the
platform has none; `catwalk doctor` tries what is left.

Limits of resources are POSIX (macOS keeps those of memory badly). On Linux there are also: seccomp, which denies
sockets, other programs and processes, and whatever reaches beyond the process; Landlock, which leaves it the files it
was handed, Python and the system's libraries to read, and nothing to write but what it was handed for that. Neither
asks for a privilege, so both work in containers too. Layouts are those of linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from stages.sandbox import system_calls

_LINUX = sys.platform.startswith("linux")
_LIBC = ctypes.CDLL(None, use_errno=True)

# Of address space beyond what may be filled: threads' stacks and what allocators reserve.
RESERVED = 2 * 2**30
OPEN_FILES = 64


class Bounds(NamedTuple):
    """What one reading may take."""

    memory_bytes: int
    cpu_seconds: int
    written_bytes: int = 0
    program: bool = False  # whether it may start ffmpeg


def confine(bounds: Bounds, read: Sequence[int], write: Sequence[int], program: str | None) -> dict[str, str]:
    """Give up all that reading takes no part in, for ever; `read` and `write` are descriptors. Tells what is active."""
    active = {"limits": _limit(bounds)}
    if _LINUX:
        _LIBC.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which the others ask for privileges
        active["files"] = _landlock(read, write, program if bounds.program else None)
        active["capabilities"] = _drop_capabilities()
        active["system calls"] = system_calls.install(_prepared().filters[bounds.program])
    return active


def _limit(bounds: Bounds) -> str:
    names = {"CORE": 0, "CPU": bounds.cpu_seconds, "FSIZE": bounds.written_bytes, "NOFILE": OPEN_FILES}
    if _LINUX:
        address, data = _prepared().taken
        names |= {"DATA": data + bounds.memory_bytes, "AS": address + bounds.memory_bytes + RESERVED}
    kept = []
    for name, most in names.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(OSError, ValueError):
            # of processor time the first limit is told by a signal of its own
            resource.setrlimit(kind, (allowed, allowed if name != "CPU" or allowed == hard else allowed + 1))
            kept.append(name)
    return ", ".join(kept)


# Landlock

_READ_FILE = 1 << 2
_READ = _READ_FILE | 1 << 3  # READ_DIR
_EXECUTE = 1 << 0
_WRITE = 1 << 1 | 1 << 14  # WRITE_FILE, TRUNCATE
_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # by ABI: all rights there are
_TCP, _SCOPES = 0b11, 0b11  # bind and connect (ABI 4); abstract sockets and signals (ABI 6)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_O_PATH = getattr(os, "O_PATH", 0)


def readable_places() -> list[Path]:
    """Folders and files that Python and the decoders read beside what they are handed."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    own = Path(__file__).resolve().parents[2]
    system = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/sys/devices/system/cpu")
    more = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if os.path.isabs(path)]
    places = [
        *map(Path, [*paths, *more]),
        own / "stages",
        own / "manifests",
        Path(sys.base_prefix) / "lib",
        *map(Path, system),
    ]
    return sorted({place.resolve() for place in places if place.exists()})


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


def _landlock(read: Sequence[int], write: Sequence[int], program: str | None) -> str:
    abi = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        return ""
    handled = _HANDLED[max(known for known in _HANDLED if known <= abi)]
    rules = _Ruleset(handled, _TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    made = _LIBC.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if made < 0:
        return ""
    allowed = dict(_prepared().places)
    allowed |= dict.fromkeys(read, _READ_FILE) | dict.fromkeys(write, _READ_FILE | _WRITE)
    more = {"/proc/self": _READ}  # where descriptors have names
    if program:
        more |= dict.fromkeys([program, *_LOADERS], _EXECUTE | _READ_FILE)
        more[str(Path(program).resolve().parents[1] / "lib")] = _READ  # its own libraries, where it has some
    allowed |= {os.open(path, _O_PATH): rights for path, rights in more.items() if os.path.exists(path)}
    for place, rights in allowed.items():
        rule = _PathBeneath(rights & handled, place)
        _LIBC.syscall(_ADD_RULE, made, 1, ctypes.byref(rule), 0)
    done = _LIBC.syscall(_RESTRICT_SELF, made, 0) == 0
    os.close(made)
    return f"Landlock {abi}" if done else ""


_LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


# Capabilities


def _drop_capabilities() -> str:
    """As root: keep only what reads a file that another user owns (CAP_DAC_READ_SEARCH)."""
    if os.geteuid() != 0:
        return "none: not root"
    header = struct.pack("=Ii", 0x20080522, 0)
    found = ctypes.create_string_buffer(24)
    _LIBC.capget(ctypes.c_char_p(header), found)
    _, permitted, *_ = struct.unpack("=6I", found.raw)
    kept = permitted & 1 << 2
    done = _LIBC.capset(ctypes.c_char_p(header), ctypes.c_char_p(struct.pack("=6I", kept, kept, 0, 0, 0, 0))) == 0
    return "dropped" if done else ""


# What is the same for every reading


class _Prepared(NamedTuple):
    """Of address space and of data, bytes that are taken; the rights on each opened place; the filter with and without
    `program`."""

    taken: tuple[int, int]
    places: dict[int, int]
    filters: dict[bool, bytes]


_PREPARED: list[_Prepared] = []


def prepare() -> None:
    """For the process that readings are copies of, again whenever it has grown."""
    places = _PREPARED[0].places if _PREPARED else {}
    if _LINUX and not places:
        found = readable_places()
        places = {os.open(place, _O_PATH | os.O_CLOEXEC): _READ if place.is_dir() else _READ_FILE for place in found}
        places[os.open(os.devnull, _O_PATH | os.O_CLOEXEC)] = _READ_FILE | _WRITE
    filters = {program: system_calls.allowed(program) for program in (False, True)}
    _PREPARED[:] = [_Prepared(_taken(), places, filters)]


def _prepared() -> _Prepared:
    if not _PREPARED:
        prepare()
    return _PREPARED[0]


def _taken() -> tuple[int, int]:
    if not _LINUX:
        return 0, 0
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    address, data = (int(told[name].split()[0]) * 1024 for name in ("VmSize", "VmData"))
    return address, data


def die_with(parent: int) -> None:
    """Let the kernel end this process when the one it was copied from ends."""
    if _LINUX:
        _LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
