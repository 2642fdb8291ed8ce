"""Embedders: the real model, endpoints, functions; batching, caching, and what is not to be had."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import hashing_embedder
from conftest import CLEAN, PUBLISHED, Start, needs_published
from engine.config import ModelConfig
from engine.config.diversity import EmbeddingConfig, EmbeddingEndpoint
from engine.conformance import check_embedder
from engine.diversity import model_files
from engine.diversity.embedding import (
    Embedding,
    EndpointModel,
    Function,
    _prompt,
    as_kept,
    embedder_of,
    kept,
    restored,
)
from engine.diversity.local_model import LocalModel
from engine.diversity.sameness import KEYS
from engine.diversity.vector_cache import SHARD, VectorCache
from engine.errors import (
    BadRequest,
    ConfigError,
    EmbedderUnavailable,
    MalformedReply,
    RetriesExhausted,
    Unembeddable,
)
from engine.flow.batcher import Batcher
from engine.items import Completion, Prompt, Usage
from engine.llm.backends.embeddings import EmbeddingsEndpoint
from engine.llm.vectors import decoded, encoded

PARAPHRASES = (
    ("How many apples does Tom have left if he eats 3 of his 12 apples?",
     "Tom owned 12 apples and ate 3 of them. What number of apples remain?"),
    ("A train travels 60 miles in 2 hours. What is its average speed?",
     "If a train covers 60 miles in two hours, how fast does it go on average?"),
    ("What is the capital of France?", "Which city is France's capital?"),
)  # fmt: skip


@pytest.fixture(scope="module")
def minilm() -> LocalModel:
    return LocalModel("all-MiniLM-L6-v2", precision="float32")


@pytest.fixture
async def opened(minilm: LocalModel) -> AsyncIterator[LocalModel]:
    model = LocalModel("all-MiniLM-L6-v2", precision="float32")
    async with model:
        yield model


# --- the real model --------------------------------------------------------------------------------


async def test_the_default_model_needs_no_network_and_knows_paraphrases(opened: LocalModel) -> None:
    embedding = Embedding(opened)
    left = await embedding.all([one for one, _ in PARAPHRASES])
    right = await embedding.all([other for _, other in PARAPHRASES])
    near = left @ right.T
    assert left.shape == (3, 384)
    assert near.diagonal().min() > 0.75
    assert near.argmax(axis=1).tolist() == [0, 1, 2]
    await check_embedder(opened)


async def test_half_precision_moves_no_similarity_by_a_hundredth(opened: LocalModel) -> None:
    texts = [text for pair in PARAPHRASES for text in pair] + [f"Add {n} and {n * n}." for n in range(26)]
    whole = await Embedding(opened).all(texts)
    async with LocalModel("all-MiniLM-L6-v2", precision="bfloat16") as model:
        halved = await Embedding(model).all(texts)
    assert np.abs(whole @ whole.T - halved @ halved.T).max() < 0.01


@needs_published
async def test_real_problems_with_other_numbers_are_near_and_not_the_same(opened: LocalModel) -> None:
    """Why similarity alone is no sameness for mathematics."""
    import random

    from engine.dataset.forms import Example
    from engine.diversity.variants import renumbered, reworded

    lines = (PUBLISHED / "gsm8k" / "test.jsonl").read_bytes().splitlines()[:40]
    chance = random.Random(0)
    texts = [str(orjson.loads(line)["question"]) for line in lines]
    other = [renumbered(text, chance) for text in texts]
    words = [reworded(text, chance) for text in texts]
    embedding = Embedding(opened)
    own, numbers, wording = [await embedding.all(each) for each in (texts, other, words)]
    assert np.median((own * numbers).sum(axis=1)) > 0.9
    assert np.median((own * wording).sum(axis=1)) > 0.9
    key = KEYS["meaning+numbers"]
    pairs = zip(texts, other, words, strict=True)
    kinds = [
        (key(Example(0, a)) == key(Example(0, b)), key(Example(0, a)) == key(Example(0, c)))
        for a, b, c in pairs
    ]
    assert sum(same for same, _ in kinds) == 0
    assert sum(same for _, same in kinds) >= 36


async def test_the_event_loop_goes_on_meanwhile(opened: LocalModel) -> None:
    """While a second's worth of texts is embedded, the loop turns: it is never held for the whole call."""
    embedding = Embedding(opened)
    await embedding.one("warm")
    turns, busy = 0, True

    async def turning() -> None:
        nonlocal turns
        while busy:
            await asyncio.sleep(0.001)
            turns += 1

    task = asyncio.create_task(turning())
    began = time.monotonic()
    await asyncio.gather(
        *(embedding.one(f"What is {n} plus {n}, and then doubled twice?") for n in range(200))
    )
    taken = time.monotonic() - began
    busy = False
    await task
    assert turns > 20, f"{turns} turns in {taken:.2f} s"
    assert embedding._one.statistics().calls <= 4


def test_the_fingerprint_is_of_the_weights(minilm: LocalModel, tmp_path: Path) -> None:
    folder = model_files.located("all-MiniLM-L6-v2")
    assert minilm.fingerprint.startswith(model_files.fingerprint(folder))
    (tmp_path / "model.safetensors").write_bytes(b"one")
    one = model_files.fingerprint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert model_files.fingerprint(tmp_path) != one


def test_a_model_that_is_not_there_names_three_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "_PACKAGED", {})
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(EmbedderUnavailable) as told:
        LocalModel("all-MiniLM-L6-v2")
    said = str(told.value)
    assert all(way in said for way in ("datagen-engine[minilm]", "embedding.model", "embedding.endpoint"))
    assert len(said.splitlines()) == 1


async def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match="holds no weights"):
        LocalModel(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(EmbedderUnavailable, match="cannot be loaded"):
        async with LocalModel(str(tmp_path)):
            pass


def test_nothing_heavy_is_loaded_where_no_vectors_are_needed(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom engine import RunConfig, run\n"
        f"run(RunConfig.load({str(tmp_path / 'c.yaml')!r}), {str(tmp_path / 'run')!r})\n"
        "heavy = ('numpy', 'torch', 'faiss', 'sentence_transformers', 'sacrebleu')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    settings = {
        "dataset": {"description": "Sums.", "fields": {"label": "label"}},
        "generate": {"target": 3, "few_shot": 0},
        "model": {"name": "simulated", "simulator": {**CLEAN, "kind": "word_problems"}},
    }
    (tmp_path / "c.yaml").write_bytes(orjson.dumps(settings))
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# --- endpoints -------------------------------------------------------------------------------------


class Asked:
    """Stands for the run's client: straight to the backend."""

    def __init__(self, backend: EmbeddingsEndpoint) -> None:
        self.backend = backend
        self.prompts: list[Prompt] = []

    async def __call__(self, prompt: Prompt) -> Completion:
        self.prompts.append(prompt)
        return await self.backend.complete(prompt)


async def test_an_endpoint_over_http(endpoint: Start) -> None:
    url, simulator = await endpoint()
    backend = EmbeddingsEndpoint(ModelConfig(name="hashed", base_url=url), concurrency=4)
    asked = Asked(backend)
    model = EndpointModel(EmbeddingEndpoint(name="hashed", inputs=10)).asking(asked)
    embedding = Embedding(model)
    vectors = await asyncio.gather(*(embedding.one(f"text {n % 40}") for n in range(80)))
    assert simulator.statistics.embedded == 80
    assert all(len(orjson.loads(prompt.user)) <= 10 for prompt in asked.prompts)
    assert (vectors[0] == vectors[40]).all()
    assert (vectors[0] != vectors[1]).any()
    await check_embedder(model)
    await backend.close()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (
            [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [1, 0]}],
            [[1, 0], [0, 2]],
        ),  # any order
        ([{"index": 0, "embedding": [1, 0]}], None),
        ([{"index": 0, "embedding": [1, 0]}, {"index": 0, "embedding": [1, 0]}], None),
        ([{"index": 0, "embedding": [1, 0]}, {"index": 1, "embedding": [1]}], None),
        ([{"index": 0, "embedding": "not base64"}, {"index": 1, "embedding": "AAA="}], None),
        ([{"index": 0}, {"index": 1}], None),
        ("none", None),
        (None, None),
    ],
)
async def test_what_an_endpoint_may_send(data: Any, found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = EmbeddingsEndpoint(ModelConfig(name="m", base_url="http://127.0.0.1:9/v1"), concurrency=1)

    async def post(body: bytes, most: int) -> bytes:
        assert most > len(body)
        assert orjson.loads(body)["input"] == ["a", "b"]
        return orjson.dumps({"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}})

    monkeypatch.setattr(backend._http, "post", post)
    prompt = _prompt(["a", "b"])
    if found is None:
        with pytest.raises(MalformedReply, match="no vector for each text"):
            await backend.complete(prompt)
    else:
        completion = await backend.complete(prompt)
        assert decoded(completion.text).tolist() == found
        assert (completion.usage.prompt_tokens, completion.usage.estimated) == (3, False)
    await backend.close()


async def test_a_refused_text_costs_one_vector() -> None:
    async def ask(prompt: Prompt) -> Completion:
        texts = orjson.loads(prompt.user)
        if "too long" in texts:
            raise BadRequest("400: maximum context length")
        return Completion(
            encoded(np.array([[1.0, len(text)] for text in texts], np.float32)), "m", "stop", None
        )  # type: ignore[arg-type]

    embedding = Embedding(EndpointModel(EmbeddingEndpoint(name="m")).asking(ask))
    found = await asyncio.gather(
        *(embedding.one(text) for text in ("a", "b", "too long", "c", "d")), return_exceptions=True
    )
    assert [isinstance(each, Unembeddable) for each in found] == [False, False, True, False, False]


async def test_an_outage_is_no_text_s_fault_and_is_not_kept(tmp_path: Path) -> None:
    down, asked = True, 0

    async def ask(prompt: Prompt) -> Completion:
        nonlocal asked
        asked += 1
        if down:
            raise RetriesExhausted("503 (after 7 attempts)")
        texts = orjson.loads(prompt.user)
        found = np.array([[1.0, len(text)] for text in texts], np.float32)
        return Completion(encoded(found), "m", "stop", Usage())

    embedding = Embedding(EndpointModel(EmbeddingEndpoint(name="m")).asking(ask))
    with pytest.raises(EmbedderUnavailable, match=r"503 \(after 7 attempts\)"):
        await VectorCache(tmp_path).vectors(["a", "b"], embedding)
    assert asked == 1
    down = False
    assert np.isfinite(await VectorCache(tmp_path).vectors(["a", "b"], embedding)).all()


async def test_the_longest_row_refused_alone_in_the_last_call(tmp_path: Path) -> None:
    async def ask(prompt: Prompt) -> Completion:
        texts = orjson.loads(prompt.user)
        if any(len(text) > 100 for text in texts):
            raise BadRequest("400: maximum context length")
        return Completion(encoded(np.ones((len(texts), 8), np.float32)), "m", "stop", Usage())

    embedding = Embedding(EndpointModel(EmbeddingEndpoint(name="m", inputs=4)).asking(ask))
    found = await VectorCache(tmp_path).vectors(["x" * 200, "a", "b", "c", "d"], embedding)
    assert found.shape == (5, 8)
    assert np.isfinite(found[:, 0]).tolist() == [False, True, True, True, True]
    assert not list(tmp_path.rglob("*.npy"))  # what was refused today may be taken tomorrow


def test_vectors_survive_as_text() -> None:
    vectors = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    assert (decoded(encoded(vectors)) == vectors).all()
    assert (restored(kept(as_kept(vectors)[0])) == as_kept(vectors)[0]).all()


# --- functions, batches, the cache -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["hashed", "hashed_later"])
async def test_a_function_is_an_embedder(name: str) -> None:
    await check_embedder(Function(f"hashing_embedder:{name}"))


def test_what_the_config_names() -> None:
    assert isinstance(embedder_of(EmbeddingConfig(function="hashing_embedder:hashed")), Function)
    assert isinstance(embedder_of(EmbeddingConfig(endpoint=EmbeddingEndpoint(name="m"))), EndpointModel)
    with pytest.raises(ConfigError, match="PYTHONPATH"):
        embedder_of(EmbeddingConfig(function="nowhere_to_be:found"))


async def test_callers_share_calls_and_errors() -> None:
    sizes: list[int] = []

    async def double(values: Sequence[int]) -> Sequence[int]:
        sizes.append(len(values))
        await asyncio.sleep(0)
        if 13 in values:
            raise ValueError("unlucky")
        return [2 * value for value in values]

    batcher = Batcher(double, size=4)
    assert await asyncio.gather(*map(batcher, range(10))) == [2 * n for n in range(10)]
    assert max(sizes) <= 4
    assert sum(sizes) == 10
    assert len(sizes) <= 4
    results: list[Any] = await asyncio.gather(*map(batcher, [12, 13, 14]), return_exceptions=True)
    assert all(isinstance(each, ValueError) for each in results)
    assert await batcher(5) == 10
    assert batcher.statistics().waiting == 0


async def test_a_caller_that_asks_again_at_once_is_served() -> None:
    async def same(values: Sequence[int]) -> Sequence[int]:
        return values

    batcher = Batcher(same, size=4)

    async def caller(first: int) -> list[int]:
        return [await batcher(first + n) for n in range(5)]

    async with asyncio.timeout(5):
        assert await asyncio.gather(caller(0), caller(10)) == [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]]


async def test_a_caller_that_gave_up_is_not_served() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    given: list[Sequence[int]] = []

    async def slow(values: Sequence[int]) -> Sequence[int]:
        given.append(values)
        begun.set()
        await go_on.wait()
        return values

    batcher = Batcher(slow, size=2)
    first = asyncio.create_task(batcher(1))
    await begun.wait()
    second, third = asyncio.create_task(batcher(2)), asyncio.create_task(batcher(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    go_on.set()
    assert (await first, await third) == (1, 3)
    assert given == [[1], [3]]


async def test_a_dataset_is_embedded_once(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(SHARD + 10)]
    embedding = Embedding(Function("hashing_embedder:hashed"))
    cache = VectorCache(tmp_path)
    hashing_embedder.CALLS.clear()
    first = await cache.vectors(texts, embedding)
    assert sum(hashing_embedder.CALLS) == len(texts)
    told: list[tuple[int, int]] = []
    again = await cache.vectors(
        [*texts, "one more"], embedding, lambda done, whole: told.append((done, whole))
    )
    assert (again[:-1] == first).all()
    assert sum(hashing_embedder.CALLS) == len(texts) + 11  # the first whole shard was there
    assert told == [(SHARD + 11, SHARD + 11)]
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(b"half")
    assert ((await cache.vectors(texts, embedding)) == first).all()


async def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "vectors").write_text("a file where the folder should be")
    found = await VectorCache(tmp_path).vectors(["a", "b"], Embedding(Function("hashing_embedder:hashed")))
    assert found.shape == (2, 64)
