"""Bytes to lines of text: decoded, repaired where they must be, every byte and every repair counted."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from extend.corpus.accounts import Account, ReadPolicy
from extend.errors import DataError

MAX_LINE_BYTES = 1 << 20
BAD_SHARE, BAD_LEAST = 0.01, 100
_BOM = b"\xef\xbb\xbf"
_BIDI_BYTES = re.compile(rb"\xe2(?:\x80[\xaa-\xae]|\x81[\xa6-\xa9])")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_UTF16_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def line_blocks(chunks: Iterable[bytes], *, limit: int) -> Iterator[tuple[bytes, bool]]:
    """Whole lines, many at a time, as (bytes, False); of a line over `limit` bytes pieces as (bytes, True).

    Pieces end after a space where there is one, else between characters, and depend on the line alone, not
    on how it was chunked; the last piece comes as the first line of the next block. Chunks hold at most
    `limit` bytes; at most twice as much is held.
    """
    parts: list[bytes] = []
    held = 0
    for chunk in chunks:
        if held + line_length(chunk) > limit:
            chunk = b"".join([*parts, chunk])
            parts, held = [], 0
            while line_length(chunk) > limit:
                cut = chunk.rfind(b" ", 0, limit) + 1 or last_character_end(chunk[:limit])
                yield chunk[:cut], True
                chunk = chunk[cut:]
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join([*parts, chunk[:end]]), False
            parts, held = [], 0
        parts.append(chunk[end:])
        held += len(chunk) - end
    if held:
        yield b"".join(parts), False


def line_length(data: bytes) -> int:
    """Bytes before the first newline, or all."""
    end = data.find(b"\n")
    return len(data) if end < 0 else end


def last_character_end(data: bytes) -> int:
    """Where the last whole UTF-8 character of `data` ends, or near enough when it is not UTF-8."""
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] >= 0xC0:
            return len(data) - back
        if data[-back] < 0x80:
            break
    return len(data)


def cut_text(text: str) -> Iterator[str]:
    """`text` in the pieces that a line of it would be cut into: each at most 1 MiB of UTF-8."""
    if len(text) * 4 <= MAX_LINE_BYTES:
        yield text
        return
    data = text.encode("utf-8")
    while len(data) > MAX_LINE_BYTES:
        cut = data.rfind(b" ", 0, MAX_LINE_BYTES) + 1 or last_character_end(data[:MAX_LINE_BYTES])
        yield data[:cut].decode("utf-8")
        data = data[cut:]
    yield data.decode("utf-8")


class Decoder:
    """Bytes of one file to text, with its account: NUL is dropped, what is not UTF-8 becomes U+FFFD.

    Other control characters stay as they are; the tokenizer's normalizer decides on them. `offset` is where
    the next block lies in the unpacked bytes of the file.
    """

    def __init__(self, path: Path, account: Account, policy: ReadPolicy, *, offset: int = 0) -> None:
        self.path, self.account, self._policy = path, account, policy
        self.offset = self._start = offset

    def start(self, head: bytes) -> int:
        """Look at the first block of a file: how many bytes of a byte order mark to leave out.

        Raises DataError E-ENCODING for UTF-16 and UTF-32, by their mark or by one NUL in ten bytes.
        """
        nuls = head.count(b"\0")
        if head.startswith(_UTF16_32) or nuls > max(8, len(head) // 10):
            raise self._wrong_encoding("it looks like UTF-16 or UTF-32")
        if not head.startswith(_BOM):
            return 0
        self.account.met("bom")
        self.account.skipped += len(_BOM)
        self.offset += len(_BOM)
        return len(_BOM)

    def lines(self, data: bytes, *, cut: bool = False) -> tuple[list[str], list[bool]]:
        """The lines of a block of whole lines, without their ends, and which of them are blank.

        Only `\\n` ends a line, with one `\\r` before it dropped (not in the piece of a cut line).
        """
        self._count_marks(data)
        text = _clean(data)
        ended = data.endswith(b"\n")
        if text is None:
            lines, blank, skipped = self._repaired(data, keep_return=cut)
        else:
            lines = text.split("\n")
            if ended:
                lines.pop()
            blank = [not line or line.isspace() for line in lines]
            empty = [line for line, left_out in zip(lines, blank, strict=True) if left_out]
            skipped = sum(len(line.encode()) + 1 for line in empty) - (not ended and blank[-1])
            if not cut and "\r" in text:
                lines = [line.removesuffix("\r") for line in lines]
        account = self.account
        account.skipped += skipped
        account.read += len(data) - skipped
        account.lines += 0 if cut else len(lines)
        account.met("long_lines", cut)
        self.offset += len(data)
        self.check_encoding(least=MAX_LINE_BYTES)
        return lines, blank

    def text(self, data: bytes, offset: int | None = None) -> str:
        """`data` as text; `offset` is its place in the file. Raises DataError E-UTF8 when strict."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            first = None if offset is None else offset + error.start
            if self._policy.strict:
                raise self._not_utf8(first) from error
            text = data.decode("utf-8", errors="replace")
            replaced = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
            self.account.met("invalid_utf8", replaced)
            self.account.invalid_bytes += len(data) - len(text.encode("utf-8")) + 3 * replaced
            if self.account.first_invalid is None:
                self.account.first_invalid = first
        if "\0" in text:
            self.account.met("nul", text.count("\0"))
            text = text.replace("\0", "")
        return text

    def record(self, text: str) -> Iterator[str]:
        """The text of a record, repaired as a line is, in pieces of at most 1 MiB; nothing when it is blank.

        A lone surrogate, which JSON can write and UTF-8 cannot, becomes U+FFFD.
        """
        met = self.account.met
        if "\0" in text:
            met("nul", text.count("\0"))
            text = text.replace("\0", "")
        if not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                met("invalid_utf8", whole.count("\ufffd") - text.count("\ufffd"))
                text = whole
            met("bidi_controls", len(_BIDI.findall(text)))
            met("bom_inside", text.count("\ufeff"))
        if not text or text.isspace():
            return
        pieces = list(cut_text(text))
        met("long_lines", len(pieces) - 1)
        yield from pieces

    def check_encoding(self, *, least: int = 0) -> None:
        """Raises DataError E-ENCODING when over 1 % (and over 100) of the bytes so far are not UTF-8."""
        total, bad = self.offset - self._start, self.account.invalid_bytes
        if total >= least and bad > max(BAD_LEAST, BAD_SHARE * total):
            raise self._wrong_encoding(f"{bad:,} of {total:,} bytes are not UTF-8: Latin-1 or UTF-16?")

    def _count_marks(self, data: bytes) -> None:
        if data.isascii():
            return
        self.account.met("bom_inside", data.count(_BOM))
        self.account.met("bidi_controls", len(_BIDI_BYTES.findall(data)))

    def _repaired(self, data: bytes, *, keep_return: bool) -> tuple[list[str], list[bool], int]:
        lines, blank, skipped, offset = [], [], 0, self.offset
        raws = data.split(b"\n")
        ends = [1] * (len(raws) - 1) + [0]
        if not raws[-1]:
            raws.pop()
        for raw, end in zip(raws, ends, strict=False):
            nuls = raw.count(b"\0")
            line = self.text(raw if keep_return else raw.removesuffix(b"\r"), offset)
            lines.append(line)
            blank.append(not line or line.isspace())
            skipped += len(raw) + end if blank[-1] else nuls
            offset += len(raw) + end
        return lines, blank, skipped

    def _wrong_encoding(self, why: str) -> DataError:
        return DataError(
            f"{self.path} is not UTF-8 text",
            name="E-ENCODING",
            why=why,
            next="convert it, for example with: iconv -f UTF-16 -t UTF-8",
        )

    def _not_utf8(self, offset: int | None) -> DataError:
        place = "" if offset is None else f": byte {offset}"
        return DataError(
            f"{self.path}{place} is not UTF-8",
            name="E-UTF8",
            why="strict reading was asked for",
            next="mend the file; without strict reading such bytes become U+FFFD and are counted",
        )


def _clean(data: bytes) -> str | None:
    """`data` as text when nothing in it must be repaired."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
