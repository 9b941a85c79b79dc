"""Records of tagged words: JSON lines and Parquet. Tags are names, or numbers of names in the file."""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from extend.errors import DataError, RefusedError, escaped
from ner.data.opening import BOMB_BYTES, BOMB_RATIO, lines, opened, unpacked
from ner.data.sentences import LocatedSentence, check_length, sentence_of, tag_fault, word_fault

WORD_FIELDS = ("words", "tokens")
TAG_FIELDS = ("tags", "ner_tags")
ROWS = 256
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_jsonl(path: Path) -> Iterator[LocatedSentence]:
    """One object a line: `words` (or `tokens`) and `tags` (or `ner_tags`), two lists of one length.

    Tags are strings, or numbers from 0 into `names`, a list that stands in the record or in one before it
    (a first line `{"names": ["O", "B-PER"]}` serves the whole file; so does one with the `features` of a
    dataset). A lone surrogate, which JSON can write and UTF-8 cannot, becomes U+FFFD.

    Raises DataError E-JSONL with `file:line`, or what `ner.data.opening.lines` raises.
    """
    names: Sequence[str] = ()
    for number, line in lines(path):
        if not line or line.isspace():
            continue
        place = _Place(path, number, line)
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise place.bad("not JSON") from error
        if not isinstance(record, dict):
            raise place.bad("not an object")
        names = _names_in(record) or names
        if names and not any(field in record for field in WORD_FIELDS):
            continue
        words, tags = (place.list_in(record, some) for some in (WORD_FIELDS, TAG_FIELDS))
        yield from place.sentence(words, tags, names)


@dataclass(frozen=True)
class _Place:
    """A record, where it stands."""

    path: Path
    number: int
    line: str

    def list_in(self, record: Mapping[str, Any], some: Sequence[str]) -> list[Any]:
        found = next((record[name] for name in some if name in record), None)
        if not isinstance(found, list):
            raise self.no_list(some)
        return found

    def sentence(
        self, words: Sequence[Any], tags: Sequence[Any], names: Sequence[str]
    ) -> Iterator[LocatedSentence]:
        """The sentence of one record; a record of no words is none. Raises DataError E-JSONL."""
        if not all(isinstance(word, str) for word in words):
            raise self.no_list(WORD_FIELDS)
        if len(words) != len(tags):
            raise self.bad(f"{len(words)} words but {len(tags)} tags")
        check_length(self.path, self.number, len(words))
        rows = []
        for word, tag in zip(words, tags, strict=True):
            name = tag if isinstance(tag, str) else self.named(tag, names)
            why, meant = (word_fault(word), "") if word_fault(word) else tag_fault(name)
            if why:
                raise self.bad(why, next=meant)
            rows.append((word if word.isascii() else _SURROGATE.sub("\ufffd", word), name, self.number))
        yield from sentence_of(rows)

    def named(self, tag: Any, names: Sequence[str]) -> str:
        """The name of a tag that is a number."""
        if isinstance(tag, bool) or not isinstance(tag, int):
            raise self.no_list(TAG_FIELDS)
        if not names:
            raise self.bad(
                f"no list of strings named {' or '.join(TAG_FIELDS)}: numbers, and no names for them",
                next='put a first line {"names": ["O", "B-PER", ...]}',
            )
        if not 0 <= tag < len(names):
            raise self.bad(f"tag {tag}, but there are {len(names)} names")
        return names[tag]

    def no_list(self, some: Sequence[str]) -> DataError:
        return self.bad(f"no list of strings named {' or '.join(some)}")

    def bad(self, why: str, *, next: str = "") -> DataError:
        return DataError(
            f"{self.path}:{self.number}: not a record of tagged words: {escaped(self.line, limit=60)}",
            name="E-JSONL",
            why=why,
            next=next or 'expected: {"words": ["Ada", "sang"], "tags": ["B-PER", "O"]}',
        )


def _names_in(record: Mapping[str, Any]) -> Sequence[str]:
    """The names of tags that a record brings along."""
    names = record.get("names")
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    features = record.get("features")
    return class_names(features) if isinstance(features, dict) else ()


def class_names(features: Mapping[str, Any]) -> Sequence[str]:
    """The names of the ClassLabel in the `features` of a Hugging Face dataset, as its metadata has them.

    A list of labels is written as `{"feature": {"names": [...]}}` or as `[{"names": [...]}]`.
    """
    for field in TAG_FIELDS:
        kind = features.get(field)
        for _ in range(4):
            if isinstance(kind, list) and len(kind) == 1:
                kind = kind[0]
            elif isinstance(kind, dict) and "names" not in kind:
                kind = kind.get("feature")
        names = kind.get("names") if isinstance(kind, dict) else None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    return ()


def read_parquet(path: Path) -> Iterator[LocatedSentence]:
    """Rows with the columns `tokens` (or `words`) and `ner_tags` (or `tags`); "lines" are rows from 1.

    Tags are strings, or numbers of the ClassLabel that the file's Hugging Face metadata describe. Read some
    rows at a time; a compressed file is unpacked in memory, up to 1 GiB.

    Raises DataError: E-PARQUET for a file that cannot be read, E-JSONL with `file:row` for a row.
    RefusedError E-BOMB.
    """
    import pyarrow  # takes 40 MB, so only where such a file comes
    import pyarrow.parquet

    with opened(path) as file:
        source = _whole(path, file)
        row = 0
        try:
            table = pyarrow.parquet.ParquetFile(source, page_checksum_verification=True)
            _check_size(path, table.metadata, file)
            words, tags = _columns(path, table.schema_arrow.names)
            names = class_names(_features(table.schema_arrow.metadata))
            for batch in table.iter_batches(batch_size=ROWS, columns=[words, tags], use_threads=False):
                pairs = zip(batch.column(words).to_pylist(), batch.column(tags).to_pylist(), strict=True)
                for some, marks in pairs:
                    row += 1
                    if not isinstance(some, list) or not isinstance(marks, list):
                        raise _damaged(path, f"row {row} has no list in {words} or {tags}")
                    yield from _Place(path, row, str(some[:8])).sentence(some, marks, names)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: row {row + 1} or after is not UTF-8", name="E-ENCODING") from error
        except (pyarrow.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise _damaged(path, str(error)) from error


def _columns(path: Path, there: Sequence[str]) -> tuple[str, str]:
    words, tags = (
        next((name for name in some if there.count(name) == 1), "") for some in (WORD_FIELDS, TAG_FIELDS)
    )
    if not (words and tags):
        raise _damaged(path, "no columns tokens and ner_tags among " + ", ".join(there))
    return words, tags


def _features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any]:
    try:
        found = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        features = found["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _check_size(path: Path, metadata: Any, file: io.FileIO) -> None:
    """Refuse what says that it unpacks out of all proportion, before it does."""
    packed = file.seek(0, io.SEEK_END)
    sizes = [metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups)]
    if max(sizes, default=0) > BOMB_BYTES and sum(sizes) > BOMB_RATIO * packed:
        raise RefusedError(
            f"{path} unpacks from {packed:,} bytes to {sum(sizes):,}",
            name="E-BOMB",
            why=f"files over 1 GiB may grow {BOMB_RATIO} times at most",
        )


def _whole(path: Path, file: io.FileIO) -> BinaryIO:
    """The file itself, or what it unpacks to."""
    if file.read(4) == b"PAR1":
        file.seek(0)
        return file  # type: ignore[return-value]
    file.seek(0)
    content = io.BytesIO()
    for chunk in unpacked(path, file):
        content.write(chunk)
        if content.tell() > BOMB_BYTES:
            raise RefusedError(
                f"{path} unpacks to more than 1 GiB",
                name="E-SIZE",
                why="a parquet file is not read as a stream",
                next="unpack it first: parquet is compressed inside anyway",
            )
    content.seek(0)
    return content


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is not a readable parquet file of tagged words",
        name="E-PARQUET",
        why=escaped(why, limit=160),
        next="expected: columns tokens and ner_tags, lists of one length",
    )
