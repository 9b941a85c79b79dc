"""Corpora that are streamed from the hub, record by record, without a download to disk."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from extend.errors import DataError, NetworkError, RefusedError, UsageError, escaped
from extend.hub.connection import quiet, shown, told
from extend.types import Document

PREFIX = "hf:"
_SURROGATE = re.compile("[\ud800-\udfff]")


def stream_dataset(spec: str, *, language: str = "und", column: str | None = None) -> Iterator[Document]:
    """The records of `hf:DATASET[:CONFIG[:SPLIT]]` as documents; the split is `train` by default.

    DATASET is a hub name or a folder of data files. The text is taken from `column`, by default `text`, else
    the only column of strings. Blank records are left out, lone surrogates become U+FFFD.

    Raises UsageError for a spec that is none, NetworkError when the hub fails or has no such dataset,
    DataError when there is no text, RefusedError for a dataset that only its own code can read.
    """
    path, config, split = parse_spec(spec)
    with told(path), quiet():
        records = iter(opened(path, config, split))
    found = column
    while True:
        with told(path), quiet():
            record = next(records, None)
        if record is None:
            return
        found = found or _text_column(spec, record)
        text = record.get(found)
        if isinstance(text, str) and text.strip():
            yield Document(_SURROGATE.sub("\ufffd", text), language, spec, starts_document=True)


def parse_spec(spec: str) -> tuple[str, str | None, str]:
    """`hf:a/b:c:d` to ("a/b", "c", "d"). An empty CONFIG is none."""
    path, *rest = spec.removeprefix(PREFIX).split(":")
    if not spec.startswith(PREFIX) or not path or len(rest) > 2:
        raise UsageError(
            f"{escaped(spec)} is not hf:DATASET[:CONFIG[:SPLIT]]",
            name="E-CORPUS",
            next="for example hf:wikimedia/wikipedia:20231101.ug",
        )
    config, split = (*rest, "", "")[:2]
    return path, config or None, split or "train"


def opened(path: str, config: str | None, split: str) -> Any:
    """The records of a dataset, one by one. Raises as `stream_dataset` does."""
    from datasets import load_dataset  # half a second, for those who stream
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError

    try:
        return load_dataset(path, name=config, split=split, streaming=True)
    except DatasetNotFoundError as error:
        raise NetworkError(
            f"the hub has no dataset {escaped(path)}, or not for you",
            name="E-NOT-FOUND",
            next="check the name, or hf auth login",
        ) from error
    except RuntimeError as error:
        if "scripts" not in str(error):
            raise
        raise RefusedError(
            f"dataset {escaped(path)} is made by a script",
            name="E-REMOTE-CODE",
            why="code that comes with a dataset is never run",
        ) from error
    except ValueError as error:
        raise UsageError(
            f"dataset {escaped(path)} has no such configuration or split",
            name="E-CORPUS",
            why=shown(error),
        ) from error
    except FileNotFoundError as error:
        if isinstance(error, (DataFilesNotFoundError, EmptyDatasetError)) or Path(path).is_dir():
            raise DataError(f"dataset {escaped(path)} has no data files", name="E-CORPUS") from error
        raise NetworkError(
            f"dataset {escaped(path)} cannot be reached",
            name="E-NETWORK",
            why=shown(error),
            next="check the connection and run the same command again, or give files of your own",
        ) from error


def _text_column(spec: str, record: Mapping[str, Any]) -> str:
    strings = [name for name, value in record.items() if isinstance(value, str)]
    if "text" in strings or len(strings) == 1:
        return "text" if "text" in strings else strings[0]
    raise DataError(
        f"{escaped(spec)} has no column `text`",
        name="E-CORPUS",
        why=f"its columns are {', '.join(map(escaped, record))}",
    )
