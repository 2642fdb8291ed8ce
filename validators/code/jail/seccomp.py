"""The system calls that a program may make: a filter in classic BPF, as data.

An allowlist. What is not on it fails with EPERM, as if the kernel had no such thing to offer; calls that only
an attack on the kernel would make kill the program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from .kernel import MACHINE, NUMBERS

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, constant; see linux/filter.h"""
Code = list[Instruction]

# --- what is allowed -------------------------------------------------------------------------------

_ALWAYS = (
    "read write close fstat lseek munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64 readv writev"
    " pipe pipe2 select poll pselect6 ppoll sched_yield mremap madvise dup dup2 dup3 pause nanosleep getitimer"
    " alarm setitimer getpid exit exit_group uname getcwd gettimeofday getrlimit getrusage sysinfo times getuid"
    " getgid geteuid getegid getppid getpgrp getgroups getresuid getresgid getpgid getsid rt_sigpending"
    " rt_sigtimedwait sigaltstack gettid time futex sched_getaffinity restart_syscall clock_gettime"
    " clock_getres clock_nanosleep set_robust_list getrandom rseq membarrier getcpu"
).split()
_FILES = "newfstatat stat lstat statx access faccessat faccessat2 readlink readlinkat getdents64".split()
"""Only where Landlock or a private root says which files there are."""
_ATTACKS = (
    "ptrace process_vm_readv process_vm_writev mount umount2 pivot_root chroot unshare setns bpf perf_event_open"
    " io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl add_key request_key init_module"
    " finit_module delete_module kexec_load kexec_file_load reboot open_by_handle_at iopl ioperm swapon"
    " personality pidfd_getfd open_tree move_mount fsopen fsmount mount_setattr modify_ldt"
).split()
_NOT_THERE = ("clone3", "openat2")
"""Their arguments lie in memory, where no filter can see them; ENOSYS makes the C library take the older call."""
_OPEN_FLAGS = (
    os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_NONBLOCK | os.O_NOCTTY | 0o100000
)  # O_LARGEFILE
"""Reading only: O_CREAT and O_TRUNC write even together with O_RDONLY."""
_FCNTL = (0, 1, 2, 3, 1030)
"""F_DUPFD F_GETFD F_SETFD F_GETFL F_DUPFD_CLOEXEC: not F_SETOWN nor F_SETSIG, which can signal others."""
_IOCTL = (0x5401, 0x541B, 0x5413, 0x5450, 0x5451)
"""TCGETS FIONREAD TIOCGWINSZ FIONCLEX FIOCLEX"""
_PROT_EXEC = 4
_AT_EMPTY_PATH = 0x1000

# --- the filter ------------------------------------------------------------------------------------

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FIRST_X32 = 0x40000000
"""On x86_64, numbers from here on reach the same kernel under another table."""


def _load(offset: int) -> Instruction:
    return 0x20, 0, 0, offset


def _equal(value: int, then: int, otherwise: int) -> Instruction:
    return 0x15, then, otherwise, value


def _any_bit(mask: int, then: int, otherwise: int) -> Instruction:
    return 0x45, then, otherwise, mask


def _return(value: int) -> Instruction:
    return 0x06, 0, 0, value


ALLOW = _return(0x7FFF0000)
REFUSE = _return(0x00050000 | errno.EPERM)
ABSENT = _return(0x00050000 | errno.ENOSYS)
KILL = _return(0x80000000)


def _low(argument: int) -> int:
    return _ARGUMENTS + 8 * argument


def _without(argument: int, mask: int) -> Code:
    """Allowed where the argument has no bit of the mask."""
    return [_load(_low(argument)), _any_bit(mask, 0, 1), REFUSE, ALLOW]


def _one_of(argument: int, values: tuple[int, ...]) -> Code:
    checks = [step for value in values for step in (_equal(value, 0, 1), ALLOW)]
    return [_load(_low(argument)), *checks, REFUSE]


def _null(argument: int) -> Code:
    """Allowed where a pointer is null, in both halves."""
    low = _low(argument)
    return [_load(low), _equal(0, 0, 3), _load(low + 4), _equal(0, 0, 1), ALLOW, REFUSE]


def rules(*, files: bool) -> dict[str, Code]:
    """What happens to each call by name; a call that is not named is refused."""
    found: dict[str, Code] = {name: [ALLOW] for name in _ALWAYS}
    if files:
        found.update({name: [ALLOW] for name in _FILES})
        found["openat"] = _without(2, 0xFFFFFFFF & ~_OPEN_FLAGS)
        found["mmap"] = found["mprotect"] = [ALLOW]  # further C extensions may be loaded
    else:
        found["newfstatat"] = _one_of(3, (_AT_EMPTY_PATH,))  # how the C library writes fstat()
        found["mmap"] = found["mprotect"] = _without(2, _PROT_EXEC)
    found["fcntl"] = _one_of(1, _FCNTL)
    found["ioctl"] = _one_of(1, _IOCTL)
    found["prlimit64"] = _null(2)  # reading limits, not setting them
    found.update({name: [KILL] for name in _ATTACKS})
    found.update({name: [ABSENT] for name in _NOT_THERE})
    return found


def assembled(*, files: bool) -> Code:
    """The whole filter: a binary search over ranges of numbers that share their fate.

    The kernel runs a filter once for every number when it is installed, to cache what is always allowed;
    a search makes that several times cheaper than a chain of comparisons, once for each program.
    """
    by_number = {NUMBERS[name]: code for name, code in rules(files=files).items() if name in NUMBERS}
    ranges: list[tuple[int, Code]] = [(0, by_number.get(0, [REFUSE]))]
    for number in sorted({*by_number, *(number + 1 for number in by_number)} - {0}):
        code = by_number.get(number, [REFUSE])
        if code != ranges[-1][1]:
            ranges.append((number, code))
    if MACHINE == "x86_64":
        ranges.append((_FIRST_X32, [KILL]))
    known = [_load(_ARCHITECTURE), _equal(_ARCHITECTURES[MACHINE], 1, 0), KILL]  # int 0x80 comes as another
    return [*known, _load(_NUMBER), *_search(ranges)]


def _search(ranges: list[tuple[int, Code]]) -> Code:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    left, right = _search(ranges[:middle]), _search(ranges[middle:])
    first = ranges[middle][0]
    if len(left) < 256:
        return [(0x35, len(left), 0, first), *left, *right]  # at or above `first`: to the right
    return [(0x35, 0, 1, first), (0x05, 0, 0, len(left)), *left, *right]


class Filter:
    """A filter in the form that the kernel takes. `address` is that of its struct sock_fprog."""

    def __init__(self, *, files: bool) -> None:
        code = assembled(files=files)
        packed = b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
        self._code = ctypes.create_string_buffer(packed, len(packed))
        head = struct.pack("<H6xQ", len(code), ctypes.addressof(self._code))
        self._head = ctypes.create_string_buffer(head, len(head))
        self.address = ctypes.addressof(self._head)
