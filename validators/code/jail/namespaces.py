"""Namespaces of one's own, and a root folder that holds nothing but libraries, read-only."""

from __future__ import annotations

import os
from collections.abc import Iterable

from .kernel import mount, syscall, unmount_lazily, unshare

NOBODY = 65534
_RDONLY, _NOSUID, _NODEV, _REMOUNT, _BIND, _PRIVATE = 1, 2, 4, 0x20, 0x1000, 0x44000
_NOEXEC, _NOATIME, _NODIRATIME, _RELATIME = 8, 1024, 2048, 4096
_MS_RELATIME = 1 << 21


def separate() -> None:
    """New pid, net, ipc, uts, mount and cgroup namespaces; without root, in a new user namespace.

    The pid namespace is for the next child. Raises OSError where the system does not allow it.
    """
    uid, gid = os.geteuid(), os.getegid()
    others = ("mount", "pid", "net", "ipc", "uts", "cgroup")
    if uid == 0:
        unshare(*others)
        return
    unshare("user", *others)
    maps = (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1"))
    for name, line in maps:
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def private_root(readable: Iterable[str]) -> None:
    """A new root: a small tmpfs with read-only binds of these folders. No /proc, /dev, /etc, home.

    Raises OSError.
    """
    folders = list(readable)
    base = next(
        there
        for there in ("/mnt", "/media", "/srv", "/opt", "/var/tmp", "/tmp")  # noqa: S108 - a mount point
        if os.path.isdir(there) and not any(folder.startswith(f"{there}/") for folder in folders)
    )
    mount("none", "/", None, _PRIVATE)
    mount("tmpfs", base, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for folder in folders:
        target = base + folder
        os.makedirs(target, exist_ok=True)
        mount(folder, target, None, _BIND)
        # Flags that an outer namespace has locked must be repeated, or the remount is refused.
        flags = os.statvfs(folder).f_flag
        locked = flags & (_NOEXEC | _NOATIME | _NODIRATIME) | (_MS_RELATIME if flags & _RELATIME else 0)
        mount("none", target, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV | locked)
    os.chdir(base)
    syscall("pivot_root", b".", b".")  # the old root now lies under the new one, and is taken away
    unmount_lazily(".")
    os.chdir("/")
    mount("none", "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)
