"""Linux system calls that the standard library does not offer, and their numbers."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

MACHINE = platform.machine()
SUPPORTED = MACHINE in ("x86_64", "aarch64")
_COLUMN = 0 if MACHINE == "x86_64" else 1

# name x86_64 aarch64; "-" where the architecture has no such call
_TABLE = """
read 0 63|write 1 64|close 3 57|fstat 5 80|lseek 8 62|mmap 9 222|mprotect 10 226|munmap 11 215|brk 12 214
rt_sigaction 13 134|rt_sigprocmask 14 135|rt_sigreturn 15 139|ioctl 16 29|pread64 17 67|readv 19 65
writev 20 66|pipe 22 -|select 23 -|sched_yield 24 124|mremap 25 216|madvise 28 233|dup 32 23|dup2 33 -
pause 34 -|nanosleep 35 101|getitimer 36 102|alarm 37 -|setitimer 38 103|getpid 39 172|exit 60 93
uname 63 160|fcntl 72 25|getcwd 79 17|gettimeofday 96 169|getrlimit 97 163|getrusage 98 165|sysinfo 99 179
times 100 153|getuid 102 174|getgid 104 176|geteuid 107 175|getegid 108 177|getppid 110 173|getpgrp 111 -
getgroups 115 158|getresuid 118 148|getresgid 120 150|getpgid 121 155|getsid 124 156|rt_sigpending 127 136
rt_sigtimedwait 128 137|sigaltstack 131 132|gettid 186 178|time 201 -|futex 202 98|sched_getaffinity 204 123
restart_syscall 219 128|clock_gettime 228 113|clock_getres 229 114|clock_nanosleep 230 115|exit_group 231 94
set_robust_list 273 99|poll 7 -|pselect6 270 72|ppoll 271 73|dup3 292 24|pipe2 293 59|getrandom 318 278
rseq 334 293|membarrier 324 283|getcpu 309 168|prlimit64 302 261|openat 257 56|newfstatat 262 79|stat 4 -
lstat 6 -|statx 332 291|access 21 -|faccessat 269 48|faccessat2 439 439|readlink 89 -|readlinkat 267 78
getdents64 217 61|clone3 435 435|openat2 437 437|ptrace 101 117|process_vm_readv 310 270
process_vm_writev 311 271|mount 165 40|umount2 166 39|pivot_root 155 41|chroot 161 51|unshare 272 97
setns 308 268|bpf 321 280|perf_event_open 298 241|io_uring_setup 425 425|io_uring_enter 426 426
io_uring_register 427 427|userfaultfd 323 282|keyctl 250 219|add_key 248 217|request_key 249 218
init_module 175 105|finit_module 313 273|delete_module 176 106|kexec_load 246 104|kexec_file_load 320 294
reboot 169 142|open_by_handle_at 304 265|iopl 172 -|ioperm 173 -|swapon 167 224|personality 135 92
pidfd_getfd 438 438|open_tree 428 428|move_mount 429 429|fsopen 430 430|fsmount 432 432
mount_setattr 442 442|modify_ldt 154 -|seccomp 317 277|landlock_create_ruleset 444 444
landlock_add_rule 445 445|landlock_restrict_self 446 446
"""
NUMBERS: dict[str, int] = {}
for _entry in _TABLE.replace("\n", "|").split("|"):
    if _entry:
        _name, *_numbers = _entry.split()
        if _numbers[_COLUMN] != "-":
            NUMBERS[_name] = int(_numbers[_COLUMN])

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
CLONE_NEW = {
    "mount": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000,
    "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def syscall(name: str, *arguments: int | bytes) -> int:
    """Raises OSError."""
    values = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    result: int = libc.syscall(ctypes.c_long(NUMBERS[name]), *values)
    if result < 0:
        raise _failed(name)
    return result


def prctl(option: int, value: int) -> None:
    """Raises OSError."""
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise _failed("prctl")


def unshare(*kinds: str) -> None:
    """Leave the namespaces of these kinds for new ones. Raises OSError."""
    if libc.unshare(sum(CLONE_NEW[kind] for kind in kinds)):
        raise _failed("unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Raises OSError."""
    encoded = [value.encode() if value is not None else None for value in (source, target, kind, options)]
    if libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]):
        raise _failed(f"mount {target}")


def unmount_lazily(target: str) -> None:
    """Raises OSError."""
    if libc.umount2(target.encode(), 2):
        raise _failed(f"umount {target}")


def drop_capabilities() -> None:
    """All of them, for good. Raises OSError."""
    header = struct.pack("<Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    if libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(bytes(24))):
        raise _failed("capset")
