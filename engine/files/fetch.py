"""Brings files from elsewhere to this machine: the Hugging Face hub, S3, Google Cloud, the web."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from engine.config.paths import is_remote, user_cache
from engine.errors import ConfigError, StoreError
from engine.files.writing import temporary_beside

__all__ = ["Fetched", "fetched", "is_remote"]

_HUB = re.compile(r"hf://(?:datasets/)?(?!datasets/)([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.+))?")
_PIECE = 1 << 22
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Fetched:
    """What an address holds, on this machine."""

    path: Path
    """A file, or a folder of files."""
    pinned: str
    """The address with the revision that was read, where there is one."""


def fetched(address: str) -> Fetched:
    """The files at the address, from the cache where they are unchanged. Raises ConfigError."""
    if address.startswith("hf://"):
        return _from_hub(address)
    try:
        if address.startswith(("http://", "https://")):
            return Fetched(_from_web(address), address)
        return Fetched(_from_store(address), address)
    except StoreError as error:
        raise ConfigError(str(error)) from None


# --- the hub ---------------------------------------------------------------------------------------


def _from_hub(address: str) -> Fetched:
    match = _HUB.fullmatch(address)
    if match is None:
        raise ConfigError(f"{address}: must be hf://datasets/OWNER/NAME, with @REVISION and /FILE if wanted")
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
        from huggingface_hub.utils import disable_progress_bars
    except ImportError:
        raise ConfigError(
            f"{address}: reading from the hub needs: pip install 'datagen-engine[hub]'"
        ) from None
    disable_progress_bars()
    name, revision, inside = match[1], match[2], match[3]
    try:
        commit = revision if _is_commit(revision) else HfApi().dataset_info(name, revision=revision).sha
        wanted = [inside, f"{inside}/*"] if inside else None
        folder = snapshot_download(
            name,
            repo_type="dataset",
            revision=commit,
            allow_patterns=wanted,
            ignore_patterns=["*.py", ".git*"],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"{address}: cannot be fetched: {said}") from None
    path = Path(folder) / inside if inside else Path(folder)
    pinned = f"hf://datasets/{name}@{commit}{f'/{inside}' if inside else ''}"
    return Fetched(path, pinned)


def _is_commit(revision: str | None) -> bool:
    return revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision) is not None


# --- object stores ---------------------------------------------------------------------------------


def _from_store(address: str) -> Path:
    """The file or folder at an address that Arrow's file systems know."""
    import pyarrow
    from pyarrow import fs

    try:
        system, path = fs.FileSystem.from_uri(address)
        info = system.get_file_info(path)
        if info.type == fs.FileType.File:
            return _kept(address, f"{info.size}/{info.mtime_ns}", lambda: system.open_input_stream(path))
        if info.type == fs.FileType.NotFound and any(mark in path for mark in "*?["):
            raise ConfigError(f"{address}: patterns are for local files; name a file, or the folder")
        is_folder = info.type == fs.FileType.Directory
        inside = system.get_file_info(fs.FileSelector(path, recursive=True)) if is_folder else []
        files = [each for each in inside if each.type == fs.FileType.File]
        if not files:
            raise ConfigError(f"{address}: there is nothing")
        folder = _place(address)
        for each in files:
            name = PurePosixPath(each.path).relative_to(path)
            if ".." in name.parts:
                continue
            mark = f"{each.size}/{each.mtime_ns}"
            _kept(address, mark, partial(system.open_input_stream, each.path), folder / name)
        return folder
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ConfigError(f"{address}: cannot be fetched: {error}") from None


# --- the web ---------------------------------------------------------------------------------------


def _from_web(address: str) -> Path:
    request = urllib.request.Request(address, headers={"User-Agent": "datagen"})  # noqa: S310 - http(s) only
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310 - http(s) only
    except urllib.error.HTTPError as error:
        raise ConfigError(
            f"{address}: cannot be fetched: the server answers {error.code} {error.reason}"
        ) from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ConfigError(f"{address}: cannot be fetched: {getattr(error, 'reason', error)}") from None
    with answer:
        heads = answer.headers
        mark = heads.get("ETag") or heads.get("Last-Modified") or ""
        length = heads.get("Content-Length")
        try:
            path = _kept(address, f"{length}/{mark}" if mark else os.urandom(8).hex(), lambda: answer)
        except OSError as error:
            raise ConfigError(f"{address}: cannot be fetched: {error}") from None
    if length is not None and not heads.get("Content-Encoding") and path.stat().st_size != int(length):
        path.unlink()
        raise ConfigError(f"{address}: the download broke off; try again")
    return path


# --- the cache -------------------------------------------------------------------------------------


def _place(address: str) -> Path:
    name = hashlib.sha256(address.encode()).hexdigest()[:24]
    return user_cache() / "files" / name


def _kept(
    address: str, mark: str, opened: Callable[[], AbstractContextManager[Any]], path: Path | None = None
) -> Path:
    """The file in the cache; written anew where its mark, by which changes are told, is another."""
    if path is None:
        name = PurePosixPath(urllib.parse.urlsplit(address).path).name or "data"
        path = _place(address) / re.sub(r"[^\w.-]", "_", name)
    marked = path.with_name(f".{path.name}.mark")
    if path.exists() and marked.exists() and marked.read_text() == mark:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_beside(path) as temporary:
        with opened() as stream, temporary.open("xb") as file:
            shutil.copyfileobj(stream, file, _PIECE)
        temporary.replace(path)
    marked.write_text(mark)
    return path
