"""Vectors in text form, and dictionaries: what is read, and how damage is told."""

import gzip
import os
import random
from collections import Counter

import gensim
import numpy as np
import pytest

from extend.errors import DataError, ExtendError, PathError
from extend.vectors import WordVectors, read_dictionary, read_vectors
from tests.extend.vector_files import as_text

REFUSALS = {"E-VECTORS", "E-ARCHIVE", "E-NONFINITE", "E-ENCODING", "E-LINE"}
WORDS = {"</s>": [0.5, -1.25, 3e-5], "##ක්": [1.0, 2.0, 3.0], "Kigali": [-0.1, 0.25, 7.0]}


def put(tmp_path, content, name="v.vec"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path, **how):
    with pytest.raises(DataError) as told:
        read_vectors(path, **how)
    return told.value


def test_words_and_numbers_as_gensim_reads_them(tmp_path):
    path = put(tmp_path, as_text(WORDS, after=""))
    ours, theirs = read_vectors(path), gensim.models.KeyedVectors.load_word2vec_format(path)
    assert ours.words == tuple(theirs.index_to_key) == tuple(WORDS)
    assert np.array_equal(ours.vectors, theirs.vectors)
    assert ours.vectors.dtype == np.float32


@pytest.mark.parametrize("content", [
    as_text(WORDS), as_text(WORDS, after=""), as_text(WORDS, end="\r\n"), as_text(WORDS) + b"\n\n",
    as_text(WORDS)[:-1], gzip.compress(as_text(WORDS), mtime=0),
    gzip.compress(as_text(WORDS)[:9], mtime=0) + gzip.compress(as_text(WORDS)[9:], mtime=0),
])  # fmt: skip
def test_ways_to_write_the_same(content, tmp_path):
    found = read_vectors(put(tmp_path, content))
    assert found.words == tuple(WORDS)
    assert np.allclose(found.vectors, list(WORDS.values()))


def test_wanted_words_only_in_the_order_of_the_file(tmp_path):
    path = put(tmp_path, as_text(WORDS))
    found = read_vectors(path, wanted=["Kigali", "none", "</s>"], dimension=3)
    assert found.words == ("</s>", "Kigali")
    assert np.allclose(found.vectors, [WORDS["</s>"], WORDS["Kigali"]])


def test_words_that_are_not_utf8_are_counted_but_not_many(tmp_path):
    many = {f"w{number}": [1.0, 2.0] for number in range(200)}
    broken = as_text(many).replace(b"\nw7 ", b"\n\xc9 ").replace(b"\nw9 ", b"\n\xff\xff ")
    found = read_vectors(put(tmp_path, broken))
    assert (len(found.words), found.left_out) == (198, 2)
    told = refusal(put(tmp_path, broken.replace(b"\nw11 ", b"\n\xe0\xb6 ")))
    assert (told.name, "v.vec:9:" in told.what) == ("E-ENCODING", True)


@pytest.mark.parametrize(("content", "name", "where"), [
    ("", "E-VECTORS", ":1:"),
    ("3\n", "E-VECTORS", ":1:"),
    ("the 0.1 0.2\n", "E-VECTORS", ":1:"),
    ("\ufeff1 2\na 1 2\n", "E-VECTORS", ":1:"),
    ("1 0\na\n", "E-VECTORS", ":1:"),
    ("9999999999 300\na 1\n", "E-VECTORS", "cannot hold 9,999,999,999 vectors"),
    ("1 9999999\na 1\n", "E-VECTORS", "cannot hold"),
    ("2 2\na 1 2\nb 1 2 3\n", "E-VECTORS", ":3: 3 numbers, the header says 2"),
    ("2 2\nlong-word 1 2\nb 1\n", "E-VECTORS", ":3: 1 numbers"),
    ("2 2\nlong-word 1 2\n 1 2\n", "E-VECTORS", ":3: 1 numbers"),
    ("2 2\nlong-word 1 2\n\n", "E-VECTORS", ":3: 0 numbers"),
    ("2 2\nlong-word 1 2\n", "E-VECTORS", ":2: the file ends after 1 of 2"),
    ("1 2\na 1 2\nb 1 2\n", "E-VECTORS", ":3: a line more"),
    ("2 2\na 1 2\na 1 2\n", "E-VECTORS", ":3: 'a' stands in line 2"),
    ("1 2\na 1 x\u202e\n", "E-VECTORS", r":2: 'x\u202e' is not a number"),
    ("1 2\na 1 1_0\n", "E-VECTORS", ":2: '1_0' is not a number"),
    ("1 2\na 1 nan\n", "E-NONFINITE", ":2: number 2 is nan"),
    ("1 2\na -inf 1\n", "E-NONFINITE", ":2: number 1 is -inf"),
    ("1 2\na 1 1e39\n", "E-NONFINITE", ":2: number 2 is 1e39"),
    ("1 2\n" + "a" * 10_000 + " 1 2\n", "E-LINE", ":2:"),
])  # fmt: skip
def test_what_the_form_does_not_allow_is_told_with_its_line(content, name, where, tmp_path):
    told = refusal(put(tmp_path, content))
    assert told.name == name
    assert where in told.what
    assert "v.vec" in told.what


def test_a_dimension_that_is_not_the_wanted_one(tmp_path):
    told = refusal(put(tmp_path, as_text(WORDS)), dimension=100)
    assert "vectors of 3 numbers, 100 are wanted" in told.what


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "none", tmp_path / "nul\0"):
        with pytest.raises(PathError):
            read_vectors(path)


def test_damage_anywhere_is_told_or_harmless(tmp_path):
    whole = {False: as_text({f"word{number}": [number / 7, -number, 1e-3] for number in range(60)})}
    whole[True] = gzip.compress(whole[False])
    ends = Counter()
    for case in range(240):
        drawn = random.Random(case)
        data = bytearray(whole[case % 2 == 1])
        at = drawn.randrange(len(data))
        if case % 3 == 0:
            del data[at:]
        elif case % 3 == 1:
            data[at] = drawn.randrange(256)
        else:
            data[at:at] = drawn.choice([b"\n", b" ", b"\0", b"\xff", b"9", b"word1 1 2 3\n"])
        try:
            found = read_vectors(put(tmp_path, bytes(data)))
            assert np.isfinite(found.vectors).all()
            ends["read"] += 1
        except ExtendError as error:
            ends[error.name] += 1
    assert ends["read"] > 10
    assert {"E-VECTORS", "E-ARCHIVE"} <= ends.keys() <= {"read", *REFUSALS}


def test_rows_for_groups_of_texts():
    vectors = np.array([[1, 2], [3, 4]], np.float32)
    found = WordVectors(("a", "B"), vectors).of([["B", "b"], ["x"], ["A", "a"], []])
    assert found.tolist() == [[3, 4], [0, 0], [1, 2], [0, 0]]
    with pytest.raises(ValueError, match="one row a word"):
        WordVectors(("a",), vectors)
    with pytest.raises(ValueError, match="float32"):
        WordVectors(("a", "b"), vectors.astype(np.float64))


def test_dictionary(tmp_path):
    text = (
        "\ufeff# pairs\nwater\tamazi\n\nNew York\tNew York \r\nhouse  inzu\n#\t#\nwater\tamazi\nwater amazi\n"
    )
    pairs = [("water", "amazi"), ("New York", "New York"), ("house", "inzu"), ("#", "#")]
    assert read_dictionary(put(tmp_path, text)) == pairs
    assert read_dictionary(put(tmp_path, gzip.compress(text.encode()))) == pairs


@pytest.mark.parametrize(("content", "name", "where"), [
    ("a b\nc\n", "E-DICTIONARY", ":2: 'c' is not a pair"),
    ("a b\nc d e\n", "E-DICTIONARY", ":2:"),
    ("a\tb\tc\n", "E-DICTIONARY", ":1:"),
    ("a\t\n", "E-DICTIONARY", ":1:"),
    ("a\u202e\n", "E-DICTIONARY", r"'a\u202e'"),
    ("# nothing\n\n", "E-DICTIONARY", "no pair"),
    (b"a b\nc \xc9\n", "E-UTF8", ":2: byte 3"),
    (b"a" * 70_000, "E-LINE", ":1:"),
    (gzip.compress(b"a b\n" * 100, mtime=0)[:-6], "E-ARCHIVE", "cut off"),
])  # fmt: skip
def test_bad_dictionaries_are_told_with_their_line(content, name, where, tmp_path):
    with pytest.raises(DataError) as told:
        read_dictionary(put(tmp_path, content, "pairs.txt"))
    assert told.value.name == name
    assert where in told.value.what
