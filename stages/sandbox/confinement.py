"""What the reading process is denied, by itself, before it looks at the first byte. Every part is left out where the
platform has none; `catwalk doctor` tries what is left.

Limits of resources are POSIX (macOS keeps those of memory badly). On Linux there are also: seccomp, which denies
sockets, other programs and processes, and whatever reaches beyond the process; Landlock, which leaves it the files it
was handed, Python and the system's libraries to read, and nothing to write but what it was handed for that. Neither
asks for a privilege, so both work in containers too. Layouts are those of linux/filter.h and linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

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
        active["system calls"] = _seccomp(bounds.program)
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


# seccomp: the number of each call that is denied, on x86-64 and on 64-bit ARM

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3, _PRLIMIT, _TGKILL = 435, {"x86_64": 302, "aarch64": 261}, {"x86_64": 234, "aarch64": 131}
_THREAD = 0x10000  # CLONE_THREAD
_X32 = 0x40000000
_NO_SUCH_CALL = 38  # ENOSYS: the C library then takes `clone`, whose flags can be looked at
_STARTING = {"execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None)}
_DENIED = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "setrlimit": (160, 164),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # of files that can be seen, Landlock leaves owner, mode and times to whoever owns them
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    # where there is no Landlock
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rmdir": (84, None),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "truncate": (76, 45),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "mknod": (133, None),
    "mknodat": (259, 33),
}
# Denied as well where no program is to write: to open a file in any way but to read it.
_WRITING = {"creat": (85, None), "ftruncate": (77, 46), "fallocate": (285, 47), "openat2": (437, 437)}
_OPEN = {"x86_64": ((2, 24), (257, 32)), "aarch64": ((56, 32),)}  # numbers, and where the low half of the flags lies
_TO_WRITE = 0o3 | 0o100 | 0o1000 | 0o20000000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_TMPFILE
_LOAD, _EQUAL, _AT_LEAST, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _DENY, _END = 0x7FFF0000, 0x00050001, 0x80000000  # errno EPERM; the process is ended


def _seccomp(program: bool) -> str:
    machine = platform.machine()
    if machine not in _AUDIT:
        return ""
    return "seccomp" if _filtered(_prepared().filters[program].replace(_OWN, struct.pack("=I", os.getpid()))) else ""


def forbid_starting() -> None:
    """In the process of a program that a reader starts, before it begins: no other process comes of it."""
    if _LINUX and platform.machine() in _AUDIT:
        _filtered(b"".join(_STEP.pack(*step) for step in [*_no_process(platform.machine()), (_RETURN, 0, 0, _ALLOW)]))


def _filtered(code: bytes) -> bool:
    held = ctypes.create_string_buffer(code)
    given = struct.pack("@HP", len(code) // _STEP.size, ctypes.addressof(held))
    # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    return _LIBC.prctl(22, 2, ctypes.c_char_p(given), 0, 0) == 0


_STEP = struct.Struct("=HBBI")  # code, jump if true, jump if false, value
_OWN = struct.pack("=I", 0xFEEDBEEF)  # stands for the number of the process


def _filter(machine: str, program: bool) -> bytes:
    """Instructions on struct seccomp_data."""
    column = 0 if machine == "x86_64" else 1
    denied = dict(_DENIED) | ({} if program else _STARTING | _WRITING)
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _AUDIT[machine]), (_RETURN, 0, 0, _END), (_LOAD, 0, 0, 0)]
    if machine == "x86_64":
        steps += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _DENY)]
    for numbers in denied.values():
        if (number := numbers[column]) is not None:
            steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    # limits may be asked for, not set: the new one is a pointer, of two halves
    steps += [(_EQUAL, 0, 5, _PRLIMIT[machine]), (_LOAD, 0, 0, 32), (_EQUAL, 0, 2, 0), (_LOAD, 0, 0, 36)]
    steps += [(_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _DENY), (_LOAD, 0, 0, 0)]
    # a signal to itself is how a process aborts
    steps += [(_EQUAL, 0, 4, _TGKILL[machine]), (_LOAD, 0, 0, 16), (_EQUAL, 1, 0, 0xFEEDBEEF), (_RETURN, 0, 0, _DENY)]
    steps += [(_LOAD, 0, 0, 0)]
    if not program:
        for number, flags in _OPEN[machine]:
            steps += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, flags), (_SET, 0, 1, _TO_WRITE), (_RETURN, 0, 0, _DENY)]
            steps += [(_LOAD, 0, 0, 0)]
        steps += _no_process(machine)
    return b"".join(_STEP.pack(*step) for step in [*steps, (_RETURN, 0, 0, _ALLOW)])


def _no_process(machine: str) -> list[tuple[int, int, int, int]]:
    """Threads may be made, processes not."""
    steps = [(_LOAD, 0, 0, 0)]
    for name in ("fork", "vfork"):
        if (number := _STARTING[name][0 if machine == "x86_64" else 1]) is not None:
            steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    steps += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, 0x00050000 | _NO_SUCH_CALL)]
    return [
        *steps,
        *[(_EQUAL, 0, 4, _CLONE[machine]), (_LOAD, 0, 0, 16), (_SET, 1, 0, _THREAD), (_RETURN, 0, 0, _DENY)],
        (_LOAD, 0, 0, 0),
    ]


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
    machine = platform.machine()
    filters = {program: _filter(machine, program) for program in (False, True) if machine in _AUDIT}
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
