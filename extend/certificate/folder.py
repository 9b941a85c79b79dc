"""A folder that is certified may come from anyone: what it holds is looked at before any of it is loaded.

Only files with the names below are ever read, copied aside first, so that nothing in the folder can name
another file. A run folder stands for the last tokenizer that was made in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend import store
from extend.errors import CheckpointError, PathError, RefusedError, escaped

TOKENIZER, VOCABULARY, CONFIG, MODEL_CONFIG = (
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "config.json",
)
PROTO = "sentencepiece.bpe.model"
SETTINGS = (CONFIG, MODEL_CONFIG, "special_tokens_map.json", "added_tokens.json")
READ = (TOKENIZER, VOCABULARY, PROTO, *SETTINGS)
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
MAX_BYTES, MAX_SETTINGS_BYTES = 256 << 20, 16 << 20
_OWN_CODE = ("auto_map", "custom_pipelines", "trust_remote_code")
_UNREAD = "special_tokens_map_file"  # older versions left a path of their cache in it; nothing reads it


@dataclass(frozen=True)
class TokenizerFolder:
    """A folder that holds a tokenizer, and perhaps a model, after its files were looked at.

    `pieces` are those of tokenizer.json in id order (holes left out), or the lines of vocab.txt; `added` its
    added tokens; `vocabulary` the lines of vocab.txt, None without that file; `config` is config.json, empty
    without it. `says_case` is false for a bare vocab.txt, which does not say whether it is cased.
    """

    directory: Path
    pieces: tuple[str, ...]
    added: tuple[str, ...]
    vocabulary: tuple[str, ...] | None
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    pickled: bool
    says_case: bool

    def copy_to(self, target: Path) -> Path:
        """The files that are read, in a folder of their own."""
        store.copy_files(self.directory, store.make_directory(target), READ)
        return target


@dataclass(frozen=True)
class RunFolder:
    """A run: its manifest, its vocabulary's report and added pieces, and the tokenizer folders it has."""

    directory: Path
    base: Path | None
    report: Mapping[str, Any]
    added: tuple[str, ...]
    folders: tuple[Path, ...]


def open_folder(directory: Path) -> TokenizerFolder:
    """Look at a tokenizer or model folder without loading it.

    Raises PathError when it or its tokenizer is missing, CheckpointError when a file cannot be read,
    RefusedError for a link out of the folder, a file too large, code of its own (`auto_map`) or settings
    that name a file outside.
    """
    if not directory.is_dir():
        raise PathError(f"{directory} is not a folder", name="E-PATH", next="give a folder with a tokenizer")
    settings = {name: _settings(directory, name) for name in SETTINGS}
    for name in (CONFIG, MODEL_CONFIG):
        _refuse_own_code(directory / name, settings[name])
    _refuse_file_names(directory / CONFIG, settings[CONFIG])
    inside(directory, PROTO)
    lines = _vocabulary(directory)
    found = _pieces(directory)
    if found is None and lines is None and inside(directory, PROTO) is None:
        raise PathError(
            f"no {TOKENIZER}, no {VOCABULARY} and no {PROTO} in {directory}",
            name="E-PATH",
            next="give a run folder, or a folder with a tokenizer",
        )
    return TokenizerFolder(
        directory=directory,
        pieces=(lines or ()) if found is None else found[0],
        added=() if found is None else found[1],
        vocabulary=lines,
        config=settings[MODEL_CONFIG],
        weights=weight_files(directory),
        pickled=any(path.suffix in PICKLES for path in directory.iterdir()),
        says_case=found is not None or lines is None or "do_lower_case" in settings[CONFIG],
    )


def open_run(directory: Path) -> RunFolder | None:
    """The run in `directory`; None when it is no run folder. Raises as `open_folder` does."""
    manifest = directory / "manifest.json"
    if not manifest.is_file() or (directory / TOKENIZER).is_file() or (directory / VOCABULARY).is_file():
        return None
    vocabulary = directory / "vocab"
    places = (vocabulary / "tokenizer", directory / "grown", directory / "model")
    folders = tuple(place for place in places if (place / TOKENIZER).is_file())
    for place in (vocabulary, *places):
        if not place.resolve().is_relative_to(directory.resolve()):
            raise RefusedError(f"{place} is a link out of its folder", name="E-LINK")
        inside(place, TOKENIZER)
    if not folders:
        raise PathError(f"{directory} is a run without a tokenizer", name="E-PATH", next="run extend vocab")
    base = _read_object(inside(directory, manifest.name)).get("base")
    added = inside(vocabulary, "added.txt")
    return RunFolder(
        directory=directory,
        base=Path(base) if isinstance(base, str) and Path(base).is_dir() else None,
        report=_read_object(inside(vocabulary, "report.json")),
        added=() if added is None else _lines(added),
        folders=folders,
    )


def weight_files(directory: Path) -> tuple[Path, ...]:
    """The safetensors files: one, the shards of the index, or none."""
    whole = inside(directory, WEIGHTS, most=None)
    if whole is not None:
        return (whole,)
    index = inside(directory, INDEX, most=MAX_SETTINGS_BYTES)
    if index is None:
        return ()
    shards = _read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise CheckpointError(f"{index} has no weight_map", name="E-WEIGHTS")
    names = sorted({str(name) for name in shards.values()})
    for name in names:
        if "/" in name or "\\" in name or not name.endswith(".safetensors"):
            raise RefusedError(f"{index} names the file {escaped(name)}", name="E-UNSAFE-NAME")
    found = [inside(directory, name, most=None) for name in names]
    if None in found:
        raise CheckpointError(f"{directory} lacks {escaped(names[found.index(None)])}", name="E-WEIGHTS")
    return tuple(path for path in found if path is not None)


def inside(directory: Path, name: str, *, most: int | None = MAX_BYTES) -> Path | None:
    """The file `name`, if there is one. A link may lead elsewhere only as the hub's cache makes them."""
    path = directory / name
    if not path.is_file():
        if path.is_symlink():
            raise RefusedError(f"{path} is a link to no file", name="E-LINK")
        return None
    if path.is_symlink():
        target, home = path.resolve(), directory.resolve()
        if not (target.is_relative_to(home) or target.parent == home.parent.parent / "blobs"):
            raise RefusedError(f"{path} is a link out of its folder", name="E-LINK")
    if most is not None and path.stat().st_size > most:
        raise RefusedError(f"{path} is larger than {most >> 20} MiB", name="E-SIZE")
    return path


def _settings(directory: Path, name: str) -> Mapping[str, Any]:
    path = inside(directory, name, most=MAX_SETTINGS_BYTES)
    return _read_object(path)


def _read_object(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    found = store.read_json(path)
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} does not hold a JSON object", name="E-JSON")
    return found


def _refuse_own_code(path: Path, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if key in _OWN_CODE and value:
            raise RefusedError(
                f"{path} names code of its own ({escaped(key)})",
                name="E-REMOTE-CODE",
                why="code that comes with a folder is never run",
            )
        if isinstance(value, dict):
            _refuse_own_code(path, value)


def _refuse_file_names(path: Path, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        names = value if isinstance(value, list) else [value]
        if key.endswith(("_file", "_files")) and key != _UNREAD and not {*map(str, names)} <= {*READ, "None"}:
            raise RefusedError(
                f"{path} names a file of its own choice ({escaped(key)}: {escaped(str(value))})",
                name="E-UNSAFE-NAME",
                why="only " + ", ".join(READ) + " are read, and only inside the folder",
                next=f"take {escaped(key)} out of {path.name}",
            )


def _vocabulary(directory: Path) -> tuple[str, ...] | None:
    path = inside(directory, VOCABULARY)
    return None if path is None else _lines(path)


def _lines(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except OSError as error:
        raise store.as_extend_error(error, path) from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8", name="E-VOCABULARY", why=str(error)[:200]) from error
    return tuple(lines[:-1] if lines[-1] == "" else lines)


def _pieces(directory: Path) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The pieces of tokenizer.json in id order and its added tokens."""
    path = inside(directory, TOKENIZER)
    if path is None:
        return None
    state = _read_object(path)
    try:
        vocabulary = state["model"]["vocab"]
        if isinstance(vocabulary, dict):
            ids = {str(piece): int(index) for piece, index in vocabulary.items()}
        else:
            ids = {str(entry[0]): index for index, entry in enumerate(vocabulary)}
        added = {str(token["content"]): int(token["id"]) for token in state.get("added_tokens") or ()}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"cannot read {path}", name="E-TOKENIZER", why=f"it has no vocabulary: {escaped(repr(error))}"
        ) from error
    ids |= added
    return tuple(sorted(ids, key=lambda piece: ids[piece])), tuple(added)
