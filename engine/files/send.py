"""Takes files elsewhere: to S3, Google Cloud, or a repository of the Hugging Face hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from engine.config.paths import is_remote
from engine.errors import ConfigError

_PIECE = 1 << 22
_WRITABLE = ("s3://", "gs://", "gcs://", "hf://")


@contextmanager
def written_to(out: str) -> Iterator[Path]:
    """A path to write to; what was written, and what lies beside it, is at `out` once the block ends.

    Raises ConfigError for an address that cannot be written to.
    """
    if not is_remote(out):
        yield Path(out)
        return
    if not out.startswith(_WRITABLE):
        raise ConfigError(f"-o {out}: cannot be written to; give a path, or one of {', '.join(_WRITABLE)}")
    address, _, query = out.partition("?")
    name = PurePosixPath(address.partition("://")[2]).name
    if not name:
        raise ConfigError(f"-o {out}: names no file")
    with tempfile.TemporaryDirectory(prefix="datagen-") as folder:
        place = Path(folder) / name
        yield place
        if out.startswith("hf://"):
            _to_hub(place, address)
        else:
            _to_store(Path(folder), address.rpartition("/")[0], query)


def _to_store(folder: Path, address: str, query: str) -> None:
    import pyarrow
    from pyarrow import fs

    try:
        system, base = fs.FileSystem.from_uri(f"{address}{f'?{query}' if query else ''}")
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            target = f"{base}/{file.relative_to(folder).as_posix()}"
            if not isinstance(system, fs.S3FileSystem | fs.GcsFileSystem):
                system.create_dir(target.rpartition("/")[0], recursive=True)
            with file.open("rb") as source, system.open_output_stream(target) as stream:
                shutil.copyfileobj(source, stream, _PIECE)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ConfigError(f"-o {address}: cannot be written: {error}") from None


def _to_hub(place: Path, address: str) -> None:
    parts = address.removeprefix("hf://").removeprefix("datasets/").split("/")
    if len(parts) != 2 or not place.is_dir():
        raise ConfigError(
            f"-o {address}: a repository takes a whole folder: -f hf -o hf://datasets/OWNER/NAME"
        )
    pushed(place, "/".join(parts))


def pushed(folder: Path, name: str, *, private: bool = True) -> str:
    """Makes the folder the content of the repository `OWNER/NAME` of the hub; the address of the commit.

    A repository that is not there is made; files of an earlier push are replaced. Raises ConfigError.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
        from huggingface_hub.utils import disable_progress_bars
    except ImportError:
        raise ConfigError("--push: needs: pip install 'datagen-engine[hub]'") from None
    disable_progress_bars()
    try:
        api = HfApi()
        api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            repo_type="dataset",
            commit_message="Written by DataGen",
            delete_patterns=["data/*"],  # splits that are no longer there
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"--push {name}: {said}") from None
    return str(commit.commit_url)
