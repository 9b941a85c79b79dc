"""A published checkpoint to a folder of this machine: pinned to a commit, compared file by file, atomic.

Files come through the client's cache, so that what an interrupted pull has fetched is not fetched again.
Only files that `push_checkpoint` would publish are taken, so no pickle and no code.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, final

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from extend.errors import PathError, RefusedError, escaped
from extend.hub.connection import Wait, connect, offline, quiet, remote_files, retried, told
from extend.hub.publication import ALLOWED, LocalFile
from extend.hub.pull import check_files, damaged_download
from extend.store import publish_checked, read_manifest, remove_directories, verify
from extend.types import Progress

OnProgress = Callable[[Progress], None]
_UNSAFE = re.compile(r"[\x00-\x1f\\:]")
_BLOCK = 1 << 22


@final
@dataclass(frozen=True, slots=True)
class PullResult:
    """What was pulled, or would be: `size` counts bytes; `new` is false when all of it was there already."""

    repo: str
    commit: str
    out: str
    files: tuple[str, ...]
    size: int
    new: bool

    def as_json(self) -> dict[str, object]:
        return {
            "repo": self.repo,
            "commit": self.commit,
            "out": self.out,
            "files": list(self.files),
            "size": self.size,
            "new": self.new,
        }


def pull_checkpoint(
    repo_id: str,
    out: Path,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    cache: Path | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    wait: Wait = time.sleep,
) -> PullResult:
    """Put the checkpoint, card, results and record of `repo_id` (USER/NAME) into the folder `out`.

    Every file has the hash that the hub's tree gives for it. `out` appears whole or not at all, with a
    MANIFEST.json that names the commit; a folder that an earlier pull wrote and nobody changed is replaced.
    `cache` defaults to the hub's own (HF_HOME). `dry_run` asks for the list and writes nothing.

    Raises PathError (E-OUTPUT) for an `out` that holds something else, NetworkError when the hub fails,
    RefusedError for unsafe names (E-UNSAFE-NAME) and weights that are pickles, CheckpointError when a file
    arrives damaged or the repository holds no checkpoint, SpaceError.
    """
    previous = _previous(out)
    commit, remote = _listed(repo_id, revision, endpoint, wait)
    result = PullResult(repo_id, commit, str(out), tuple(remote), _size(remote), new=True)
    if previous is not None and _holds(out, previous, remote):
        return PullResult(repo_id, commit, str(out), tuple(remote), result.size, new=False)
    if dry_run:
        return result
    fetched = _fetched(repo_id, commit, remote, endpoint, cache, on_progress, wait)
    facts = {"schema": 1, "repo": repo_id, "commit": commit}
    with publish_checked(out, facts=facts) as publication:
        for name, path in fetched.items():
            publication.write(name, _blocks(path))
    remove_directories(_left_behind(out))
    return result


def pulled_checkpoint(
    repo_id: str,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    cache: Path | None = None,
    on_progress: OnProgress | None = None,
    wait: Wait = time.sleep,
) -> tuple[str, Path]:
    """The commit and the cache's folder of a published checkpoint, its files compared with the hub's tree.

    Raises as `pull_checkpoint` does.
    """
    commit, remote = _listed(repo_id, revision, endpoint, wait)
    fetched = _fetched(repo_id, commit, remote, endpoint, cache, on_progress, wait)
    return commit, fetched["config.json"].parent


def _listed(
    repo_id: str, revision: str | None, endpoint: str | None, wait: Wait
) -> tuple[str, dict[str, Any]]:
    """The commit, and those of its files that are taken, by name in byte order."""
    if constants.HF_HUB_OFFLINE:
        raise offline()
    with told(repo_id), quiet():
        validate_repo_id(repo_id)
        if "/" not in repo_id:
            raise HFValidationError("the name of the owner is missing")
        api = connect(endpoint)
        commit = str(retried(lambda: api.repo_info(repo_id, revision=revision), wait=wait).sha)
        remote = remote_files(api, repo_id, commit, wait=wait)
    for name in remote:
        _refuse_unsafe(repo_id, name)
    check_files(repo_id, list(remote))
    return commit, {name: remote[name] for name in sorted(remote) if ALLOWED.fullmatch(name)}


def _refuse_unsafe(repo_id: str, name: str) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or ".git" in parts or _UNSAFE.search(name):
        raise RefusedError(
            f"{repo_id} has a file named {escaped(name)}",
            name="E-UNSAFE-NAME",
            why="such a name could write outside the folder",
            done="nothing was fetched",
        )


def _fetched(  # noqa: PLR0917 - private, and every argument is needed
    repo_id: str,
    commit: str,
    remote: Mapping[str, Any],
    endpoint: str | None,
    cache: Path | None,
    on_progress: OnProgress | None,
    wait: Wait,
) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    address = connect(endpoint).endpoint
    for number, name in enumerate(remote):
        if on_progress:
            on_progress(Progress("pull", number, len(remote), name))
        with told(repo_id), quiet():
            path = retried(
                lambda name=name: hf_hub_download(  # type: ignore[misc]
                    repo_id, name, revision=commit, cache_dir=cache, endpoint=address
                ),
                wait=wait,
            )
        paths[name] = Path(path)
        if not LocalFile.of(name, paths[name]).same(remote[name]):
            raise damaged_download(repo_id, name, paths[name])
    if on_progress:
        on_progress(Progress("pull", len(remote), len(remote), "compared with the hub's hashes"))
    return paths


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        yield from iter(lambda: file.read(_BLOCK), b"")


def _size(remote: Mapping[str, Any]) -> int:
    return sum(int(entry.size) for entry in remote.values())


def _previous(out: Path) -> Mapping[str, Any] | None:
    """The manifest of an earlier pull in `out`; None when there is nothing. Raises PathError for all else."""
    if not out.is_symlink() and (not out.exists() or (out.is_dir() and not any(out.iterdir()))):
        return None
    manifest = read_manifest(out) if out.is_dir() and not out.is_symlink() else None
    if manifest is None or "repo" not in manifest:
        why = "it is not a folder that extend pull wrote"
    elif changed := verify(out):
        why = f"it was changed since extend pull wrote it: {', '.join(map(escaped, changed[:3]))}"
    else:
        return manifest
    raise PathError(
        f"{out} is there already",
        name="E-OUTPUT",
        why=why,
        done="nothing was changed",
        next="give another --out, or move that folder away",
    )


def _holds(out: Path, manifest: Mapping[str, Any], remote: Mapping[str, Any]) -> bool:
    """Whether the folder, which is what its manifest says, has exactly these files."""
    if set(manifest["files"]) != set(remote):
        return False
    return all(LocalFile.of(name, out / name).same(entry) for name, entry in remote.items())


def _left_behind(out: Path) -> Sequence[Path]:
    """Folders in which pulls into `out` were working when they were killed."""
    found = []
    for folder in out.parent.glob(f".{out.name}.tmp-*"):
        owner = folder.name.rpartition("-")[2]
        if owner.isdecimal() and int(owner) != os.getpid() and not _alive(int(owner)):
            found.append(folder)
    return found


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
