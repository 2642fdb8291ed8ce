"""Datasets that lie elsewhere: a hub, S3 as moto serves it, the web; read, pinned, written to."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow.fs
import pyarrow.parquet
import pytest
import yaml

import hub as hubs
from conftest import datagen, finished, lines
from document_files import manual, pdf

ROWS = [{"question": f"What is {n} and {n}?", "answer": str(2 * n)} for n in range(12)]
JSONL = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hubs.Hub]:
    with hubs.served() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield served


@contextmanager
def serving(port: int, *command: str) -> Iterator[None]:
    """A server of files, as its own process, until the block ends."""
    server = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server, as a query for Arrow's addresses."""
    port = free_port()
    with serving(port, "moto.server", "-H", "127.0.0.1", "-p", str(port)):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")
        urllib.request.urlopen(request).close()  # noqa: S310 - our own server
        yield f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"


@pytest.fixture(scope="module")
def gs() -> Iterator[str]:
    """The address of a Google Cloud Storage server, as a query for Arrow's addresses."""
    port = free_port()
    start = ("gcp_storage_emulator", "start", "--host=127.0.0.1", f"--port={port}", "--in-memory")
    with serving(port, *start, "--default-bucket=bucket"):
        yield f"endpoint_override=127.0.0.1%3A{port}&scheme=http&retry_limit_seconds=10"


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The address of a bucket, and the query that leads there."""
    start = "s3://bucket" if request.param == "s3" else "gs://anonymous@bucket"
    return start, request.getfixturevalue(request.param)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def settings(path: str, **more: Any) -> dict[str, Any]:
    return {
        "dataset": {
            "path": path,
            "description": "Sums.",
            "fields": {"text": "question", "label": "answer"},
            **more,
        },
        "generate": {"target": 6, "few_shot": 3},
        "model": "simulated",
    }


async def ran(config: dict[str, Any], folder: Path) -> tuple[int, str]:
    place = folder.with_suffix(".yaml")
    place.write_text(yaml.safe_dump(config))
    code, _, err = await finished(await datagen("run", place, "-o", folder))
    return code, err


async def test_a_repository_is_read_and_pinned_to_its_commit(hub: hubs.Hub, tmp_path: Path) -> None:
    first = hub.commit("me/sums", {"data/train.jsonl": JSONL, "README.md": b"# Sums\n"})
    code, err = await ran(settings("hf://datasets/me/sums"), tmp_path / "run")
    assert code == 0, err
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["dataset"]["path"]
    assert kept == f"hf://datasets/me/sums@{first}"

    hub.commit("me/sums", {"data/train.jsonl": JSONL.replace(b"What", b"So what")})
    code, _, err = await finished(await datagen("resume", tmp_path / "run", "--target", "9"))
    assert code == 0, err  # it goes on with what it began with
    assert len(lines(tmp_path / "run" / "accepted.jsonl")) == 9
    code, err = await ran(settings("hf://datasets/me/sums"), tmp_path / "run")
    assert (code, "the file's content" in err) == (2, True)  # named anew, it is another dataset
    code, err = await ran(settings(f"hf://datasets/me/sums@{first}"), tmp_path / "run")
    assert code == 0, err


async def test_splits_and_files_of_a_repository(hub: hubs.Hub, tmp_path: Path) -> None:
    hub.commit("me/sums", {"data/train.jsonl": JSONL, "data/test.jsonl": JSONL[:200].rpartition(b"\n")[0]})
    code, _, err = await finished(await datagen("init", "hf://datasets/me/sums", "--set", "split=test"))
    assert (code, "rows" in err) == (0, True), err
    code, out, err = await finished(await datagen("init", "hf://datasets/me/sums/data/train.jsonl"))
    assert (code, "12 usable" in err) == (0, True), err
    assert "hf://datasets/me/sums/data/train.jsonl" in out


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf://datasets/me/nothing", "cannot be fetched"),
        ("hf://datasets/only", "must be hf://datasets/OWNER/NAME"),
    ],
)
async def test_a_repository_that_is_not_there(hub: hubs.Hub, tmp_path: Path, address: str, said: str) -> None:
    code, err = await ran(settings(address), tmp_path / "run")
    assert (code, said in err) == (2, True), err
    assert "Traceback" not in err


async def test_a_push_makes_a_private_repository_that_datasets_loads(hub: hubs.Hub, tmp_path: Path) -> None:
    (tmp_path / "base.jsonl").write_bytes(JSONL)
    code, err = await ran(settings(str(tmp_path / "base.jsonl")), tmp_path / "run")
    assert code == 0, err
    hub.repos["me/new"] = [{"data/old-00000-of-00001.parquet": b"old", ".gitattributes": b""}]
    code, _, err = await finished(await datagen("export", tmp_path / "run", "--push", "me/new"))
    assert code == 0, err
    assert hub.private["me/new"]
    files = hub.repos["me/new"][-1]
    assert sorted(files) == [".gitattributes", "README.md", "data/train-00000-of-00001.parquet"]
    front = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert front["dataset_info"]["features"] == [
        {"name": "question", "dtype": "string"},
        {"name": "answer", "dtype": "string"},
    ]
    place = tmp_path / "train.parquet"
    place.write_bytes(files["data/train-00000-of-00001.parquet"])
    assert pyarrow.parquet.read_table(place).column_names == ["question", "answer"]
    # What was pushed is read again, with its features.
    code, _, err = await finished(await datagen("init", "hf://datasets/me/new"))
    assert (code, "6 usable" in err) == (0, True), err


async def test_a_bucket_is_read_and_written(bucket: tuple[str, str], aws: None, tmp_path: Path) -> None:
    at, query = bucket
    system, base = pyarrow.fs.FileSystem.from_uri(f"{at}/in?{query}")
    for name, data in (("a.jsonl", JSONL[:300].rpartition(b"\n")[0]), ("b.jsonl", JSONL)):
        with system.open_output_stream(f"{base}/{name}") as stream:
            stream.write(data)
    code, err = await ran(settings(f"{at}/in/b.jsonl?{query}"), tmp_path / "run")
    assert code == 0, err
    kept = Path(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["dataset"]["path"])
    assert kept.read_bytes() == JSONL  # a copy: what lies there may change
    code, out, err = await finished(await datagen("init", f"{at}/in?{query}"))
    assert (code, "repeat one of them" in err) == (0, True), err
    # What leads there may be a key of the holder's: it is not for models to read.
    assert "endpoint_override" not in yaml.safe_load(out)["dataset"]["description"]

    for form, name in (("jsonl", "x.jsonl"), ("hf", "folder"), ("alpaca", "a.json")):
        target = f"{at}/out/{name}?{query}"
        code, _, err = await finished(await datagen("export", tmp_path / "run", "-f", form, "-o", target))
        assert code == 0, err
    listed = system.get_file_info(pyarrow.fs.FileSelector("bucket/out", recursive=True))
    names = sorted(each.path for each in listed if each.type == pyarrow.fs.FileType.File)
    assert names == [
        "bucket/out/a.json",
        "bucket/out/dataset_info.json",
        "bucket/out/folder/README.md",
        "bucket/out/folder/data/train-00000-of-00001.parquet",
        "bucket/out/x.jsonl",
    ]
    assert not [*tmp_path.glob("s3*"), *tmp_path.glob("gs*")]


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("https://127.0.0.1/x.jsonl", "cannot be written to"),
        ("s3://no-such-bucket-here/x.jsonl?{s3}", "cannot be written"),
    ],
)
async def test_an_address_that_cannot_be_written(
    s3: str, aws: None, tmp_path: Path, out: str, said: str
) -> None:
    (tmp_path / "base.jsonl").write_bytes(JSONL)
    await ran(settings(str(tmp_path / "base.jsonl")), tmp_path / "run")
    query = s3.replace("&allow_bucket_creation=true", "")
    code, _, err = await finished(await datagen("export", tmp_path / "run", "-o", out.format(s3=query)))
    assert (code, said in err) == (2, True), err


async def test_the_web(aws: None, tmp_path: Path) -> None:
    served = {"/d.jsonl": JSONL}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            data = served.get(self.path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        code, err = await ran(settings(f"{url}/d.jsonl"), tmp_path / "run")
        assert code == 0, err
        code, err = await ran(settings(f"{url}/not.jsonl"), tmp_path / "other")
        assert (code, "404" in err) == (2, True), err
    finally:
        server.shutdown()
        server.server_close()
    code, _, err = await finished(await datagen("resume", tmp_path / "run", "--target", "8"))
    assert code == 0, err  # with the copy that it keeps


@pytest.mark.usefixtures("aws")
async def test_documents_of_a_bucket(bucket: tuple[str, str], tmp_path: Path) -> None:
    """They are read, kept in the run, and the address that leads there may be gone with its key."""
    at, query = bucket
    pdf(tmp_path / "a.pdf", [[f"Line {n} of the page says that lid {n} is heavy." for n in range(30)]])
    system, base = pyarrow.fs.FileSystem.from_uri(f"{at}/m?{query}")
    for name, data in (("a.pdf", (tmp_path / "a.pdf").read_bytes()), ("b.md", manual(1, 2).encode())):
        with system.open_output_stream(f"{base}/{name}") as stream:
            stream.write(data)
    about = {"dataset": {"description": "x", "fields": {"label": "answer"}}, "generate": {"target": 4}}
    made = {
        **about,
        "documents": {"path": f"{at}/m?{query}"},
        "model": "simulated",
        "validators": ["grounded"],
    }
    code, err = await ran(made, tmp_path / "run")
    assert code == 0, err
    sources = {row["_meta"]["source"]["file"] for row in lines(tmp_path / "run" / "accepted.jsonl")}
    assert sources == {"a.pdf", "b.md"}
    kept = (tmp_path / "run" / "config.yaml").read_text()
    assert "endpoint_override" not in kept
    code, _, err = await finished(await datagen("resume", tmp_path / "run", "--target", "6"))
    assert code == 0, err
    assert len(lines(tmp_path / "run" / "accepted.jsonl")) == 6


async def test_documents_of_a_repository(hub: hubs.Hub, tmp_path: Path) -> None:
    hub.commit("me/manuals", {"one/a.md": manual(1, 2).encode(), "b.md": manual(2, 2).encode()})
    code, _, err = await finished(
        await datagen("documents", "hf://datasets/me/manuals", "-o", tmp_path / "passages.jsonl")
    )
    assert code == 0, err
    assert list(dict.fromkeys(each["file"] for each in lines(tmp_path / "passages.jsonl"))) == [
        "b.md",
        "one/a.md",
    ]
