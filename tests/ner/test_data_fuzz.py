"""Mutated files of every format: read as a slow reading has them, or told with the place."""

import io
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from extend.errors import DataError
from ner.data import DATASETS, read_data
from ner.tags import TAG, illegal_transitions

TRIALS = 300
Sentences = list[tuple[tuple[str, ...], tuple[str, ...]]]

SEEDS = {
    "conll": [
        b"Ada\tB-PER\nsang\tO\n\nOslo\tB-LOC\n\n",
        b"Ada NNP I-PER\nsang VB O\n\n-DOCSTART- X O\n\nOslo NNP I-LOC\n",
        "\ufeffශ්‍රී\tB-LOC\r\nලංකා\tI-LOC\r\n\r\nئۈرۈمچى\tU-LOC\r\n".encode(),
    ],
    "uner": [
        b"# sent_id = 1\n1\tAda\tB-PER\t-\t-\n2-3\tdu\t_\t-\t-\n2\tde\tO\t-\t-\n3\tle\tO\t-\t-\n\n"
        b"1\tOslo\tB-LOC\n",
        b"1\tAda\tS-PER\n2-3\tau\tO\n2\ta\t_\n3\tle\t_\n3.1\tx\t_\n\n# text = Oslo\n1\tOslo\tS-LOC\n",
    ],
    "jsonl": [
        b'{"words": ["Ada", "sang"], "tags": ["B-PER", "O"]}\n\n'
        b'{"tokens": ["Oslo"], "ner_tags": ["B-LOC"]}\n',
        b'{"names": ["O", "B-PER"]}\n{"words": ["\\ud83d\\ude00", "b"], "tags": [1, 0]}\n',
    ],
}
PIECES = [
    b"\t",
    b" ",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"\xe2\x80\xae",
    b"B-",
    b"I-PER\n",
    b"\xc2\xa0",
    b"\n\n",
]
PIECES += [
    b"a",
    "ක".encode(),
    b"x",
    b"7",
    b"#",
    b"1",
    b"-",
    b"_",
    b'"',
    b"[",
    b"}",
    b"\\ud800",
    b",",
    b"\x1f\x8b",
    b"\xef\xbb\xbf",
    b"E-PER",
]


def mutated(content: bytes, draw: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        place = draw.randint(0, len(data))
        piece = draw.choice(PIECES) if draw.random() < 0.8 else draw.randbytes(draw.randint(0, 3))
        data[place : place + draw.choice((0, 0, 0, 1, 3))] = piece
    return bytes(data)


class NotReadable(Exception):
    """What a reference says of a file that is not of its format."""


def text_of(content: bytes) -> str:
    try:
        return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotReadable from error


def paragraphs(content: bytes) -> Iterator[list[str]]:
    """Lines between lines of nothing but tabs and spaces."""
    held: list[str] = []
    for line in [*text_of(content).split("\n"), ""]:
        line = line[:-1] if line.endswith("\r") else line
        if re.fullmatch("[ \t]*", line):
            yield held
            held = []
        else:
            held.append(line)


def cells(line: str) -> list[str]:
    return re.split("\t", line) if "\t" in line else re.findall("[^ ]+", line)


def demand(holds: bool) -> None:
    if not holds:
        raise NotReadable


def checked(pairs: list[tuple[str, str]]) -> Sentences:
    for word, tag in pairs:
        demand(bool(word) and not set(word) & set("\t\r\n") and bool(TAG.fullmatch(tag)))
    words, tags = [word for word, _ in pairs], [tag for _, tag in pairs]
    return [(tuple(words), tuple(tags))] if pairs else []


def columns(content: bytes) -> Sentences:
    found: Sentences = []
    width = 0
    for lines in paragraphs(content):
        rows = [cells(line) for line in lines if not line.startswith("-DOCSTART-")]
        for row in rows:
            width = width or len(row)
            demand(len(row) == width >= 2)
        found += checked([(row[0], row[-1]) for row in rows])
    return found


def indexed(content: bytes) -> Sentences:
    found: Sentences = []
    for lines in paragraphs(content):
        words: dict[int, tuple[str, str]] = {}
        ranges: dict[int, tuple[int, str, str]] = {}
        for row in (cells(line) for line in lines if not line.startswith("#")):
            demand(len(row) >= 3)
            if re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,9}", row[0]):
                continue
            demand(bool(row[1]) and "\r" not in row[1])
            if match := re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", row[0]):
                demand(int(match[1]) == len(words) + 1 and len(words) + 1 not in ranges)
                ranges[int(match[1])] = (int(match[2]), row[1], row[2])
            else:
                demand(bool(re.fullmatch("[0-9]{1,9}", row[0])) and int(row[0]) == len(words) + 1)
                words[len(words) + 1] = (row[1], row[2])
        covered: set[int] = set()
        for first, (last, word, tag) in ranges.items():
            inside = set(range(first, last + 1))
            demand(first <= last <= len(words) and not inside & covered)
            covered |= inside
            if TAG.fullmatch(tag) and all(words[place][1] in ("", "_", "-") for place in inside):
                words |= {first: (word, tag)} | dict.fromkeys(inside - {first}, ("", "left out"))
        found += checked([words[place] for place in sorted(words) if words[place] != ("", "left out")])
    return found


def records(content: bytes) -> Sentences:
    found: Sentences = []
    names: list[str] = []
    for line in text_of(content).split("\n"):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise NotReadable from error
        demand(isinstance(record, dict))
        given = record.get("names")
        if isinstance(given, list) and given and all(isinstance(name, str) for name in given):
            names = given
        words = record["words"] if "words" in record else record.get("tokens")
        tags = record["tags"] if "tags" in record else record.get("ner_tags")
        if names and "words" not in record and "tokens" not in record:
            continue
        demand(isinstance(words, list) and isinstance(tags, list) and len(words) == len(tags))
        pairs = []
        for word, tag in zip(words, tags, strict=True):
            demand(isinstance(word, str) and type(tag) in (str, int))
            demand(isinstance(tag, str) or 0 <= tag < len(names))
            whole = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in word)
            pairs.append((whole, tag if isinstance(tag, str) else names[tag]))
        found += checked(pairs)
    return found


SLOW: dict[str, Callable[[bytes], Sentences]] = {"conll": columns, "uner": indexed, "jsonl": records}


@pytest.mark.parametrize("format", SLOW)
def test_a_mutated_file_is_read_as_a_slow_reading_has_it_or_told_with_its_line(
    tmp_path: Path, format: str
) -> None:
    draw = random.Random(f"mutated {format}")
    path = tmp_path / "data"
    read = told = 0
    for _ in range(TRIALS):
        content = mutated(draw.choice(SEEDS[format]), draw)
        path.write_bytes(content)
        if content.startswith(b"\x1f\x8b"):
            continue
        try:
            expected = SLOW[format](content)
        except NotReadable:
            with pytest.raises(DataError, match=rf"{path}:\d+") as caught:
                list(DATASETS[format](path))
            assert caught.value.exit_code == 3
            assert caught.value.message("ner-eval").replace("\n", "").isprintable()
            told += 1
        else:
            found = [(sentence.words, sentence.tags) for sentence in DATASETS[format](path)]
            assert found == expected, content
            read += 1
    assert min(read, told) > TRIALS // 12  # both ends are met


def parquet_file() -> bytes:
    table = {"tokens": [["Ada", "sang"], ["Oslo"]] * 20, "ner_tags": [["B-PER", "O"], ["B-LOC"]] * 20}
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(table), sink, write_page_checksum=True)
    return sink.getvalue()


def test_a_mutated_table_is_told_or_has_the_words_and_tags_that_were_written(tmp_path: Path) -> None:
    """Bits turned in its pages are seen by their checksums; its footer has none, so rows may be missing."""
    draw, whole = random.Random("tables"), parquet_file()
    path = tmp_path / "data.parquet"
    written = {(("Ada", "sang"), ("B-PER", "O")), (("Oslo",), ("B-LOC",))}
    told = 0
    for _ in range(TRIALS):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(4, len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content[: draw.choice([len(content)] * 4 + [draw.randrange(len(content))])])
        try:
            found = {(sentence.words, sentence.tags) for sentence in DATASETS["parquet"](path)}
        except DataError as error:
            told += str(path) in error.what
        else:
            assert found <= written
    assert told > TRIALS // 4


@pytest.mark.parametrize("name", ["a.conll", "a.jsonl", "a.parquet", "a"])
def test_whatever_a_file_shows_itself_to_be_it_is_read_or_told(tmp_path: Path, name: str) -> None:
    draw = random.Random(name)
    path = tmp_path / name
    seeds = [seed for some in SEEDS.values() for seed in some]
    for _ in range(TRIALS // 2):
        path.write_bytes(mutated(draw.choice(seeds), draw))
        try:
            data = read_data(path)
        except DataError as error:
            first = error.message("ner-eval").split("\n")[0]
            assert str(path) in first
            assert first.isprintable()
        else:
            assert all(illegal_transitions(sentence.tags) == 0 for sentence in data.sentences)
            assert data.words == sum(len(sentence.tags) for sentence in data.sentences)
