"""Damaged corpus files of every kind: told errors or whole accounts, never a traceback, never for long."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from extend.corpus import READERS, Account, ReadPolicy, read_file
from extend.errors import ExtendError
from tests.extend.corpus_files import balances, encoded, put

BAD = (
    b"\xc9", b"\xff\xfe", b"\0", b"\0" * 40, b"\r\n", b"\n\n", b"\xed\xa0\x80", b"{", b'"', b"\xef\xbb\xbf",
    b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"<html>", b"\xe2\x80\xae", b"\n" * 500,
)  # fmt: skip
TEXTS = tuple(f"line {number} " + "වචනය слово word " * (number % 7) for number in range(60))
CASES = 26
REFUSALS = {"E-ARCHIVE", "E-ARCHIVE-KIND", "E-ENCODING", "E-JSONL", "E-MAGIC", "E-PARQUET", "E-UTF8"}


def damaged(data: bytes, drawn: random.Random) -> bytes:
    """`data` after one to three mutations."""
    for _ in range(drawn.randint(1, 3)):
        place, other = sorted((drawn.randint(0, len(data)), drawn.randint(0, len(data))))
        data = drawn.choice(
            [
                lambda at, to, data: data[:at] + drawn.choice(BAD) + data[at:],
                lambda at, to, data: data[:at],
                lambda at, to, data: data[:at] + data[to:],
                lambda at, to, data: data + data,
                lambda at, to, data: data + data[at:to],
                lambda at, to, data: data[:at] + bytes(to - at) + data[to:],
                lambda at, to, data: data[:at] + bytes([drawn.randrange(256)]) + data[at + 1 :],
                lambda at, to, data: data[:at] + drawn.randbytes(3) + data[at + 3 :],
                lambda at, to, data: data[to:] + data[:to],
            ]
        )(place, other, data)
    return data


def outcome(path: Path, policy: ReadPolicy) -> tuple[Account, list[str], ExtendError | None]:
    account, texts = Account(path), []
    try:
        for batch in read_file(path, account=account, policy=policy):
            texts += batch.texts
    except ExtendError as error:
        return account, texts, error
    return account, texts, None


@pytest.mark.parametrize("suffix", READERS)
def test_damage_is_told_or_accounted_for(suffix, tmp_path):
    ends: Counter[str] = Counter()
    whole = encoded(suffix, TEXTS)
    for case in range(CASES):
        data = damaged(whole, random.Random(f"{suffix} {case}"))
        path = put(tmp_path / f"{case}{suffix}", data)
        before = time.monotonic()
        for policy in (ReadPolicy(), ReadPolicy(strict=True), ReadPolicy(skip_bad_files=True)):
            account, texts, error = outcome(path, policy)
            ends["read" if error is None else error.name] += 1
            if error is not None:
                assert (error.name in REFUSALS, error.exit_code) == (True, 3), (case, error.name)
                assert policy.strict or error.name != "E-UTF8", case
                assert not policy.skip_bad_files, case
                assert path.name in error.what, case
                continue
            assert balances(account), case
            assert account.consumed == account.size == len(data), case
            assert account.documents == len(texts), case
            assert not (account.dropped and texts), case
            assert all(text.strip() and "\0" not in text for text in texts), case
            assert "\ufffd" not in "".join(texts) or not policy.strict, case
        assert time.monotonic() - before < 10, case
    assert ends["read"] >= CASES, "files are dropped when asked, and some damage is read over"
    assert len(ends) > 1, ends
