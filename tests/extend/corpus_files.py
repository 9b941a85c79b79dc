"""Corpus files of every kind, made for tests, and short ways to read them."""

import gzip
import json
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from extend.corpus import Account, ReadPolicy, read_batches
from extend.errors import ExtendError

LINES = ("first line", "zweite Zeile", "третья строка", "සිංහල පේළිය")
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
ARCHIVES = (".gz", ".xz", ".zst")
DEFAULT = ReadPolicy()


def encoded(suffix: str, texts: Sequence[str] = LINES) -> bytes:
    """`texts` in the format and compression that `suffix` says."""
    kind = next(kind for kind in (".txt", ".jsonl", ".parquet") if suffix.startswith(kind))
    if kind == ".txt":
        plain = "".join(f"{text}\n" for text in texts).encode()
    elif kind == ".jsonl":
        plain = "".join(json.dumps({"text": text, "id": 1}) + "\n" for text in texts).encode()
    else:
        plain = parquet(pyarrow.table({"text": list(texts), "id": [1] * len(texts)}))
    return PACK[suffix.removeprefix(kind)](plain)


def parquet(table: pyarrow.Table) -> bytes:
    """`table` as a parquet file with checksums."""
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def put(path: Path, data: bytes | str) -> Path:
    """Write a file and give its path back."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(path: Path, policy: ReadPolicy = DEFAULT) -> tuple[list[str], list[bool], Account]:
    """All texts of a file, whether each starts a text, and the account, which must balance."""
    accounts: list[Account] = []
    batches = list(read_batches([path], accounts=accounts, policy=policy))
    assert all(batch.texts for batch in batches)
    texts = [text for batch in batches for text in batch.texts]
    (account,) = accounts
    assert balances(account)
    assert account.consumed == account.size == path.stat().st_size
    assert account.documents == len(texts)
    return texts, [starts for batch in batches for starts in batch.starts], account


def balances(account: Account) -> bool:
    """The law of accounts."""
    return account.read + account.skipped == account.unpacked and min(account.read, account.skipped) >= 0


def texts(path: Path, policy: ReadPolicy = DEFAULT) -> list[str]:
    """All texts of a file."""
    return read(path, policy)[0]


def refused(path: Path, policy: ReadPolicy = DEFAULT) -> ExtendError:
    """The error with which a file is refused."""
    with pytest.raises(ExtendError) as caught:
        read(path, policy)
    return caught.value
