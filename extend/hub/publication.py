"""What may leave the machine: files of the allow-list, whole, no links, and none that holds a secret."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from huggingface_hub import get_token

from extend.errors import CheckpointError, RefusedError, escaped
from extend.hub.connection import TOKEN
from extend.hub.folder import read_config, weight_files
from extend.store import MANIFEST, as_extend_error, sha256_file, verify

CARD, RESULTS, RECORD = "README.md", ".eval_results", "reproduce.json"
OWN_RESULTS = re.compile(r"\.eval_results/extend-[\w.-]{1,120}\.yaml")
ALLOWED = re.compile(
    r"config\.json|generation_config\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|vocab\.txt|README\.md|extend\.json"
    rf"|deltas\.json|deltas\.safetensors|reproduce\.json|{OWN_RESULTS.pattern}"
)
SECRETS: Mapping[str, re.Pattern[bytes]] = {
    "a Hugging Face token": TOKEN,
    "a GitHub token": re.compile(rb"gh[pousr]_[A-Za-z0-9]{36}"),
    "an AWS access key": re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a Google key": re.compile(rb"\bAIza[A-Za-z0-9_-]{35}\b"),
    "a Slack token": re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{20,}"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
}
_CHUNK, _OVERLAP = 1 << 24, 512


@final
@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file to publish; its hashes are taken before anything is sent.

    `name` is its path in the repository. `sha256` is what the hub gives for a large file, `git_sha1` for a
    small one.
    """

    name: str
    path: Path
    size: int
    sha256: str
    git_sha1: str

    @classmethod
    def of(cls, name: str, path: Path) -> "LocalFile":
        """The file at `path` as it is now. Raises PathError."""
        try:
            size = path.stat().st_size
            git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
            with open(path, "rb") as file:
                while data := file.read(_CHUNK):
                    git.update(data)
        except OSError as error:
            raise as_extend_error(error, path) from error
        return cls(name, path, size, sha256_file(path), git.hexdigest())

    def same(self, entry: Any) -> bool:
        """Whether a file of a remote tree (None: there is none) has this size and content."""
        if entry is None or entry.size != self.size:
            return False
        if entry.lfs is not None:
            return bool(entry.lfs.sha256 == self.sha256)
        return bool(entry.blob_id == self.git_sha1)


def files_to_publish(directory: Path, *, card: Path | None = None) -> dict[str, Path]:
    """The files of a checkpoint folder that the allow-list lets through, by their name in a repository.

    Names are in byte order. `card` takes the place of the folder's README.md.

    Raises CheckpointError when the folder is incomplete or not what its manifest says, RefusedError when a
    file is a link.
    """
    if not directory.is_dir():
        raise CheckpointError(f"{directory} is no folder", name="E-NO-CHECKPOINT", next="extend pretrain")
    read_config(directory)
    weights = {path.name for path in weight_files(directory)}
    if not (directory / "tokenizer.json").is_file():
        raise CheckpointError(f"{directory} has no tokenizer.json", name="E-INCOMPLETE")
    paths = {name: path for name, path in _listed(directory) if _is_published(name, weights)}
    _refuse_damage(directory, paths)
    if card is not None:
        paths[CARD] = card
    for path in paths.values():
        _refuse_link(path)
    return {name: paths[name] for name in sorted(paths)}


def _listed(directory: Path) -> Iterator[tuple[str, Path]]:
    results = directory / RESULTS
    _refuse_linked_folder(results)
    for folder in (directory, results):
        if folder.is_dir():
            yield from ((path.relative_to(directory).as_posix(), path) for path in folder.iterdir())


def _is_published(name: str, weights: set[str]) -> bool:
    return name in weights if name.endswith(".safetensors") else bool(ALLOWED.fullmatch(name))


def _refuse_damage(directory: Path, paths: Mapping[str, Path]) -> None:
    """What is written beside a model after it was published, as its card, is not in its manifest."""
    if not (directory / MANIFEST).is_file():
        return
    later = {CARD, RECORD, *(name for name in paths if OWN_RESULTS.fullmatch(name))}
    damaged = [name for name in verify(directory) if name in {*paths, MANIFEST} - later]
    if damaged:
        raise CheckpointError(
            f"{directory} is not what was written: {', '.join(map(escaped, damaged))}", name="E-DAMAGED"
        )


def _refuse_link(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise RefusedError(
            f"{path} is not a plain file", name="E-LINK", why="a link could publish a file from elsewhere"
        )


def _refuse_linked_folder(folder: Path) -> None:
    if folder.is_symlink():
        raise RefusedError(
            f"{folder} is a link", name="E-LINK", why="a link could publish a file from elsewhere"
        )


def refuse_secrets(name: str, path: Path) -> None:
    """Raise RefusedError E-SECRET, without telling it, when the file holds this user's token or looks so.

    Looked for are the tokens of hubs and of clouds, and private keys.
    """
    token = get_token()
    wanted = dict(SECRETS)
    if token:
        wanted = {"your hub token": re.compile(re.escape(token.encode())), **wanted}
    for chunk in _chunks(path):
        for kind, pattern in wanted.items():
            if pattern.search(chunk):
                raise RefusedError(
                    f"{name} holds {kind}",
                    name="E-SECRET",
                    done="nothing was sent",
                    next="remove it from the file",
                )


def _chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes in overlapping chunks, so that a short match is whole in one of them."""
    tail = b""
    try:
        with open(path, "rb") as file:
            while data := file.read(_CHUNK):
                yield tail + data
                tail = data[-_OVERLAP:]
    except OSError as error:
        raise as_extend_error(error, path) from error
