"""What is kept about a file while it is read: where every byte went, and how strict to be with it."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Tells one state of a file from another without reading it; `modified` in nanoseconds."""

    size: int
    modified: int
    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Fingerprint":
        """The fingerprint in what `stat` says of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """What to do with files that are not as they should be.

    Args:
        strict: a byte that is not UTF-8 is DataError E-UTF8; by default it becomes U+FFFD and is counted.
        skip_bad_files: a file that raises DataError is left out whole and listed in its account, after a
            first reading that hands nothing on; by default the error is raised. Refusals for security
            (bombs) and files that change while they are read always stop.
        max_unpacked: an archive that unpacks to more bytes is refused with E-BOMB; no cap by default.
    """

    strict: bool = False
    skip_bad_files: bool = False
    max_unpacked: int | None = None


@dataclass(slots=True)
class Account:
    """Where every byte of one file went. After a reading without error `read + skipped == unpacked`.

    *Read* are the bytes of text that was handed on, line ends and the rest of its record included; bytes
    that became U+FFFD are among them. *Skipped* are blank lines and records, the byte order mark at the
    start, NUL bytes and bad records, each with its line end. A parquet file is one piece: all of it is read.
    Of a byte range (see `read_text`) `unpacked` holds the lines that start in it; ranges add up by `absorb`.

    Attributes:
        path: the file.
        fingerprint: its state; set at the first opening, every later opening must find the same.
        size: bytes on disk.
        consumed: bytes taken from disk; equal to `size` once a whole file was read.
        unpacked: bytes after decompression.
        read, skipped: see above.
        lines: lines by newline (a last one without it included), or records.
        documents: texts handed on.
        repairs: how often each of these was met: `nul` (bytes dropped), `invalid_utf8` (sequences replaced,
            one U+FFFD each), `long_lines` (cuts in lines over 1 MiB), `bom` (dropped at the start),
            `bom_inside` (kept), `bidi_controls` (kept), `bad_records` (left out), `null_records` (left out),
            `magic` (the name says another kind than the content).
        invalid_bytes: bytes that are not UTF-8.
        first_invalid: offset of the first of them in the unpacked bytes; None when there is none, or in
            parquet, whose texts have no offset.
        first_bad: `FILE:LINE: what is wrong` of the first bad record.
        format, compression: what the content is: "text", "jsonl" or "parquet"; "", ".gz", ".xz" or ".zst".
        dropped: why the whole file was left out; empty when it was not.
    """

    path: Path
    fingerprint: Fingerprint | None = None
    size: int = 0
    consumed: int = 0
    unpacked: int = 0
    read: int = 0
    skipped: int = 0
    lines: int = 0
    documents: int = 0
    repairs: Counter[str] = field(default_factory=Counter)
    invalid_bytes: int = 0
    first_invalid: int | None = None
    first_bad: str = ""
    format: str = ""
    compression: str = ""
    dropped: str = ""

    def met(self, repair: str, times: int = 1) -> None:
        """Count a repair; none at all leaves no entry."""
        if times:
            self.repairs[repair] += times

    def absorb(self, other: "Account") -> None:
        """Add what was read of another range of the same file."""
        for name in ("consumed", "unpacked", "read", "skipped", "lines", "documents", "invalid_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.repairs.update(other.repairs)
        invalid = [one for one in (self.first_invalid, other.first_invalid) if one is not None]
        self.first_invalid = min(invalid, default=None)
        for name in ("fingerprint", "size", "first_bad", "format", "compression", "dropped"):
            setattr(self, name, getattr(self, name) or getattr(other, name))
