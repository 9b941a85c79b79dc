"""JSON lines to texts, each bad record with its place."""

import json
from collections.abc import Iterable, Iterator

from extend.corpus.lines import Decoder, line_blocks
from extend.errors import DataError, escaped

MAX_RECORD_BYTES = 16 << 20
MAX_TABLE_BYTES = 1 << 30
ROWS = 256
BAD_RECORDS_IN = 1000
_HOPELESS = 100
_PARSE = json.JSONDecoder(parse_int=float).decode  # int() refuses, or takes long over, many digits

Texts = tuple[list[str], list[bool]]
"""Texts, and whether each is the first piece of its record."""


def jsonl_texts(chunks: Iterable[bytes], decoder: Decoder) -> Iterator[Texts]:
    """The texts of JSON lines, block by block; see `read_jsonl`."""
    records = _Records(decoder)
    for data, cut in line_blocks(chunks, limit=MAX_RECORD_BYTES):
        texts, starts = records.of_piece(data) if cut else records.of_lines(data)
        if texts:
            yield texts, starts
    records.finish()


class _Records:
    """The lines of a JSONL file, counted and judged."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder, self._account = decoder, decoder.account
        self._filled, self._too_long = 0, False
        self._why = ""

    def of_piece(self, data: bytes) -> Texts:
        """A piece of a line over the limit, which is left out."""
        self._too_long = True
        self._account.skipped += len(data)
        self._decoder.offset += len(data)
        return [], []

    def of_lines(self, data: bytes) -> Texts:
        """The texts of whole lines."""
        texts: list[str] = []
        starts: list[bool] = []
        ended = data.endswith(b"\n")
        raws = data.split(b"\n")
        if ended:
            raws.pop()
        for number, raw in enumerate(raws):
            size = len(raw) + (ended or number < len(raws) - 1)
            found = self._texts(raw)
            read = size - raw.count(b"\0") if found else 0
            self._account.read += read
            self._account.skipped += size - read
            self._decoder.offset += size
            texts += found
            starts += [True, *[False] * (len(found) - 1)][: len(found)]
        self._decoder.check_encoding(least=1 << 20)
        return texts, starts

    def _texts(self, raw: bytes) -> list[str]:
        self._account.lines += 1
        line = self._decoder.text(raw, self._decoder.offset)
        if self._too_long:
            self._too_long = False
            return self._bad("is longer than 16 MiB")
        if not line or line.isspace():
            return []
        self._filled += 1
        try:
            record = _PARSE(line)
        except (ValueError, RecursionError) as error:
            return self._bad(f"is not JSON: {escaped(str(error))}", counted=True)
        text = record.get("text") if isinstance(record, dict) else None
        if not isinstance(text, str):
            return self._bad("is not an object with a string under `text`", counted=True)
        return list(self._decoder.record(text))

    def _bad(self, what: str, *, counted: bool = False) -> list[str]:
        self._filled += not counted
        self._account.met("bad_records")
        if not self._account.first_bad:
            self._account.first_bad = f"{self._decoder.path}:{self._account.lines}: line {what}"
        bad = self._account.repairs["bad_records"]
        if bad > _HOPELESS and bad * 10 > self._filled:
            raise self._too_many()
        return []

    def finish(self) -> None:
        """Judge the whole file."""
        self._decoder.check_encoding()
        if self._too_long:
            self._account.lines += 1
            self._bad("is longer than 16 MiB")
        if self._account.repairs["bad_records"] * BAD_RECORDS_IN > self._filled:
            raise self._too_many()

    def _too_many(self) -> DataError:
        bad = self._account.repairs["bad_records"]
        return DataError(
            self._account.first_bad,
            name="E-JSONL",
            why=f"{bad:,} of {self._filled:,} records are bad; one in {BAD_RECORDS_IN:,} may be",
            next='each line is one JSON object such as {"text": "..."}',
        )
