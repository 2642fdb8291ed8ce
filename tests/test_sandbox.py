"""Untrusted programs stay locked in, at every level; honest ones run as under plain Python."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT
from engine.errors import SandboxUnavailable
from hostile_programs import HONEST, PROGRAMS, SAME_EVERY_RUN, Hostile
from validators.code import process as zygotes
from validators.code import sandbox as front
from validators.code.jail import kernel, seccomp, wire
from validators.code.jail.zygote import fate
from validators.code.levels import level_of, tight_enough
from validators.code.sandbox import Sandbox, SandboxOptions

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is Linux's"),
    pytest.mark.filterwarnings("ignore:.*the sandbox is at the level.*"),
]
SHORT = SandboxOptions(cpu_s=1, wall_s=1.5, output_bytes=65_536)
LEVELS = {"full": (), "no-namespaces": ("namespaces",), "no-files": ("namespaces", "landlock")}
X86_ONLY = platform.machine() != "x86_64"


@pytest.fixture
def canaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """Files, sockets and secrets that no program may touch; checked at the end."""
    folder = tmp_path / "canary"
    folder.mkdir()
    (folder / "secret").write_text("CANARY-SECRET")
    folder.chmod(0o777)
    (folder / "secret").chmod(0o666)
    monkeypatch.setenv("DATAGEN_API_KEY", "CANARY-SECRET")
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", tcp.getsockname()[1]))
        path = stack.enter_context(socket.socket(socket.AF_UNIX))
        path.bind(str(folder / "socket"))
        path.listen()
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind("\0datagen-canary")
        abstract.listen()
        before = snapshot(folder)
        yield {"canary": str(folder), "port": tcp.getsockname()[1]}
        for listener in (tcp, udp, path, abstract):
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.recv(1) if listener is udp else listener.accept()
        assert snapshot(folder) == before


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    stats = {path.name: path.lstat() for path in folder.iterdir()}
    return {name: (stat.st_mtime_ns, stat.st_mode, stat.st_size) for name, stat in stats.items()}


def filled(source: str, canaries: dict[str, object]) -> str:
    for name, value in canaries.items():
        source = source.replace("{" + name + "}", str(value))
    return source


async def wrong(sandbox: Sandbox, hostile: Hostile, canaries: dict[str, object]) -> str | None:
    """What is wrong with how a hostile program ended, if anything."""
    outcome = await sandbox.run(filled(hostile.source, canaries))
    if "BREACH" in outcome.stdout or "CANARY-SECRET" in outcome.stdout + outcome.stderr:
        return f"{hostile.name}: got through: {outcome}"
    if outcome.status not in hostile.statuses:
        return f"{hostile.name}: {outcome}"
    if hostile.last is not None and outcome.ok and outcome.last_line != hostile.last:
        return f"{hostile.name}: {outcome}"
    return None


@pytest.mark.parametrize("level", LEVELS)
async def test_no_hostile_program_gets_through(level: str, canaries: dict[str, object]) -> None:
    async with Sandbox(SHORT, without=LEVELS[level]) as sandbox:
        assert sandbox.level == level or not os.access("/proc/self/ns/user", os.F_OK)
        programs = [h for h in PROGRAMS if not (X86_ONLY and h.statuses == ("blocked",))]
        found = await asyncio.gather(*(wrong(sandbox, hostile, canaries) for hostile in programs))
        assert [each for each in found if each] == []
        for source, last in HONEST.items():
            outcome = await sandbox.run(source)
            assert (outcome.status, outcome.last_line) == ("ok", last), f"{source}: {outcome}"


def unprivileged_python() -> str | None:
    """A Python that any user may run, where we are root and can become somebody else."""
    if os.geteuid() != 0:
        return None
    for candidate in ("/usr/bin/python3", "/usr/local/bin/python3", sys.executable):
        code = "import sys; sys.exit(sys.version_info < (3, 11))"
        try:
            ran = subprocess.run([candidate, "-S", "-c", code], user=65534, group=65534, capture_output=True)
        except OSError:
            continue
        if ran.returncode == 0:
            return candidate
    return None


async def test_an_ordinary_user_is_locked_in_as_well(
    canaries: dict[str, object], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = unprivileged_python()
    if python is None:
        pytest.skip("needs root, and a Python that other users may run")
    packages = Path("/tmp") / f"datagen-jail-{os.getpid()}"  # noqa: S108 - where everybody can read it
    shutil.copytree(ROOT / "validators" / "code" / "jail", packages / "validators" / "code" / "jail")
    begun = asyncio.get_running_loop().subprocess_exec

    async def as_nobody(factory: object, *argv: str, **options: object) -> object:
        command = [python, *argv[1:]]
        command[command.index(str(zygotes.PACKAGES))] = str(packages)
        return await begun(factory, *command, user=65534, group=65534, extra_groups=[], **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio.get_running_loop(), "subprocess_exec", as_nobody)
    try:
        async with Sandbox(SHORT) as sandbox:
            assert sandbox.layers["root_user"] is False
            found = await asyncio.gather(*(wrong(sandbox, hostile, canaries) for hostile in PROGRAMS))
            assert [each for each in found if each] == []
    finally:
        shutil.rmtree(packages)


async def test_the_corpus_of_a_folder() -> None:
    """DATAGEN_CORPUS names a folder with hostile/manifest.json and honest/manifest.json."""
    import orjson

    place = os.environ.get("DATAGEN_CORPUS")
    if not place:
        pytest.skip("DATAGEN_CORPUS is not set")
    hostile, honest = (Path(place) / kind for kind in ("hostile", "honest"))
    async with Sandbox(SandboxOptions(cpu_s=1, wall_s=2.5)) as sandbox:
        for program in orjson.loads((hostile / "manifest.json").read_bytes())["programs"]:
            outcome = await sandbox.run((hostile / program["file"]).read_bytes())
            status = "rejected" if outcome.status == "too_long" else outcome.status
            assert status in program["status_in"], (program["file"], outcome)
            assert not any(word in outcome.stdout for word in program["stdout_must_not_contain"])
        for program in orjson.loads((honest / "manifest.json").read_bytes())["programs"]:
            if not program["needs"]:
                outcome = await sandbox.run((honest / program["file"]).read_bytes())
                assert outcome.last_line == program["final_line"], program["file"]


async def test_many_at_once_and_no_state_between_them() -> None:
    bad = [
        "import builtins\nbuiltins.print = None",
        "while True: pass",
        "import sys\nsys.modules.clear()",
        "1 / 0",
    ]
    async with Sandbox(SandboxOptions(cpu_s=1, wall_s=20)) as sandbox:
        hostile = [
            sandbox.run(bad[n % 4] if n % 40 == 1 or n % 4 != 1 else "import os\nos._exit(9)")
            for n in range(200)
        ]
        honest = [
            sandbox.run(f"import math\nmark = globals().get('mark', {n})\nprint(mark)") for n in range(200)
        ]
        outcomes = await asyncio.gather(*hostile, *honest)
        assert [outcome.last_line for outcome in outcomes[200:]] == [str(n) for n in range(200)]
        for name, source in SAME_EVERY_RUN.items():
            runs = {(await sandbox.run(source)).stdout for _ in range(4)}
            assert len(runs) == 1, name


async def test_programs_do_not_see_each_other() -> None:
    spy = (
        "import sys, time\ntime.sleep(0.05)\nframe, found = sys._getframe(), []\nwhile frame:\n"
        "    for value in list(frame.f_locals.values()):\n        found.append(repr(getattr(value, '__dict__', '')))\n"
        "        for job in getattr(value, '_running', {}).values(): found.append(repr(job.ask.source))\n"
        "    frame = frame.f_back\nprint('SEEN' if any('SECRET-OF-ANOTHER' in each for each in found) else 'blind')"
    )
    async with Sandbox(SandboxOptions(zygotes=1)) as sandbox:
        other = asyncio.create_task(sandbox.run("import time\nx = 'SECRET-OF-ANOTHER'\ntime.sleep(0.3)"))
        await asyncio.sleep(0)
        assert (await sandbox.run(spy)).last_line == "blind"
        await other


async def test_a_zygote_that_dies_costs_no_program() -> None:
    async with Sandbox(SandboxOptions(zygotes=2)) as sandbox:
        running = [
            asyncio.create_task(sandbox.run("import time\ntime.sleep(0.02)\nprint(7)")) for _ in range(60)
        ]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for zygote in sandbox._light._zygotes:
            assert zygote is not None
            zygote._transport.kill()
        assert {(await task).last_line for task in running} == {"7"}
        assert (await sandbox.run("print(1)")).last_line == "1"


async def test_a_cancelled_caller_does_not_free_the_place_of_a_living_program() -> None:
    async with Sandbox(SandboxOptions(zygotes=1, cpu_s=1, wall_s=1)) as sandbox:
        tasks = [asyncio.create_task(sandbox.run("while True: pass")) for _ in range(2)]
        free = sandbox._light._free
        assert free is not None
        while free.qsize():
            await asyncio.sleep(0)  # until both have a place
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert free.qsize() == 0
        assert (await sandbox.run("print(1)")).ok


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if entry.name.isdigit() and int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry.name))
    return [each for child in found for each in (child, *children(child))]


async def test_nothing_outlives_a_front_end_that_is_killed() -> None:
    code = (
        "import asyncio\nfrom validators.code.sandbox import Sandbox, SandboxOptions\n"
        "async def main():\n    async with Sandbox(SandboxOptions(wall_s=60)) as s:\n"
        "        asyncio.get_running_loop().call_later(0.2, lambda: print('up', flush=True))\n"
        "        await asyncio.gather(*[s.run('import time\\ntime.sleep(60)') for _ in range(4)])\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    family = children(process.pid)
    assert len(family) >= 4
    process.kill()
    await process.wait()
    for _ in range(200):
        alive = [pid for pid in family if Path(f"/proc/{pid}").exists() and "Z" not in state(pid)]
        if not alive:
            break
        await asyncio.sleep(0.02)
    assert alive == []


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


@pytest.mark.slow
async def test_nothing_is_left_behind_by_many_programs() -> None:
    async with Sandbox(SandboxOptions(zygotes=2)) as sandbox:
        first = [zygote for zygote in sandbox._light._zygotes if zygote is not None]
        await asyncio.gather(*(sandbox.run("print(1)") for _ in range(200)))
        before = memory()
        for _ in range(16):
            outcomes = await asyncio.gather(
                *(sandbox.run("x = [0] * 1000\nprint(len(x))") for _ in range(200))
            )
            assert {outcome.last_line for outcome in outcomes} == {"1000"}
        assert memory() - before < 1_600, "half a kB a program; one small object left of each would be more"
        assert [zygote for zygote in sandbox._light._zygotes if zygote is not None] == first
        assert [pid for pid in children(os.getpid()) if state(pid) == "Z"] == []


def memory() -> int:
    """Resident KiB of this process and all below it."""
    gc.collect()
    total = 0
    for pid in (os.getpid(), *children(os.getpid())):
        with contextlib.suppress(OSError):
            total += (
                int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
            )
    return total


# --- levels ----------------------------------------------------------------------------------------


async def test_below_the_required_level_nothing_starts() -> None:
    with pytest.raises(SandboxUnavailable, match=r"'limits-only' here.*'no-files' is required.*docker"):
        async with Sandbox(without=("namespaces", "landlock", "seccomp")):
            pass
    with pytest.raises(SandboxUnavailable, match=r"'no-namespaces'.*'full' is required"):
        async with Sandbox(SandboxOptions(require="full"), without=("namespaces",)):
            pass


async def test_limits_only_must_be_asked_for_by_name() -> None:
    options = SandboxOptions(require="limits-only", cpu_s=1, wall_s=5)
    async with Sandbox(options, without=("namespaces", "landlock", "seccomp")) as sandbox:
        assert sandbox.level == "limits-only"
        assert (await sandbox.run("print(6 * 7)")).last_line == "42"
        assert (await sandbox.run("while True: pass")).status == "cpu"


async def test_a_canary_that_gets_through_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(front.CANARIES, "count to three", "print('BREACH')")
    with pytest.raises(SandboxUnavailable, match="does not hold: a program could count to three"):
        async with Sandbox():
            pass


def test_levels_by_layers() -> None:
    layers = {"seccomp": True, "namespaces": True, "private_root": True, "landlock": 5}
    assert level_of(layers) == "full"
    assert level_of({**layers, "landlock": 0}) == "no-landlock"
    assert level_of({**layers, "namespaces": False}) == "no-namespaces"
    assert level_of({**layers, "private_root": False, "landlock": 0}) == "no-files"
    assert level_of({**layers, "seccomp": False}) == "limits-only"
    assert tight_enough("full", "no-files")
    assert not tight_enough("limits-only", "no-files")


async def test_elsewhere_than_on_linux_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front.sys, "platform", "darwin")
    with pytest.raises(SandboxUnavailable, match=r"only be locked in on Linux.*docker"):
        async with Sandbox():
            pass


async def test_a_missing_interpreter_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        front, "command", lambda *_: [sys.executable, "-c", "raise SystemExit('no such thing here')"]
    )
    with pytest.raises(SandboxUnavailable, match=r"does not start.*no such thing here"):
        async with Sandbox():
            pass


async def test_a_container_runs_the_same_zygote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for docker that checks what it is asked for and runs the command at once."""
    docker = tmp_path / "docker"
    docker.write_text(
        f"#!{sys.executable}\nimport os, sys\nargv = sys.argv[1:]\n"
        "for wanted in ('--network=none', '--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges',"
        " '--user=65534:65534', '--interactive'):\n    assert wanted in argv, wanted\n"
        "place = argv.index('--entrypoint=python3')\ncommand = argv[place + 2:]\n"
        f"command[command.index('/datagen')] = {str(ROOT)!r}\n"
        "env = dict(a.removeprefix('--env=').split('=', 1) for a in argv if a.startswith('--env='))\n"
        f"os.execve({sys.executable!r}, [{sys.executable!r}, *command], env)\n"
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    async with Sandbox(SandboxOptions(backend="docker", zygotes=1)) as sandbox:
        assert sandbox.described == f"docker:{sandbox.level}"
        assert (await sandbox.run("print(6 * 7)")).last_line == "42"


async def test_a_module_to_preload_must_be_there() -> None:
    with pytest.raises(ValueError, match="preload: 'no_such_thing' is not installed"):
        Sandbox(SandboxOptions(preload=("no_such_thing",)))


async def test_third_party_modules_have_zygotes_of_their_own() -> None:
    async with Sandbox(SandboxOptions(preload=("orjson",), zygotes=1)) as sandbox:
        assert (await sandbox.run("print(1)")).ok
        heavy = sandbox._heavy
        assert heavy is not None
        assert heavy._zygotes == [None]
        outcome = await sandbox.run("import orjson\nprint(orjson.dumps([1]).decode())")
        assert outcome.last_line == "[1]", outcome
        assert heavy._zygotes != [None]


# --- the parts -------------------------------------------------------------------------------------


def test_frames_survive_any_cut() -> None:
    frames = [wire.Told(n, 0, 0, 0.5, 0.25, b"out" * n, b"err").packed() for n in range(5)]
    stream, buffer, found = b"".join(frames), bytearray(), []
    for byte in stream:
        buffer.append(byte)
        while (frame := wire.take(buffer)) is not None:
            found.append(wire.told(frame))
    assert [told.number for told in found] == [0, 1, 2, 3, 4]
    assert found[3].stdout == b"outoutout"
    ask = wire.Ask(7, 1.0, 2.0, 256, 1000, b"print(1)")
    assert wire.asked(ask.packed()) == ask


def test_how_a_process_ended() -> None:
    assert wire.STATUSES[fate(None, 0, 0.1, 1)] == "ok"
    assert wire.STATUSES[fate(None, -signal.SIGKILL, 2.0, 1)] == "cpu"
    assert wire.STATUSES[fate(None, -signal.SIGKILL, 0.1, 1)] == "memory"
    assert wire.STATUSES[fate(None, -signal.SIGSYS, 0.1, 1)] == "blocked"
    assert wire.STATUSES[fate(wire.TIMEOUT, -signal.SIGKILL, 0.1, 1)] == "timeout"


def simulate(code: seccomp.Code, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What a filter answers, by interpreting it."""
    memory = {0: number, 4: seccomp._ARCHITECTURES[kernel.MACHINE]}
    for place, value in enumerate((*arguments, *(0,) * (6 - len(arguments)))):
        memory[16 + 8 * place], memory[20 + 8 * place] = value & 0xFFFFFFFF, value >> 32
    place = accumulator = 0
    while True:
        operation, yes, no, constant = code[place]
        place += 1
        match operation:
            case 0x20:
                accumulator = memory[constant]
            case 0x06:
                return constant
            case 0x05:
                place += constant
            case 0x15:
                place += yes if accumulator == constant else no
            case 0x35:
                place += yes if accumulator >= constant else no
            case 0x45:
                place += yes if accumulator & constant else no


@pytest.mark.skipif(not kernel.SUPPORTED, reason="no table of calls for this architecture")
@pytest.mark.parametrize("files", [True, False])
def test_the_filter_says_of_every_call_what_its_rules_say(files: bool) -> None:
    code, rules = seccomp.assembled(files=files), seccomp.rules(files=files)
    names = {number: name for name, number in kernel.NUMBERS.items()}
    for number in range(600):
        expected = rules.get(names.get(number, ""), [seccomp.REFUSE])
        if len(expected) == 1:
            assert simulate(code, number) == expected[0][3], names.get(number, number)
    if files:
        number = kernel.NUMBERS["openat"]
        assert simulate(code, number, (0, 0, os.O_RDONLY | os.O_CLOEXEC)) == seccomp.ALLOW[3]
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_PATH):
            assert simulate(code, number, (0, 0, flags)) == seccomp.REFUSE[3]
    assert (
        simulate(code, 0x40000000 + 1) == (seccomp.KILL if kernel.MACHINE == "x86_64" else seccomp.REFUSE)[3]
    )
