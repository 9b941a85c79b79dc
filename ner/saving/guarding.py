"""A tagger's folder looked at before it is used: no pickle, nothing that leads out, nothing changed."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from extend import store
from extend.errors import CheckpointError, PathError, RefusedError, escaped
from ner.saving.encoders import WEIGHTS

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
MAX_FILES = 1000
MAX_HEAD_BYTES, MAX_FILE_BYTES = 1 << 30, 1 << 36
_SETTINGS_BYTES = 16 << 20
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")
"""A pickle, and the zip archive that torch makes of one."""


def check_folder(directory: Path) -> dict[str, str]:
    """The sha256 of every file of a tagger's folder by name, when all are what its manifest says.

    Raises:
        PathError: no such folder. RefusedError: a pickle (E-PICKLE), a link out of the folder (E-LINK), a
        name that leads out of it (E-UNSAFE-NAME), too much in it (E-SIZE). CheckpointError: files are
        missing or were changed (E-DAMAGED).
    """
    if not directory.is_dir():
        raise PathError(
            f"no tagger in {directory}",
            name="E-PATH",
            next="give the folder of a tagger; extend ner-eval writes them to ner/NAME/heads",
        )
    _check_entries(directory)
    _check_weights(directory / WEIGHTS)
    manifest = store.read_manifest(directory)
    if manifest is None:
        raise CheckpointError(
            f"{directory} has no manifest, so it is no saved tagger",
            name="E-NO-CHECKPOINT",
            next="give a folder that extend ner-eval or extend ner-tag --pack wrote",
        )
    for name in manifest["files"]:
        _check_name(directory, str(name))
    if odd := store.verify(directory):
        raise CheckpointError(
            f"{directory} is damaged: {', '.join(escaped(name) for name in odd[:3])}",
            name="E-DAMAGED",
            why="files are missing, were added or differ from the sha256 of the manifest",
            next="copy the whole folder again",
        )
    return {name: str(entry["sha256"]) for name, entry in manifest["files"].items()}


def _check_entries(directory: Path) -> None:
    home = directory.resolve()
    count = 0
    for folder, folders, names in os.walk(directory):
        count += len(folders) + len(names)
        if count > MAX_FILES:
            raise RefusedError(f"{directory} holds more than {MAX_FILES} files", name="E-SIZE")
        for name in (*folders, *names):
            path = Path(folder, name)
            if path.is_symlink() and not _stays(path, home):
                raise RefusedError(f"{path} is a link out of its folder", name="E-LINK")
            if path.suffix.lower() in PICKLES:
                raise RefusedError(
                    f"{path} is a pickle",
                    name="E-PICKLE",
                    why="reading a pickle can run any code it holds; a tagger has none",
                    next="take the tagger from whoever made it, as safetensors",
                )
            if not path.is_dir() and (not path.is_file() or path.stat().st_size > MAX_FILE_BYTES):
                raise RefusedError(f"{path} is too large, or no file", name="E-SIZE")


def _stays(path: Path, home: Path) -> bool:
    """Whether a link leads to a place in the folder, or to where a download cache keeps its files."""
    target = path.resolve()
    return target.is_relative_to(home) or target.parent == home.parent.parent / "blobs"


def _check_weights(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no {WEIGHTS}", name="E-WEIGHTS")
    if path.stat().st_size > MAX_HEAD_BYTES:
        raise RefusedError(f"{path} is larger than {MAX_HEAD_BYTES >> 30} GiB", name="E-SIZE")
    settings = path.with_name("config.json")
    if settings.is_file() and settings.stat().st_size > _SETTINGS_BYTES:
        raise RefusedError(f"{settings} is larger than {_SETTINGS_BYTES >> 20} MiB", name="E-SIZE")
    with open(path, "rb") as file:
        head = file.read(9)
    if head.startswith(_PICKLE_STARTS) and head[8:] != b"{":  # safetensors: eight bytes of length, then JSON
        raise RefusedError(
            f"{path} is a pickle under another name",
            name="E-PICKLE",
            why="reading a pickle can run any code it holds",
        )


def _check_name(directory: Path, name: str) -> None:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    unsafe = posix.is_absolute() or windows.is_absolute() or windows.drive or "\\" in name or "\0" in name
    if unsafe or ".." in posix.parts or posix.as_posix() != name:
        raise RefusedError(
            f"the manifest of {directory} names {escaped(name)}",
            name="E-UNSAFE-NAME",
            why="names lead to places inside the folder alone",
        )
