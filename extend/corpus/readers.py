"""One reader a format, decided by content; every format may also be compressed.

To add a format: write its reader, give it a line in `_FORMATS` and its ending in `FORMAT_ENDINGS`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from extend.archives import COMPRESSIONS
from extend.corpus.accounts import Account, Fingerprint, ReadPolicy
from extend.corpus.disk import fingerprints as fingerprints_of
from extend.corpus.lines import MAX_LINE_BYTES, Decoder, line_blocks
from extend.corpus.records import jsonl_texts
from extend.corpus.streams import FORMAT_ENDINGS, Stream, kind_of, name_lies, named_kind, opened
from extend.errors import DataError, escaped
from extend.types import Document

_DEFAULT = ReadPolicy()
_NOT_TEXT = (
    ".csv", ".doc", ".docx", ".epub", ".htm", ".html", ".json", ".odt", ".pdf", ".rtf", ".tsv", ".xml",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Some texts of one file in its order, none of them blank, each at most 1 MiB of UTF-8.

    `starts` says of each whether a new text begins with it: a record, or a line after a blank one (or the
    first of its file).
    """

    texts: list[str]
    starts: list[bool]


class Reader(Protocol):
    """A file to its texts, in the file's order. Everything met on the way is added to `account`."""

    def __call__(self, path: Path, *, account: Account, policy: ReadPolicy) -> Iterator[TextBatch]: ...


def read_text(
    path: Path, *, account: Account, policy: ReadPolicy = _DEFAULT, start: int = 0, end: int | None = None
) -> Iterator[TextBatch]:
    """One text a line; a blank line (and the start of the file) begins a new text.

    With a range, exactly the lines that start in bytes [start, end) of a plain file: ranges that tile the
    file give together what a reading of the whole gives. The limits on what is not UTF-8 look at each range
    alone, and UTF-16 is recognised in the range at 0.

    Raises what `opened` raises, and DataError E-ENCODING, E-UTF8.
    """
    with opened(path, account=account, policy=policy, start=start, end=end) as stream:
        decoder, chunks = _decoding(stream, account, policy)
        starts, cut_before = stream.after_blank, False
        for data, cut in line_blocks(chunks, limit=MAX_LINE_BYTES):
            lines, blank = decoder.lines(data, cut=cut)
            batch, starts = _batch(lines, blank, starts, whole=not (cut or cut_before))
            cut_before = cut
            if batch.texts:
                account.documents += len(batch.texts)
                yield batch
        decoder.check_encoding()


def _decoding(stream: Stream, account: Account, policy: ReadPolicy) -> tuple[Decoder, Iterator[bytes]]:
    decoder = Decoder(stream.path, account, policy, offset=stream.start)
    blocks = stream.blocks()
    if stream.start or not stream.head:
        return decoder, blocks
    mark = decoder.start(stream.head)
    return decoder, (block if number else block[mark:] for number, block in enumerate(blocks))


def _batch(lines: list[str], blank: list[bool], starts: bool, *, whole: bool) -> tuple[TextBatch, bool]:
    """The lines that are not blank, and whether the next line begins a text.

    The blank piece of a cut line (its block, or the first line of the next, is not `whole`) begins none.
    """
    if True not in blank:
        return TextBatch(lines, [starts] + [False] * (len(lines) - 1)), False
    before = [starts, *blank]
    if not whole and blank[0]:
        before[1] = starts
    kept = [number for number, left_out in enumerate(blank) if not left_out]
    return TextBatch([lines[number] for number in kept], [before[number] for number in kept]), before[-1]


def read_jsonl(path: Path, *, account: Account, policy: ReadPolicy = _DEFAULT) -> Iterator[TextBatch]:
    """One JSON object a line with the text, a string, under `text`.

    Other fields are not looked at; of a key given twice the last counts. A line that is no such object, or
    longer than 16 MiB, is left out and counted as `bad_records`, with the place of the first in the account.
    Raises DataError E-JSONL when that is more than one line in a thousand, so for one bad line in a file of
    less than a thousand; and what `read_text` raises.
    """
    with opened(path, account=account, policy=policy) as stream:
        decoder, chunks = _decoding(stream, account, policy)
        for texts, starts in jsonl_texts(chunks, decoder):
            account.documents += len(texts)
            yield TextBatch(texts, starts)


def read_parquet(path: Path, *, account: Account, policy: ReadPolicy = _DEFAULT) -> Iterator[TextBatch]:
    """One text a row of the column `text`, which holds strings; a null is left out and counted.

    A compressed file is unpacked in memory, 1 GiB at most. Raises DataError E-PARQUET for a file that is
    damaged or has no such column, RefusedError E-SIZE, E-BOMB; and what `opened` raises.
    """
    from extend.corpus.parquet import parquet_texts

    with opened(path, account=account, policy=policy) as stream:
        for texts, starts in parquet_texts(stream, Decoder(path, account, policy)):
            account.documents += len(texts)
            yield TextBatch(texts, starts)


_FORMATS: dict[str, Reader] = {"text": read_text, "jsonl": read_jsonl, "parquet": read_parquet}

READERS: dict[str, Reader] = {
    ending + compression: _FORMATS[name]
    for ending, name in FORMAT_ENDINGS.items()
    for compression in ("", *COMPRESSIONS)
}


def check_name(path: Path) -> None:
    """Raises DataError E-FORMAT for the ending of a format that is no corpus; any other name may be."""
    if not named_kind(path).format and path.name.lower().endswith(_NOT_TEXT):
        raise DataError(
            f"no reader for {escaped(path.name)}",
            name="E-FORMAT",
            why="readable endings: " + ", ".join(READERS),
            next="turn it into plain text, or into JSONL with the text under `text`",
        )


def read_file(path: Path, *, account: Account, policy: ReadPolicy = _DEFAULT) -> Iterator[TextBatch]:
    """The texts of one file by the reader for its content. A name that lies is counted as `magic`.

    With `policy.skip_bad_files` a file that raises DataError gives nothing and its account says why.
    """
    if policy.skip_bad_files and not _is_sound(path, account, policy):
        return
    yield from _read_as_it_is(path, account, policy)


def _read_as_it_is(path: Path, account: Account, policy: ReadPolicy) -> Iterator[TextBatch]:
    kind = kind_of(path, account=account)
    account.format, account.compression = kind
    account.met("magic", name_lies(path, kind))
    yield from _FORMATS[kind.format](path, account=account, policy=policy)


def _is_sound(path: Path, account: Account, policy: ReadPolicy) -> bool:
    trial = Account(path, fingerprint=account.fingerprint)
    try:
        for _ in _read_as_it_is(path, trial, policy):
            pass
    except DataError as error:
        if error.name == "E-CHANGED":
            raise
        account.fingerprint, account.size, account.consumed = trial.fingerprint, trial.size, trial.size
        account.unpacked = account.skipped = trial.unpacked
        account.format, account.compression = trial.format, trial.compression
        account.dropped = f"{error.name}: {error.what}"
        return False
    account.fingerprint = trial.fingerprint
    return True


def read_batches(
    files: Sequence[Path],
    *,
    accounts: list[Account] | None = None,
    policy: ReadPolicy = _DEFAULT,
    fingerprints: Mapping[Path, Fingerprint] | None = None,
) -> Iterator[TextBatch]:
    """Every text of `files` in byte order of their paths, whatever the order given.

    The state of all files is fixed at the call (or given as `fingerprints`, from an earlier pass): one that
    is another when its turn comes is DataError E-CHANGED. `accounts`, a list, gets one account a file, in
    the order of reading, as the reading gets to it. Raises DataError E-CORPUS-EMPTY, once all was read,
    when there was not one text; and what the readers raise.
    """
    return (batch for _, batch in _in_order(files, accounts, policy, fingerprints))


def read_corpus(
    files: Sequence[Path],
    language: str,
    *,
    accounts: list[Account] | None = None,
    policy: ReadPolicy = _DEFAULT,
    fingerprints: Mapping[Path, Fingerprint] | None = None,
) -> Iterator[Document]:
    """Every text of `files` as `read_batches` gives them, one document each; `language` is a BCP 47 tag."""
    return (
        Document(text, language, str(path), starts_document=starts)
        for path, batch in _in_order(files, accounts, policy, fingerprints)
        for text, starts in zip(batch.texts, batch.starts, strict=True)
    )


def _in_order(
    files: Sequence[Path],
    accounts: list[Account] | None,
    policy: ReadPolicy,
    fingerprints: Mapping[Path, Fingerprint] | None,
) -> Iterator[tuple[Path, TextBatch]]:
    ordered = sorted(files, key=os.fsencode)
    fixed = fingerprints_of(ordered) if fingerprints is None else fingerprints
    return _by_file(ordered, accounts, policy, fixed)


def _by_file(
    files: Sequence[Path],
    accounts: list[Account] | None,
    policy: ReadPolicy,
    fingerprints: Mapping[Path, Fingerprint],
) -> Iterator[tuple[Path, TextBatch]]:
    empty, dropped = True, ""
    for path in files:
        account = Account(path, fingerprint=fingerprints.get(path))
        if accounts is not None:
            accounts.append(account)
        for batch in read_file(path, account=account, policy=policy):
            empty = False
            yield path, batch
        dropped = dropped or account.dropped
    if empty:
        raise no_text(files, f"files were dropped, the first for {dropped}" if dropped else "")


def no_text(files: Sequence[Path], why: str) -> DataError:
    """The refusal of a corpus without one text."""
    names = [escaped(path.name, limit=50) for path in files[:3]] + (["..."] if len(files) > 3 else [])
    return DataError(
        f"the corpus is empty: no text in {', '.join(names) or 'no files'}",
        name="E-CORPUS-EMPTY",
        why=why,
        next="give files that hold text",
    )
