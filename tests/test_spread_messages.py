"""What travels between head and workers: exact both ways, refused where it is not ours, and only to whom it is for."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import string
from collections.abc import AsyncIterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import errors
from engine.config import RunConfig
from engine.errors import ConfigError, FatalError
from engine.items import Batch, Completion, Decision, Item, Prompt, Usage, Verdict
from engine.runs.carrying import Carried, placed
from engine.spread.asking import Calls
from engine.spread.joining import Tokens, connected, listening, new_token, public_key
from engine.spread.link import FIRST, Link
from engine.spread.messages import KINDS, Asked, Beat, Go, Made, Message, SchemaKnown, Told, decoded, encoded
from engine.spread.wire import (
    KINDS as ERRORS,
)
from engine.spread.wire import (
    batch_in,
    batch_out,
    completion_in,
    completion_out,
    error_in,
    error_out,
    item_in,
    item_out,
    prompt_in,
    prompt_out,
)

TEXTS = st.text(st.characters(), max_size=20)  # halves of surrogate pairs too: models write them
NUMBERS = st.integers(0, 2**40)


def objects(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[dict[str, Any]]:
    plain = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**80), 2**80) | numbers | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    )
    return st.dictionaries(TEXTS, plain, max_size=3)


OBJECTS = objects(st.floats(allow_nan=False, allow_infinity=False))
OWN = objects(st.floats(allow_nan=False))
"""What may stand in somebody's dataset; NaN is left out since it equals nothing."""
USAGES = st.builds(
    Usage, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.booleans(), NUMBERS, NUMBERS, st.none() | NUMBERS, TEXTS,
    st.tuples(TEXTS),
)  # fmt: skip
LABELS = (
    st.none() | TEXTS | st.tuples(TEXTS, TEXTS) | st.dictionaries(TEXTS, TEXTS | st.tuples(TEXTS), max_size=2)
)
BATCHES = st.builds(
    Batch, NUMBERS, st.integers(1, 9), NUMBERS, st.floats(0, 2), st.tuples(NUMBERS, NUMBERS),
    st.tuples(st.tuples(TEXTS, NUMBERS)), st.tuples(NUMBERS), TEXTS, TEXTS, st.tuples(st.tuples(TEXTS, TEXTS)),
    st.tuples(TEXTS), st.tuples(TEXTS), st.tuples(TEXTS), st.none() | st.floats(0, 1), st.none() | NUMBERS,
)  # fmt: skip
VERDICTS = st.builds(
    Verdict, st.sampled_from(Decision), TEXTS, TEXTS, TEXTS, st.none(), OBJECTS, USAGES, st.integers(0, 9),
    st.floats(0, 9), st.booleans(),
)  # fmt: skip


def read(message: Message) -> Message:
    data, exactly = encoded([message])
    [back] = decoded(data, exactly=exactly)
    return back


@settings(max_examples=150)
@given(
    st.builds(
        Item, BATCHES, st.integers(0, 8), st.integers(1, 9), TEXTS, LABELS, st.tuples(TEXTS), OWN, OWN, OWN,
        TEXTS, USAGES, OBJECTS, st.tuples(VERDICTS), st.integers(0, 4), quotes=st.tuples(TEXTS),
    )
)  # fmt: skip
def test_items_come_as_they_were(item: Item) -> None:
    told = read(Made(1, item_out(item, item.batch, origin=True)))
    assert isinstance(told, Made)
    assert item_in(told.item, item.batch) == item
    batch = read(Told(1, batch_out(item.batch)))
    assert isinstance(batch, Told)
    assert batch_in(batch.completion) == item.batch


@settings(max_examples=100)
@given(
    st.builds(
        Prompt, TEXTS, TEXTS, NUMBERS, TEXTS, TEXTS, OBJECTS, st.floats(0, 2), NUMBERS, NUMBERS, st.integers(-9, 9)
    ),
    st.builds(Completion, TEXTS, TEXTS, TEXTS, USAGES, st.integers(1, 9), st.floats(0, 9), TEXTS, OBJECTS),
)  # fmt: skip
def test_questions_and_answers_come_as_they_were(prompt: Prompt, completion: Completion) -> None:
    asked = read(Asked(1, prompt_out(prompt), 7))
    assert isinstance(asked, Asked)
    assert prompt_in(asked.prompt, prompt.schema) == prompt
    for known in ("", completion.text):
        told = read(Told(1, completion_out(completion, known)))
        assert isinstance(told, Told)
        assert completion_in(told.completion, known) == completion


@pytest.mark.parametrize("kind", ERRORS.values(), ids=lambda kind: kind.__name__)
def test_every_error_comes_with_what_it_carries(kind: type[errors.EngineError]) -> None:
    takes = {errors.RateLimited: ("m", 3.5), errors.ContextExceeded: ("m", 4096, 4000)}
    given = next((values for each, values in takes.items() if issubclass(kind, each)), ("m",))
    error = kind(*given)
    if hasattr(error, "usage"):
        error.usage = Usage(1, 2, cost=3, unread=("x",))
    told = read(Told(1, error=error_out(error)))
    assert isinstance(told, Told)
    back = error_in(told.error)
    assert type(back) is kind
    assert str(back) == "m"
    assert vars(back) == vars(error)


def test_somebody_elses_error_comes_as_its_next_of_kin() -> None:
    class Own(errors.PermanentError):
        reason = "own"

    assert type(error_in(error_out(Own("m")))) is errors.PermanentError


def test_vectors_and_keys_come_too() -> None:
    batch = Batch(1, 1, 0, 0.0)
    vector = np.asarray([0.5, -0.25], np.float16).astype(np.float32)
    item = Item(batch, 0, 1, vector=vector, text_key=b"\x00\xff", written=("{}", '{"a":1}'))
    told = read(Made(1, item_out(item, batch)))
    assert isinstance(told, Made)
    back = item_in(told.item, batch)
    assert back.vector is not None
    assert (back.vector == vector).all()
    assert (back.text_key, back.written) == (item.text_key, item.written)


def test_every_message_has_a_number_and_its_values_in_order() -> None:
    for kind in KINDS:
        values = [f"v{place}" for place in range(len(fields(kind)))]
        assert read(kind(*values)) == kind(*values)


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text(string.printable, max_size=60).map(str.encode))
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(message, KINDS) for message in decoded(data))


# --- links ---


@contextlib.asynccontextmanager
async def pair(longest: int = 1 << 20) -> AsyncIterator[tuple[Link, Link, list[Message]]]:
    came: list[Message] = []
    here, there = socket.socketpair()
    loop = asyncio.get_running_loop()
    links = []
    for pipe in (here, there):
        pipe.setblocking(False)
        link = Link(lambda _, messages: came.extend(messages), longest=longest)
        await loop.create_unix_connection(lambda link=link: link, sock=pipe)  # type: ignore[misc]
        links.append(link)
    try:
        yield links[0], links[1], came
    finally:
        for link in links:
            link.abort()
        for link in links:
            await link.closed.wait()


async def test_messages_come_in_order_however_they_are_cut() -> None:
    async with pair() as (one, _, came):
        for number in range(2000):
            one.send(Beat(number, number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(60):
            while len(came) < 2000:
                await asyncio.sleep(0.01)
        assert came == [Beat(number, number) for number in range(2000)]


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 64]
)
async def test_who_speaks_otherwise_is_hung_up_on(data: bytes) -> None:
    async with pair(FIRST) as (one, other, came):
        assert one._transport is not None
        one._transport.write(data)
        async with asyncio.timeout(5):
            await other.closed.wait()
        assert came == []
        assert other.why


async def test_a_frame_may_not_be_longer_than_is_trusted() -> None:
    async with pair(FIRST) as (one, other, came):
        one.send(Told(1, "x" * FIRST))
        async with asyncio.timeout(5):
            await other.closed.wait()
        assert "65,536 are allowed" in other.why
        assert came == []


# --- who may come ---


def linked() -> Link:
    return Link(lambda _, __: None)


async def test_over_tls_a_worker_talks_to_its_head_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import engine.spread.joining as joining

    monkeypatch.setattr(joining, "is_loopback", lambda host: False)  # as between two machines
    token = new_token()
    async with listening("127.0.0.1:0", token, linked) as port:
        link = await connected(f"127.0.0.1:{port}", public_key(token), linked)
        link.close()
        with pytest.raises(ConfigError, match="its certificate is not of this"):
            await connected(f"127.0.0.1:{port}", public_key(new_token()), linked)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"nothing of TLS at all")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await link.closed.wait()


def test_a_token_for_once_is_good_for_once() -> None:
    tokens = Tokens(new_token())
    once = tokens.once()
    assert tokens.take(tokens.own)
    assert tokens.take(once)
    assert not tokens.take(once)
    assert not tokens.take("")
    assert tokens.take(tokens.own)


def test_a_token_that_can_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_WORKER_TOKEN", "secret")
    with pytest.raises(ConfigError, match="32 characters"):
        new_token()


# --- files ---


@pytest.mark.parametrize("kind", ["file", "folder", "pattern"])
async def test_files_come_to_a_machine_that_has_none(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = tmp_path / "head" / "data"
    base.mkdir(parents=True)
    for name in ("a.jsonl", "b.jsonl"):
        (base / name).write_text(f'{{"question": "of {name}", "answer": "1"}}\n' * 3)
    given = {"file": str(base / "a.jsonl"), "folder": str(base), "pattern": str(base / "*.jsonl")}[kind]
    template = tmp_path / "head" / "mine.j2"
    template.write_text("{% block system %}s{% endblock %}{% block user %}u{% endblock %}")
    config = RunConfig.model_validate(
        {
            "dataset": {"path": given, "description": "d", "fields": {"text": "question", "label": "answer"}},
            "generate": {"template": str(template), "target": 1},
            "model": {"name": "m", "base_url": "http://127.0.0.1:9/v1"},
        }
    )
    settings = config.model_dump(mode="json")
    carried = Carried(settings, None)
    contents = {path.name: path.read_bytes() for path in (*base.iterdir(), template)}
    fetched: list[int] = []
    pieces = {
        number: list(carried.pieces(number)) for place in carried.places for number, *_ in place["files"]
    }

    async def fetch(number: int) -> AsyncIterator[bytes]:
        fetched.append(number)
        for piece in pieces[number]:
            yield piece

    assert await placed(settings, carried.places, fetch) == settings, "what is here already is not fetched"
    assert fetched == []
    (tmp_path / "head").rename(tmp_path / "elsewhere")
    there = await placed(settings, carried.places, fetch)
    assert Path(there["generate"]["template"]).read_bytes() == contents["mine.j2"]
    path = there["dataset"]["path"]
    found = sorted(
        Path(path).parent.glob(Path(path).name) if kind == "pattern" else Path(path).glob("*") or []
    )
    found = [Path(path)] if kind == "file" else found
    assert {each.name: each.read_bytes() for each in found} == {
        name: data
        for name, data in contents.items()
        if name != "mine.j2" and (kind != "file" or name == "a.jsonl")
    }
    count = len(fetched)
    assert await placed(settings, carried.places, fetch) == there
    assert len(fetched) == count, "a second worker of the machine fetches nothing"


@pytest.mark.parametrize("relative", ["../../evil", "/etc/evil"])
async def test_a_head_writes_nowhere_else(
    relative: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    digest = hashlib.sha256(b"x").hexdigest()
    told: Sequence[Any] = [{"place": "/gone/data", "root": "/gone/data", "files": [[0, relative, 1, digest]]}]

    async def fetch(number: int) -> AsyncIterator[bytes]:
        yield b"x"

    with pytest.raises(FatalError, match="outside of its folder"):
        await placed({"a": "/gone/data"}, told, fetch)


async def test_a_file_that_is_not_what_was_said_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    told = [{"place": "/gone/a", "root": "/gone/a", "files": [[0, "", 1, hashlib.sha256(b"x").hexdigest()]]}]

    async def fetch(number: int) -> AsyncIterator[bytes]:
        yield b"y"

    with pytest.raises(FatalError, match="is not what the head said"):
        await placed({"a": "/gone/a"}, told, fetch)


# --- calls ---


class Heard:
    """Stands for a link. Mutable: what was sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    async def room(self) -> None:
        return None


class Echo:
    name = "echo"

    async def complete(self, prompt: Prompt) -> Completion:
        return Completion(f"to {prompt.max_tokens}", "m", "stop", Usage())

    async def close(self) -> None:
        return None


def prompt_of(number: int, schema: dict[str, Any]) -> Prompt:
    return Prompt(f"{number}/items", "items", number, "s", "u", schema, 1.0, 10, 0)


async def test_of_two_attempts_the_one_that_counts_is_told() -> None:
    """The head sends back which one, and not the text: the other may have been answered after it."""
    link = Heard()
    calls = Calls(link)  # type: ignore[arg-type]
    calls.backends = [Echo()]
    asked = asyncio.create_task(calls.ask(prompt_of(1, {})))
    await asyncio.sleep(0)
    calls.go(Go(5, 1, 0, 11, streamed=False))
    calls.go(Go(6, 1, 0, 12, streamed=False))
    while len(calls):
        await asyncio.sleep(0)
    done = Completion("to 11", "m", "stop", Usage(cost=3))
    calls.told(Told(1, completion_out(done, "to 11"), 5))
    assert await asked == done


async def test_schemas_of_single_prompts_take_no_room_for_ever() -> None:
    link = Heard()
    calls = Calls(link)  # type: ignore[arg-type]
    known: dict[int, Any] = {}  # as the head keeps them
    for number in range(1000):
        schema = {"enum": [number]}
        asked = asyncio.create_task(calls.ask(prompt_of(number, schema)))
        await asyncio.sleep(0)
        for message in link.sent:
            if isinstance(message, SchemaKnown):
                known[message.number] = message.schema
            elif isinstance(message, Asked):
                assert known[message.schema] == schema
        link.sent.clear()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    assert len(known) <= 256
