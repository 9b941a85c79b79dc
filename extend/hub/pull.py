"""From what the user calls a base to a folder on this machine, resolved once to a commit."""

import fnmatch
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError

from extend.errors import CheckpointError, NetworkError, PathError, escaped
from extend.hub.connection import Wait, connect, quiet, retried, told
from extend.hub.folder import PICKLES, WEIGHTS, pickled
from extend.hub.publication import LocalFile
from extend.types import Checkpoint

PULLED = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-?????-of-?????.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
)
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve_base(
    name_or_path: str,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    cache: Path | None = None,
    wait: Wait = time.sleep,
    weights: bool = True,
) -> Checkpoint:
    """A folder as it is, or a hub name as a downloaded snapshot pinned to its commit.

    Only safetensors, the configuration and the tokenizer's files are fetched, and their sha256 compared with
    the hub's; without `weights` no safetensors. Offline, the cache alone is asked. `cache` defaults to the
    hub's own (HF_HOME).

    Raises PathError for a path that is not there, CheckpointError for a folder without config.json or a
    download that does not match, RefusedError when there are only pickles, NetworkError when the hub fails.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"{folder} has no config.json, so it is no checkpoint", name="E-NO-CHECKPOINT"
            )
        return Checkpoint(name_or_path, None, folder)
    if folder.exists() or not HUB_NAME.fullmatch(name_or_path):
        raise PathError(
            f"base {escaped(name_or_path)} is no folder and no hub name",
            name="E-PATH",
            next="give a folder with config.json, or USER/NAME",
        )
    if constants.HF_HUB_OFFLINE:
        return _cached(name_or_path, revision, cache, weights=weights)
    with told(name_or_path), quiet():
        return _fetched(
            name_or_path, revision, endpoint=endpoint, cache=cache, wait=wait, patterns=_patterns(weights)
        )


def local_base(name_or_path: str, *, revision: str | None = None, cache: Path | None = None) -> Path | None:
    """The folder of a base that needs no request: a folder, or in the hub's cache; None without one."""
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or not HUB_NAME.fullmatch(name_or_path):
        return None
    try:
        return _cached(name_or_path, revision, cache).directory
    except NetworkError:
        return None


def _patterns(weights: bool) -> list[str]:
    """Of the files that are fetched, those that are wanted."""
    return [pattern for pattern in PULLED if weights or ".safetensors" not in pattern]


def _cached(name: str, revision: str | None, cache: Path | None, *, weights: bool = True) -> Checkpoint:
    try:
        folder = snapshot_download(
            name, revision=revision, cache_dir=cache, allow_patterns=_patterns(weights), local_files_only=True
        )
        if weights and not any(Path(folder).glob("*.safetensors")):
            raise LocalEntryNotFoundError(f"{folder} has no weights")
    except LocalEntryNotFoundError as error:
        raise NetworkError(
            f"base {name} is not in the cache, and offline mode is on",
            name="E-OFFLINE",
            why=f"looked in {cache or constants.HF_HUB_CACHE}",
            next="run once without --offline (and without HF_HUB_OFFLINE), or give a folder as --base",
        ) from error
    return Checkpoint(name, Path(folder).name, Path(folder))


def _fetched(
    name: str,
    revision: str | None,
    *,
    endpoint: str | None,
    cache: Path | None,
    wait: Wait,
    patterns: Sequence[str],
) -> Checkpoint:
    api = connect(endpoint)
    info = retried(lambda: api.model_info(name, revision=revision, files_metadata=True), wait=wait)
    files = [file for file in info.siblings or [] if _matches(file.rfilename, patterns)]
    check_files(name, [file.rfilename for file in info.siblings or []])
    new = [file for file in files if not _is_cached(name, file.rfilename, info.sha, cache)]
    folder = retried(
        lambda: snapshot_download(
            name,
            revision=revision,  # by its name, so that it can be found again offline
            cache_dir=cache,
            endpoint=endpoint,
            allow_patterns=list(patterns),
        ),
        wait=wait,
    )
    if Path(folder).name != info.sha:
        raise NetworkError(
            f"{name} moved to another commit during the download",
            name="E-CONFLICT",
            next="run the same command again, or give --revision",
        )
    _check_content(name, Path(folder), new)
    return Checkpoint(name, str(info.sha), Path(folder))


def _matches(file: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(file, pattern) for pattern in patterns)


def _is_cached(name: str, file: str, commit: str, cache: Path | None) -> bool:
    return isinstance(try_to_load_from_cache(name, file, cache_dir=cache, revision=commit), str)


def check_files(name: str, files: Sequence[str]) -> None:
    """Raise CheckpointError, or RefusedError for pickles, when a repository's files are no checkpoint."""
    if "config.json" not in files:
        raise CheckpointError(f"{name} on the hub has no config.json", name="E-NO-CHECKPOINT")
    if any(file.endswith(".safetensors") and _matches(file, PULLED) for file in files):
        return
    pickles = [file for file in files if file.endswith(PICKLES)]
    if pickles:
        raise pickled(f"{name} on the hub", pickles[0])
    raise CheckpointError(f"{name} on the hub has no {WEIGHTS}", name="E-WEIGHTS")


def _check_content(name: str, folder: Path, files: Sequence[Any]) -> None:
    for file in files:
        path = folder / file.rfilename
        if file.size is not None and not LocalFile.of(file.rfilename, path).same(file):
            raise damaged_download(name, file.rfilename, path)


def damaged_download(name: str, file: str, path: Path) -> CheckpointError:
    """Remove a file of the cache that is not what the hub promised; the failure to raise."""
    path.resolve().unlink()
    path.unlink(missing_ok=True)
    return CheckpointError(
        f"{file} of {name} arrived damaged",
        name="E-DOWNLOAD",
        why="its hash is not the one the hub gives",
        done="the damaged file was removed",
        next="run the same command again",
    )
