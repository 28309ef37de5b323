"""Linux's seccomp: which system calls a reading process is denied. Layouts are those of linux/filter.h."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Sequence

_LIBC = ctypes.CDLL(None, use_errno=True)

# The number of each call, on x86-64 and on 64-bit ARM.
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


def install(steps: bytes) -> str:
    """Bind this process to what `allowed` returned, for ever; "" where the kernel knows nothing of it."""
    return "seccomp" if steps and _installed(steps.replace(_OWN, struct.pack("=I", os.getpid()))) else ""


def forbid_starting() -> None:
    """In the process of a program that a reader starts, before it begins: no other process comes of it."""
    if machine := _machine():
        _installed(_packed([*_no_process(machine), (_RETURN, 0, 0, _ALLOW)]))


def _installed(code: bytes) -> bool:
    held = ctypes.create_string_buffer(code)
    given = struct.pack("@HP", len(code) // _STEP.size, ctypes.addressof(held))
    # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    return _LIBC.prctl(22, 2, ctypes.c_char_p(given), 0, 0) == 0


_STEP = struct.Struct("=HBBI")  # code, jump if true, jump if false, value
_OWN = struct.pack("=I", 0xFEEDBEEF)  # stands for the number of the process


def allowed(program: bool) -> bytes:
    """What a reading may ask of the system, with or without starting a program: instructions on struct seccomp_data."""
    if not (machine := _machine()):
        return b""
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
    return _packed([*steps, (_RETURN, 0, 0, _ALLOW)])


def _packed(steps: Sequence[tuple[int, int, int, int]]) -> bytes:
    return b"".join(_STEP.pack(*step) for step in steps)


def _machine() -> str:
    machine = platform.machine()
    return machine if sys.platform.startswith("linux") and machine in _AUDIT else ""


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
