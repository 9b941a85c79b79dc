"""Publish a checkpoint: one commit, pinned to its parent, then read back and compared.

Only files of the allow-list leave the machine, and none that holds a secret. Running it again after any
failure completes it: the head of the repository is the old commit or the whole new one, never between.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from extend.errors import DataError, NetworkError, escaped
from extend.hub.cards import check_card, check_results
from extend.hub.connection import (
    ATTEMPTS,
    Wait,
    connect,
    is_transient,
    pause,
    quiet,
    remote_files,
    retried,
    told,
)
from extend.hub.publication import (
    ALLOWED,
    CARD,
    OWN_RESULTS,
    LocalFile,
    files_to_publish,
    refuse_secrets,
)


@final
@dataclass(frozen=True, slots=True)
class PushResult:
    """What was published, or would be: `commit` is None after a dry run.

    `private` is what the repository is, or would be made; `size` counts bytes; `sha256` is by file name.
    """

    repo: str
    commit: str | None
    files: tuple[str, ...]
    private: bool
    size: int
    sha256: Mapping[str, str]

    def as_json(self) -> dict[str, object]:
        return {
            "repo": self.repo,
            "commit": self.commit,
            "files": list(self.files),
            "private": self.private,
            "size": self.size,
            "sha256": dict(self.sha256),
        }


def push_checkpoint(
    directory: Path,
    repo_id: str,
    *,
    private: bool = True,
    dry_run: bool = False,
    card: Path | None = None,
    endpoint: str | None = None,
    wait: Wait = time.sleep,
) -> PushResult:
    """Publish the checkpoint in `directory` as `repo_id` (USER/NAME) in one commit.

    A new repository is private unless `private` is False; an old one keeps what it is. `card` is a model card
    that takes the place of the folder's README.md. Weight and tokenizer files of an earlier push that this
    one lacks are deleted in the same commit, evaluation results of ours too; anything else there stays.
    `dry_run` makes no request.

    Raises CheckpointError when the folder is incomplete or damaged, RefusedError when a file holds a secret
    or is a link, DataError (E-CARD, E-RESULTS) for metadata that a hub would not take, NetworkError (E-AUTH,
    E-CONFLICT, E-REMOTE-DIFFERS, ...) when the hub does not take it.
    """
    _check_name(repo_id)
    files = collect(directory, card=card)
    if dry_run:
        return _result(repo_id, None, files, private=private)
    with told(repo_id), quiet():
        api = connect(endpoint)
        repo = retried(lambda: api.create_repo(repo_id, private=private, exist_ok=True).repo_id, wait=wait)
        commit = _commit(api, repo, files, wait=wait)
        different = _differences(files, remote_files(api, repo, commit, wait=wait))
        is_private = retried(lambda: api.repo_info(repo).private, wait=wait)
    if different:
        raise NetworkError(
            f"{repo} differs from what was sent: {', '.join(different)}",
            name="E-REMOTE-DIFFERS",
            done=f"commit {commit} was made",
            next="run the same command again",
        )
    return _result(repo, commit, files, private=bool(is_private))


def collect(directory: Path, *, card: Path | None = None) -> list[LocalFile]:
    """The files that would be published, in byte order of their names. Raises as `push_checkpoint` does."""
    paths = files_to_publish(directory, card=card)
    for name, path in paths.items():
        refuse_secrets(name, path)
    if CARD in paths:
        check_card(paths[CARD])
    for name, path in paths.items():
        if OWN_RESULTS.fullmatch(name):
            check_results(path)
    return [LocalFile.of(name, path) for name, path in paths.items()]


def _check_name(repo_id: str) -> None:
    with told(repo_id):
        validate_repo_id(repo_id)
        if "/" not in repo_id:
            raise HFValidationError("the name of the owner is missing")


def _commit(api: HfApi, repo: str, files: Sequence[LocalFile], *, wait: Wait) -> str:
    """Bring the head to `files` in one commit on the head first seen; the commit's sha.

    An answer that is lost after the commit was made is noticed: the head then holds the files already.
    """
    parent: str | None = None
    for attempt in range(ATTEMPTS):
        head = retried(lambda: api.repo_info(repo).sha, wait=wait)
        remote = remote_files(api, repo, head, wait=wait)
        stale = _stale(files, remote)
        if not stale and not _differences(files, remote):
            return str(head)
        if parent is not None and head != parent:
            raise _conflict(repo, parent, head)
        parent = head
        try:
            return _create_commit(api, repo, files, stale=stale, parent=parent)
        except HTTPError as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code in (409, 412):
                raise _conflict(repo, parent, api.repo_info(repo).sha) from error
            if attempt == ATTEMPTS - 1 or not is_transient(error):
                raise
            wait(pause(error, attempt))
    raise AssertionError("the last attempt returns or raises")


def _create_commit(
    api: HfApi, repo: str, files: Sequence[LocalFile], *, stale: Sequence[str], parent: str | None
) -> str:
    operations = [
        *(CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.path) for file in files),
        *(CommitOperationDelete(path_in_repo=name, is_folder=False) for name in stale),
    ]
    try:
        made = api.create_commit(
            repo, operations, commit_message="Publish the checkpoint", parent_commit=parent
        )
    except RuntimeError as error:  # the client wraps what stopped the upload of a large file
        raise error.__cause__ or error from None
    except ValueError as error:
        if isinstance(error, HTTPError) or "README.md" not in str(error):
            raise
        raise DataError(
            "the hub does not take the model card's metadata (README.md)",
            name="E-CARD",
            why=escaped(" ".join(str(error).split()), limit=200),
        ) from error
    return str(made.oid)


def _conflict(repo: str, expected: str, found: str | None) -> NetworkError:
    return NetworkError(
        f"{repo} was changed by someone else meanwhile",
        name="E-CONFLICT",
        why=f"its head was {expected} and is {found}",
        done="nothing was overwritten",
        next="look at the other commit, then run the same command again",
    )


def _stale(files: Sequence[LocalFile], remote: Mapping[str, Any]) -> list[str]:
    sent = {file.name for file in files}
    return sorted(name for name in remote if ALLOWED.fullmatch(name) and name not in {*sent, CARD})


def _differences(files: Sequence[LocalFile], remote: Mapping[str, Any]) -> list[str]:
    """Names of files that the remote tree lacks or holds with another size or hash."""
    return [file.name for file in files if not file.same(remote.get(file.name))]


def _result(repo: str, commit: str | None, files: Sequence[LocalFile], *, private: bool) -> PushResult:
    return PushResult(
        repo=repo,
        commit=commit,
        files=tuple(file.name for file in files),
        private=private,
        size=sum(file.size for file in files),
        sha256={file.name: file.sha256 for file in files},
    )
