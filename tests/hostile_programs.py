"""Programs that try to get out, to do harm or to lie: what each is, and how it may end.

A program that succeeds prints BREACH. Statuses are those of `Outcome`; `contained` as the last line says that
the attempt was refused and the program could go on.
"""

from __future__ import annotations

from typing import NamedTuple

ENDED = ("ok", "error", "blocked", "crash")
SLOW = ("cpu", "timeout")


class Hostile(NamedTuple):
    """`canary` in a source stands for a folder with files that must stay as they are."""

    name: str
    statuses: tuple[str, ...]
    source: str
    last: str | None = None


def attempt(expression: str, imports: str = "os") -> str:
    """Tries one thing, and says whether it was refused."""
    return (
        f"import {imports}\ntry:\n    found = {expression}\n    print('BREACH', found)\n"
        "except (OSError, RuntimeError, ImportError, ValueError, PermissionError):\n    print('contained')\n"
    )


def refused(name: str, expression: str, imports: str = "os") -> Hostile:
    return Hostile(name, ENDED, attempt(expression, imports), "contained")


def raw(number: int, *arguments: object) -> str:
    """A system call by its number; prints BREACH where it did not fail."""
    given = ", ".join(map(str, arguments))
    return (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall.restype = ctypes.c_long\n"
        f"result = libc.syscall({number}{', ' + given if given else ''})\n"
        "print('contained' if result < 0 else 'BREACH %d' % result)\n"
    )


PROGRAMS = [
    # time
    Hostile("endless loop", SLOW, "while True: pass"),
    Hostile(
        "ignores signals",
        SLOW,
        "import signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "while True: pass",
    ),
    Hostile("one long operation in C", (*SLOW, "memory", "error"), "print(len(str(7 ** (10 ** 8))))"),
    Hostile("a pattern that explodes", SLOW, "import re\nre.match('(a+)+$', 'a' * 40 + 'b')"),
    Hostile("sleeps", ("timeout",), "import time\ntime.sleep(60)"),
    Hostile("an exit handler that never ends", ("timeout",), "import atexit, time\natexit.register(time.sleep, 60)\nprint(1)"),
    Hostile("swallows every exception", SLOW, "while True:\n    try:\n        while True: pass\n    except BaseException: pass"),
    Hostile("closes its outputs and stays", ("timeout",), "import os, time\nos.close(1); os.close(2)\ntime.sleep(60)"),
    Hostile("an endless generator in a sum", (*SLOW, "memory"), "import itertools\nprint(sum(itertools.count()))"),
    refused("raises its CPU limit", "resource.setrlimit(resource.RLIMIT_CPU, (999, 999))", "os, resource"),
    refused("raises its memory limit", "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "os, resource"),
    # memory and output
    Hostile("fills memory", ("memory", "error", *SLOW), "x = []\nwhile True: x.append(bytearray(1 << 20))"),
    Hostile("one great allocation", ("memory", "error"), "x = bytearray(1 << 34)\nprint('BREACH')"),
    Hostile("memory through a string", ("memory", "error", *SLOW), "s = 'a'\nwhile True: s += s"),
    Hostile("endless output", ("output", *SLOW), "while True: print('x' * 1000)"),
    Hostile("endless errors", ("output", *SLOW), "import sys\nwhile True: print('x' * 1000, file=sys.stderr)"),
    Hostile("one huge line", ("output", "memory"), "print('9' * 10_000_000)"),
    Hostile("deep recursion", ("error", "crash"), "def f(): return f()\nf()"),
    Hostile("recursion past the interpreter's limit", ("error", "crash", "memory", *SLOW),
            "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): return [f()]\nf()"),
    Hostile("source nested too deep", ("error", "crash", "memory", "output"), "(" * 50_000 + ")" * 50_000),
    Hostile("a compressed bomb", ("memory", "error", "ok", *SLOW),
            "import zlib\nx = zlib.compress(bytes(1 << 24))\nwhile True: x = zlib.decompress(zlib.compress(zlib.decompress(x) * 2))"),
    Hostile("memory in pipes", ENDED, "import os, fcntl\nn = 0\ntry:\n    while True:\n        r, w = os.pipe(); fcntl.fcntl(w, 1031, 1 << 20); n += 1\n"
            "except OSError: print('contained' if n < 40 else 'BREACH')", "contained"),
    Hostile("an anonymous file", ENDED, attempt("os.memfd_create('x')"), "contained"),
    Hostile("all descriptors", ENDED, "import os\nn = 0\ntry:\n    while True: os.dup(0); n += 1\nexcept OSError: print('contained' if n < 100 else 'BREACH')", "contained"),
    # processes and threads
    refused("forks", "os.fork()"),
    Hostile("a fork bomb", ENDED, "import os\ntry:\n    while True: os.fork(); print('BREACH')\nexcept OSError: print('contained')", "contained"),
    Hostile("threads", ENDED, "import threading\ntry:\n    threading.Thread(target=print, args=('BREACH',)).start()\nexcept (RuntimeError, OSError): print('contained')", "contained"),
    refused("a shell", "subprocess.check_output('id', shell=True)", "os, subprocess"),
    refused("a program in its place", "os.execv('/bin/sh', ['sh', '-c', 'echo BREACH'])"),
    refused("spawns", "os.posix_spawn('/bin/true', ['true'], {})"),
    refused("a pipe to a shell", "os.popen('echo BREACH')"),
    refused("a pool of processes", "multiprocessing.Process(target=print).start()", "os, multiprocessing"),
    refused("a new session", "os.setsid() and os.fork()"),
    # files
    refused("reads the users", "open('/etc/passwd').read()"),
    refused("reads the passwords", "open('/etc/shadow').read()"),
    refused("reads a secret", "open('{canary}/secret').read()"),
    refused("writes a secret", "open('{canary}/secret', 'w')"),
    refused("appends", "open('{canary}/secret', 'a')"),
    refused("makes a file", "open('{canary}/new', 'x')"),
    refused("a file in the current folder", "open('here', 'w')"),
    refused("a file in /tmp", "open('/tmp/datagen-hostile', 'w')"),
    refused("a folder", "os.mkdir('{canary}/folder')"),
    refused("removes", "os.remove('{canary}/secret')"),
    refused("renames", "os.rename('{canary}/secret', '{canary}/other')"),
    refused("a link", "os.symlink('/etc/passwd', '{canary}/link')"),
    refused("a hard link", "os.link('{canary}/secret', '{canary}/link')"),
    refused("changes rights", "os.chmod('{canary}/secret', 0o777)"),
    refused("changes the owner", "os.chown('{canary}/secret', 0, 0)"),
    refused("changes times", "os.utime('{canary}/secret', (0, 0))"),
    refused("truncates", "os.truncate('{canary}/secret', 0)"),
    refused("truncates by opening to read", "os.open('{canary}/secret', os.O_RDONLY | os.O_TRUNC)"),
    refused("creates by opening to read", "os.open('{canary}/new', os.O_RDONLY | os.O_CREAT)"),
    refused("an unnamed file", "os.open('/tmp', os.O_TMPFILE | os.O_RDWR)"),
    refused("an attribute", "os.setxattr('{canary}/secret', 'user.x', b'x')"),
    refused("a device", "open('/dev/mem', 'rb').read(1)"),
    refused("the disk", "open('/dev/vda', 'rb').read(1)"),
    refused("another process's environment", "open('/proc/%d/environ' % os.getppid()).read()"),
    refused("its own environment by the kernel", "open('/proc/self/environ').read()"),
    refused("a process's memory", "open('/proc/self/mem', 'r+b')"),
    refused("kernel settings", "open('/proc/sys/kernel/core_pattern', 'w')"),
    refused("cgroups", "os.listdir('/sys/fs/cgroup') and open('/sys/fs/cgroup/x', 'w')"),
    Hostile("looks for home folders", ENDED, "import os\ntry:\n    names = os.listdir('/etc')\n    print('BREACH' if 'passwd' in names else 'contained')\nexcept OSError: print('contained')", "contained"),
    refused("code for the next import", "open(os.__file__, 'a')"),
    refused("a library of its own", "open(os.path.dirname(os.__file__) + '/sitecustomize.py', 'w')"),
    # network
    refused("TCP", "socket.create_connection(('127.0.0.1', {port}), 1)", "os, socket"),
    refused("UDP", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))", "os, socket"),
    refused("listens", "socket.create_server(('127.0.0.1', 0))", "os, socket"),
    refused("a local socket by path", "socket.socket(socket.AF_UNIX).connect('{canary}/socket')", "os, socket"),
    refused("an abstract local socket", "socket.socket(socket.AF_UNIX).connect('\\0datagen-canary')", "os, socket"),
    refused("a pair of sockets", "socket.socketpair()", "os, socket"),
    refused("raw packets", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "os, socket"),
    refused("asks for a page", "urllib.request.urlopen('http://127.0.0.1:{port}/', timeout=1)", "os, urllib.request"),
    refused("looks up a name", "socket.getaddrinfo('example.org', 80)", "os, socket"),
    # other processes
    refused("kills its parent", "os.kill(os.getppid(), 9)"),
    refused("kills everybody", "os.kill(-1, 9)"),
    refused("kills its group", "os.killpg(0, 9)"),
    refused("signals PID 1", "os.kill(1, 0)"),
    refused("priority", "os.nice(-10)"),
    refused("another core", "os.sched_setaffinity(0, [0])"),
    refused("watches its parent", "os.pidfd_open(os.getppid())"),
    refused("sends a signal through a descriptor", "fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())", "os, fcntl"),
    # the kernel
    Hostile("traces its parent", ("blocked",), raw(101, 16, "__import__('os').getppid()", 0, 0)),
    Hostile("a user namespace", ("blocked",), raw(272, 0x10000000)),
    Hostile("mounts", ("blocked",), raw(165, 0, 0, 0, 0, 0)),
    Hostile("changes its root", ("blocked",), raw(161, 'b"/"')),
    Hostile("io_uring", ("blocked",), raw(425, 1, 0)),
    Hostile("bpf", ("blocked",), raw(321, 0, 0, 0)),
    Hostile("performance events", ("blocked",), raw(298, 0, 0, 0, 0, 0)),
    Hostile("page faults of its own", ("blocked",), raw(323, 0)),
    Hostile("kernel keys", ("blocked",), raw(250, 0, 0)),
    Hostile("reads another's memory", ("blocked",), raw(310, 1, 0, 0, 0, 0, 0)),
    Hostile("steals a descriptor", ("blocked",), raw(438, 0, 0, 0)),
    Hostile("a kernel module", ("blocked",), raw(175, 0, 0, 0)),
    Hostile("reboots", ("blocked",), raw(169, 0, 0, 0)),
    Hostile("the other table of numbers", ("blocked",), raw(0x40000000 + 39)),
    Hostile("becomes root", ENDED, raw(105, 0), "contained"),
    Hostile("a process without a filter", ENDED, raw(435, 0, 0), "contained"),
    Hostile("takes its filter off", ENDED, raw(317, 1, 0, 0), "contained"),
    Hostile("lets others read it", ENDED, "import ctypes\nprint('BREACH' if ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0 else 'contained')", "contained"),
    Hostile("lives on without its parent", ENDED, "import ctypes\nprint('BREACH' if ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0 else 'contained')", "contained"),
    # the harness
    Hostile("forges a frame", ("ok",), "import os, struct\nos.write(1, struct.pack('<IIBiffII', 29, 1, 0, 0, 0.0, 0.0, 0, 0))\nprint()\nprint('forged')", "forged"),
    Hostile("writes to every descriptor", ("ok", "error"), "import os\nfor n in range(3, 200):\n    try: os.write(n, b'x'); print('BREACH')\n    except OSError: pass\nprint('contained')", "contained"),
    Hostile("leaves at once", ("ok",), "import os\nos.write(1, b'42\\n')\nos._exit(0)", "42"),
    Hostile("leaves with an error", ("error",), "import os\nos._exit(7)"),
    Hostile("says that it failed to be locked in", ("error", "crash", "ok", "memory"), "import os\nos._exit(250)"),
    Hostile("poisons builtins", ("ok", "error"), "import builtins, json, sys\nbuiltins.print = None\njson.dumps = None\nsys.stdout = None"),
    Hostile("empties the modules", ("ok", "error", "crash"), "import sys\nsys.modules.clear()"),
    Hostile("looks through the frames", ("ok", "error"), "import sys\nf = sys._getframe()\nwhile f:\n    for v in f.f_locals.values():\n        if isinstance(v, int) and v > 2:\n"
            "            try: __import__('os').fstat(v); print('BREACH')\n            except OSError: pass\n    f = f.f_back\nprint('contained')", "contained"),
    Hostile("looks for secrets in memory", ("ok", "memory", *SLOW), "import gc\nprint('BREACH' if any(isinstance(o, (str, bytes)) and 'CANARY' + '-SECRET' in repr(o) for o in gc.get_objects()) else 'contained')"),
    Hostile("an exception with a nasty text", ("error",), "class E(Exception):\n    def __str__(self): raise E\nraise E"),
    Hostile("a hook for its own failure", ("error", "ok"), "import sys\nsys.excepthook = lambda *a: print('42')\n1 / 0"),
    Hostile("a wrong address", ("crash",), "import ctypes\nctypes.string_at(1)"),
    Hostile("aborts", ("crash", "error", "blocked"), "import os\nos.abort()"),
    # text
    Hostile("no text at all", ("ok",), "", ""),
    Hostile("half characters", ("ok",), "import sys\nsys.stdout.buffer.write(b'\\xff\\x00\\xfe\\n')\nprint('end')", "end"),
    Hostile("terminal control", ("ok",), "print('\\x1b[2J\\x1b]0;owned\\x07 42')"),
    Hostile("a syntax error", ("error",), "print('hello"),
    Hostile("a null character in the source", ("error",), "print(1)\0"),
    Hostile("another encoding", ("ok", "error"), "# -*- coding: utf-7 -*-\nprint(1)"),
    Hostile("too long", ("too_long",), "#" * (1 << 21)),
    Hostile("lone surrogates", ("ok", "error"), "print('\\ud800')"),
]  # fmt: skip

SAME_EVERY_RUN = {
    "hashes": "print(hash('a'), [hash(x) for x in ('b', 'c')])",
    "random": "import random\nprint(random.random())",
    "random numbers of its own": "import random\nprint(random.Random(1).random(), random.choice(range(1000)))",
    "sets": "print(list({'a', 'b', 'c', 'd', 'e'}))",
}

HONEST = {
    "print(2 + 3)": "5",
    "import math\nprint(math.comb(10, 3))": "120",
    "from fractions import Fraction\nprint(Fraction(1, 3) + Fraction(1, 6))": "1/2",
    "from decimal import Decimal, getcontext\ngetcontext().prec = 30\nprint(Decimal(1) / Decimal(7))": "0.142857142857142857142857142857",
    "import statistics\nprint(statistics.median([1, 2, 9]))": "2",
    "from datetime import date, timedelta\nprint(date(2024, 2, 28) + timedelta(days=1))": "2024-02-29",
    "from datetime import datetime\nprint(datetime.strptime('3 May 2021', '%d %B %Y').date())": "2021-05-03",
    "from zoneinfo import ZoneInfo\nprint(1)": "1",
    "import itertools\nprint(len(list(itertools.permutations(range(5)))))": "120",
    "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nprint(P(3).x)": "3",
    "import re, json\nprint(json.loads(re.search('{.*}', 'a {\"b\": 4} c')[0])['b'])": "4",
    "if __name__ == '__main__':\n    print('main')": "main",
    "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)": "A",
    "import sys\nsys.setrecursionlimit(5000)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(3000))": "3000",
    "from typing import List\nfrom enum import Enum\nclass C(Enum):\n    A = 1\nprint(C.A.value)": "1",
    "from functools import lru_cache\n@lru_cache(None)\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\nprint(fib(90))": "2880067194370816120",
    "import heapq\nprint(heapq.nsmallest(2, [3, 1, 2])[-1])": "2",
    "print(sum(i * i for i in range(200_000)))": "2666646666700000",
    "x = input() if False else 4\nprint(x)": "4",
    "import collections, string\nprint(collections.Counter('hello').most_common(1)[0][1])": "2",
    "print('è ½ 数')": "è ½ 数",
    "import sys\nprint(7)\nsys.exit()": "7",
}  # fmt: skip
