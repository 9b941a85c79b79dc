"""Plain text: what a line is, what is repaired, and that every byte is accounted for."""

import gzip
import itertools
import random
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from extend.corpus import Account, ReadPolicy, read_text
from extend.corpus.lines import MAX_LINE_BYTES, line_blocks
from extend.errors import DataError
from tests.extend.corpus_files import balances, put, read, refused, texts

BYTES = st.lists(
    st.one_of(
        st.binary(max_size=3),
        st.sampled_from([b"\n", b"\n\n", b"\r\n", b" ", b"e", "ේ".encode(), b"\0", b"\xef\xbb\xbf", b"\xc9"]),
    )
).map(lambda parts: b"".join(parts)[:90])


def slowly(data: bytes) -> list[tuple[str, bool]]:
    """The rule, line by line: what `read_text` must give for a file without a line over the limit."""
    found, starts = [], True
    for raw in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        line = raw.removesuffix(b"\r").decode("utf-8", "replace").replace("\0", "")
        if line.strip():
            found.append((line, starts))
        starts = not line.strip()
    return found


@given(data=BYTES)
def test_any_bytes_read_as_python_decodes_them(data, tmp_path_factory):
    path = put(tmp_path_factory.mktemp("bytes") / "a.txt", data)
    assume(data.count(b"\0") <= 8)
    assume(data[:2] not in (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"\x1f\x9d"))
    expected = slowly(data)
    if not expected:
        assert refused(path).name == "E-CORPUS-EMPTY"
        return
    found, starts, account = read(path)
    assert list(zip(found, starts, strict=True)) == expected
    assert account.lines == data.count(b"\n") + (not data.endswith(b"\n"))
    bad = data.removeprefix(b"\xef\xbb\xbf")
    with_nul = b"\n".join(line.removesuffix(b"\r") for line in bad.split(b"\n")).decode("utf-8", "replace")
    assert account.repairs["invalid_utf8"] == with_nul.count("\ufffd") - bad.count(b"\xef\xbf\xbd")
    assert account.repairs["nul"] == data.count(b"\0")


@given(data=BYTES, cuts=st.lists(st.integers(0, 95), max_size=6))
def test_ranges_that_tile_a_file_give_its_lines(data, cuts, tmp_path_factory):
    assume(data.count(b"\0") <= 8)
    assume(data[:2] not in (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"\x1f\x9d"))
    path = put(tmp_path_factory.mktemp("tiles") / "a.txt", data)
    whole, whole_account = _ranges(path, [0, None])
    tiled, account = _ranges(path, [0, *sorted(cuts), None])
    assert tiled == whole == slowly(data)
    assert balances(account)
    assert account == whole_account
    assert account.consumed == account.unpacked == len(data)


def _ranges(path: Path, edges: list[int | None]) -> tuple[list[tuple[str, bool]], Account]:
    total, found = Account(path), []
    for start, end in itertools.pairwise(edges):
        account = Account(path)
        for batch in read_text(path, account=account, start=start or 0, end=end):
            found += zip(batch.texts, batch.starts, strict=True)
        total.absorb(account)
    return found, total


def test_ranges_give_the_lines_that_start_in_them(tmp_path):
    path = put(tmp_path / "a.txt", "one\ntwo\n\nthree\nfour")
    found = [
        [
            text
            for batch in read_text(path, account=Account(path), start=start, end=end)
            for text in batch.texts
        ]
        for start, end in ((0, 4), (4, 5), (5, 9), (9, 10), (10, 15), (15, 100), (100, 200))
    ]
    assert found == [["one"], ["two"], [], ["three"], [], ["four"], []]


@pytest.mark.parametrize("before", ["\ufeff", "\ufeff \t", "one\n", "one\n\0", "one\n\u2028\r"])
def test_a_range_after_a_blank_line_begins_a_text(before, tmp_path):
    data = f"{before}\ntwo\n".encode()
    path = put(tmp_path / "a.txt", data)
    account = Account(path)
    (batch,) = read_text(path, account=account, start=len(data) - 4)
    assert (batch.texts, batch.starts) == (["two"], [True])
    assert (account.consumed, account.repairs) == (4, {})


def test_a_long_line_belongs_to_the_range_it_starts_in(tmp_path):
    data = ("මුල\n" + "වචන " * (3 * MAX_LINE_BYTES // 10) + "\nඅග\n").encode()
    path = put(tmp_path / "a.txt", data)
    whole, _ = _ranges(path, [0, None])
    edges = sorted(random.Random(5).sample(range(len(data)), 4))
    tiled, account = _ranges(path, [0, *edges, None])
    assert tiled == whole
    assert len(whole) > 4
    assert account.unpacked == len(data)


def test_an_archive_has_no_ranges(tmp_path):
    path = put(tmp_path / "a.txt", gzip.compress(b"one\ntwo\n"))
    with pytest.raises(DataError, match="cannot be read in ranges"):
        list(read_text(path, account=Account(path), start=3, end=5))


def test_a_blank_line_starts_a_text(tmp_path):
    found, starts, _ = read(put(tmp_path / "a.txt", "one\ntwo\n\n \nthree\nfour"))
    assert (found, starts) == (["one", "two", "three", "four"], [True, False, True, False])


def test_only_newline_ends_a_line(tmp_path):
    data = "a\u2028b\u0085c\vd\fe\x1cf\rg\r\nnext\rline\n\r\nlast"
    found, starts, account = read(put(tmp_path / "a.txt", data))
    assert found == ["a\u2028b\u0085c\vd\fe\x1cf\rg", "next\rline", "last"]
    assert starts == [True, False, True]
    assert account.lines == data.count("\n") + 1, "as `wc -l` counts, and a last line without its end"


def test_control_characters_but_nul_are_kept(tmp_path):
    controls = "".join(chr(code) for code in (*range(1, 10), *range(14, 32), *range(0x7F, 0xA0)))
    found, _, account = read(put(tmp_path / "a.txt", f"a{controls}\0b\n"))
    assert found == [f"a{controls}b"]
    assert account.repairs == {"nul": 1}
    assert account.skipped == 1


def test_text_is_not_normalised(tmp_path):
    lines = [unicodedata.normalize(form, "é කේ ﷲ Å") for form in ("NFC", "NFD", "NFKC")]
    lines += [" private", "͸ unassigned", "👩‍💻️"]
    assert texts(put(tmp_path / "a.txt", "\n".join(lines))) == lines


def test_repairs_are_made_and_counted(tmp_path):
    path = put(tmp_path / "a.txt", b"\xef\xbb\xbfbom\nbad \xc9 byte\nnul\0here\nin\xef\xbb\xbfside\n")
    found, _, account = read(path)
    assert found == ["bom", "bad \ufffd byte", "nulhere", "in\ufeffside"]
    assert account.repairs == {"bom": 1, "invalid_utf8": 1, "nul": 1, "bom_inside": 1}
    assert (account.skipped, account.invalid_bytes, account.first_invalid) == (4, 1, 11)


def test_joined_files_keep_the_marks_inside(tmp_path):
    one = "\ufeffපළමු\n".encode()
    found, _, account = read(put(tmp_path / "a.txt", one * 3))
    assert found == ["පළමු", "\ufeffපළමු", "\ufeffපළමු"]
    assert account.repairs == {"bom": 1, "bom_inside": 2}


def test_bidi_controls_are_kept_and_counted(tmp_path):
    text = "\u202eabc\u202c \u2066x\u2069 \u200fmark \u200djoiner “quoted”"
    found, _, account = read(put(tmp_path / "a.txt", text))
    assert found == [text]
    assert account.repairs == {"bidi_controls": 4}


@pytest.mark.parametrize(
    ("data", "replaced", "first"),
    [
        (b"ab\xc9 c", 1, 2),
        (b"\xc0\xaf", 2, 0),
        (b"x\n\xf8\x88\x80\x80\x80y", 5, 2),
        ("ab ේ".encode()[:-1], 1, 3),
        (b"a\xed\xa0\x80b", 3, 1),
        (b"a\xf4\x90\x80\x80b", 4, 1),
    ],
    ids=["lone lead", "overlong", "five bytes", "cut at the end", "surrogate", "beyond Unicode"],
)
def test_invalid_utf8_is_replaced_and_placed(data, replaced, first, tmp_path):
    path = put(tmp_path / "a.txt", data)
    found, _, account = read(path)
    assert "".join(found).count("\ufffd") == replaced == account.repairs["invalid_utf8"]
    assert account.first_invalid == first
    error = refused(path, ReadPolicy(strict=True))
    assert (error.name, error.exit_code) == ("E-UTF8", 3)
    assert f"a.txt: byte {first} is not UTF-8" in error.what


def test_the_place_of_a_bad_byte_is_exact_in_a_large_file(tmp_path):
    data = b"\xef\xbb\xbf" + "line ේ\r\n\0\n".encode() * 200_000 + b"here \xff\n" + b"more\n" * 9
    found, _, account = read(put(tmp_path / "a.txt", data), ReadPolicy(max_unpacked=10))
    assert account.first_invalid == data.index(b"\xff")
    assert len(found) == 200_010


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_that_is_one_percent_bad_is_refused(mark, tmp_path):
    few, many = b"\xe9" * 200 + b"e" * 20_000, b"\xe9" * 300 + b"e" * 20_000
    assert read(put(tmp_path / "few.txt", mark + few))[2].repairs["invalid_utf8"] == 200
    error = refused(put(tmp_path / "many.txt", mark + many))
    assert (error.name, error.exit_code) == ("E-ENCODING", 3)
    assert "Latin-1" in error.why


@pytest.mark.parametrize("text", ["Ünïcödé tèxt\n", "සිංහල පේළිය\n", "русский текст 12\n"])
@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1"]
)
def test_another_encoding_is_refused(encoding, text, tmp_path):
    data = (text * 60).encode(encoding, "replace" if text.isascii() else "ignore")
    if encoding == "latin-1":
        data = ("Ünïcödé tèxt\n" * 60).encode("latin-1")
    error = refused(put(tmp_path / "a.txt", data))
    assert error.name == "E-ENCODING"
    assert "iconv" in error.next


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be", "utf-32-be"])
def test_another_encoding_is_known_by_its_mark(encoding, tmp_path):
    data = "\ufeffhi".encode(encoding) if encoding.endswith("be") else "hi".encode(encoding)
    assert refused(put(tmp_path / "a.txt", data)).name == "E-ENCODING"


@pytest.mark.parametrize("data", [b"", b"\n \n\t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\0\0\n"])
def test_what_is_empty_has_no_documents(data, tmp_path):
    account = Account(tmp_path / "a.txt")
    assert list(read_text(put(tmp_path / "a.txt", data), account=account)) == []
    assert (account.read, account.skipped, account.unpacked) == (0, len(data), len(data))
    assert refused(tmp_path / "a.txt").name == "E-CORPUS-EMPTY"


def test_a_line_without_end_is_cut_at_spaces_and_loses_nothing(tmp_path):
    line = ("වචනය " * (2 * MAX_LINE_BYTES // 16)) + "x" * (MAX_LINE_BYTES + 7)
    found, starts, account = read(put(tmp_path / "a.txt", line))
    assert "".join(found) == line
    assert len(found) > 2
    assert starts == [True] + [False] * (len(found) - 1)
    assert account.repairs == {"long_lines": len(found) - 1}
    assert account.lines == 1
    assert max(len(text.encode()) for text in found) <= MAX_LINE_BYTES


def test_a_return_inside_a_long_line_stays(tmp_path):
    line = "x" * (MAX_LINE_BYTES - 1) + "\ryy"
    found, _, _ = read(put(tmp_path / "a.txt", f"{line}\r\n"))
    assert found == [line[:MAX_LINE_BYTES], "yy"]


def test_the_blank_end_of_a_long_line_begins_no_text(tmp_path):
    line = "x" * MAX_LINE_BYTES
    found, starts, account = read(put(tmp_path / "a.txt", f"{line}\r\nnext\n"))
    assert (found, starts) == ([line, "next"], [True, False])
    assert account.repairs == {"long_lines": 1}


@given(
    lines=st.lists(st.text(alphabet="ab ේ", max_size=40), max_size=12),
    size=st.integers(1, 16),
)
def test_pieces_depend_on_the_line_alone(lines, size):
    data = "\n".join(lines).encode()
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    found = list(line_blocks(chunks, limit=16))
    assert b"".join(block for block, _ in found) == data
    assert all(b"\n" not in block and len(block) <= 16 for block, cut in found if cut)
    assert all(len(line) <= 16 for block, cut in found if not cut for line in block.split(b"\n"))
    assert [block for block, cut in found if cut] == [
        block for block, cut in line_blocks([data[at : at + 1] for at in range(len(data))], limit=16) if cut
    ]
    assert "".join(block.decode() for block, _ in found) == data.decode(), "no piece ends inside a character"


GROWTH = """
import resource, sys
from pathlib import Path
from extend.corpus import Account, read_batches
path, allowed = Path(sys.argv[1]), int(sys.argv[2])
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + allowed, size + allowed))
accounts = []
print(sum(len(text) for batch in read_batches([path], accounts=accounts) for text in batch.texts))
print(accounts[0].repairs["long_lines"])
"""


def test_a_huge_line_is_read_in_little_memory(tmp_path):
    member = gzip.compress(b"x" * (50 << 20), compresslevel=1)
    path = put(tmp_path / "a.txt.gz", member * 10)
    assert path.stat().st_size < 4 << 20
    output = subprocess.run(
        [sys.executable, "-c", GROWTH, str(path), str(64 << 20)], capture_output=True, check=True
    ).stdout
    assert list(map(int, output.split())) == [500 << 20, 499]


def test_the_time_for_one_endless_word_is_linear(tmp_path):
    seconds = []
    for megabytes in (16, 64):
        path = put(tmp_path / f"{megabytes}.txt", b"QUJD" * (megabytes << 18))
        seconds.append(min(_processor_seconds(path) for _ in range(3)))
    assert seconds[1] < 10 * seconds[0], "four times the bytes; quadratic would be sixteen times the time"


def _processor_seconds(path: Path) -> float:
    before = time.process_time()
    assert sum(map(len, texts(path))) == path.stat().st_size
    return time.process_time() - before
