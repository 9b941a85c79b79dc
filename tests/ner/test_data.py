"""NER files: what is read, what is refused, and with which place in the message."""

import gzip
import importlib
import inspect
import json
import os
import pkgutil
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ner.data
from extend.errors import DataError, PathError, UsageError
from ner.data import DATASETS, read_data, recognised
from ner.files import NerFile
from ner.tags import Scheme, Span, TaggedSentence, spans_of, tags_of


def write(folder: Path, content: str | bytes, name: str = "a.conll") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


PLAIN = (TaggedSentence(("Ada", "sang"), ("B-PER", "O")), TaggedSentence(("Oslo",), ("B-LOC",)))


@pytest.mark.parametrize(
    "content",
    [
        "Ada\tB-PER\nsang\tO\n\nOslo\tB-LOC\n",
        "Ada\tB-PER\nsang\tO\n\nOslo\tB-LOC",  # no final newline
        "Ada B-PER\nsang O\n\nOslo B-LOC\n",
        "Ada  B-PER \nsang O\n\nOslo   B-LOC\n",
        "Ada NNP B-PER\nsang VB O\n\nOslo NNP B-LOC\n",
        "\ufeffAda\tB-PER\r\nsang\tO\r\n\r\nOslo\tB-LOC\r\n",
        "-DOCSTART- -X- O\n\nAda B-PER\nsang O\n\n\n \n\t\nOslo B-LOC\n\n\n",
        "Ada\tI-PER\nsang\tO\n\nOslo\tI-LOC\n",  # IOB1
        "Ada\tU-PER\nsang\tO\n\nOslo\tU-LOC\n",  # BILOU
        "Ada\tS-PER\nsang\tO\n\nOslo\tS-LOC\n",  # BIOES
    ],
)
def test_one_reading_for_every_spelling(tmp_path: Path, content: str) -> None:
    data = read_data(write(tmp_path, content))
    assert data.sentences == PLAIN
    assert (data.words, data.entities, data.labels, data.repaired) == (3, 2, ("LOC", "PER"), 0)


def test_other_formats(tmp_path: Path) -> None:
    lines = (
        '{"tokens": ["Ada", "sang"], "ner_tags": ["B-PER", "O"]}\n\n{"words": ["Oslo"], "tags": ["B-LOC"]}\n'
    )
    assert read_data(write(tmp_path, lines, "a.jsonl")).sentences == PLAIN
    uner = "# sent_id = 1\n1\tAda\tB-PER\t-\t-\n2\tsang\tO\t-\t-\n\n# text = Oslo\n1\tOslo\tB-LOC\t-\t-\n"
    assert read_data(write(tmp_path, uner), format="uner").sentences == PLAIN
    wikiann = "en:Ada\tB-PER\nen:sang\tO\n\nen:Oslo\tB-LOC\n"
    assert read_data(write(tmp_path, wikiann), format="wikiann").sentences == PLAIN


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u0085", "\u2028", "\x0b"])
def test_only_tab_and_ascii_space_divide(tmp_path: Path, space: str) -> None:
    data = read_data(write(tmp_path, f"New{space}York\tB-LOC\n"))
    assert data.sentences == (TaggedSentence((f"New{space}York",), ("B-LOC",)),)


def test_tabs_let_words_hold_spaces(tmp_path: Path) -> None:
    assert read_data(write(tmp_path, "New York\tB-LOC\n")).sentences[0].words == ("New York",)


@pytest.mark.parametrize(
    ("content", "place", "text"),
    [
        ("Ada\tB-PER\nsang\n", ":2", "1 column"),
        ("Ada\n", ":1", "1 column"),
        ("Ada\tB-PER\nsang\tVB\tO\n", ":2", "3 columns"),
        ("Ada B-PER\nsang\tO\textra\n", ":2", "3 columns"),
        ("Ada\tb-per\n", ":1", "B-PER"),
        ("Ada\tB_PER\n", ":1", "B-PER"),
        ("Ada\tB-\n", ":1", "is not a tag"),
        ("Ada\tO \n", ":1", "did you mean O?"),
        ("Ada\tPER\n", ":1", "B-PER"),
        ("Ada\tB-<b>\n", ":1", "is not a tag"),
        ("Ada\tB-P\u202eER\n", ":1", r"B-P\u202eER"),
        ("\tO\n", ":1", "the word is empty"),
        ("Ada\tO\n\n# a comment of some words\n", ":3", "columns"),
        ("1\tAda\tPROPN\t_\n", ":1", "is not a tag"),
    ],
)
def test_malformed_lines_are_told_with_their_place(
    tmp_path: Path, content: str, place: str, text: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_data(path)
    message = caught.value.message("ner-eval")
    assert caught.value.name == "E-CONLL"
    assert f"{path}{place}:" in message
    assert text in message
    assert "\u202e" not in message
    assert len(message.split("\n")[0]) <= 200


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("[" * 5000, "not JSON"),
        ("3", "not an object"),
        ('{"words": [3], "tags": ["O"]}', "no list of strings named words or tokens"),
        ('{"words": ["a"]}', "no list of strings named tags or ner_tags"),
        ('{"words": ["a"], "tags": [0]}', "no list of strings named tags"),
        ('{"words": ["a"], "tags": []}', "1 words but 0 tags"),
    ],
)
def test_malformed_records_are_told_with_their_place(tmp_path: Path, line: str, why: str) -> None:
    path = write(tmp_path, '{"words": ["a"], "tags": ["O"]}\n' + line + "\n", "a.jsonl")
    with pytest.raises(DataError, match=f"{path}:2: ") as caught:
        read_data(path)
    assert (caught.value.name, caught.value.exit_code) == ("E-JSONL", 3)
    assert why in caught.value.why


def test_words_that_would_break_a_column_file_are_refused(tmp_path: Path) -> None:
    for word in ("a\tb", "a\nb", ""):
        path = write(tmp_path, json.dumps({"words": [word], "tags": ["O"]}), "a.jsonl")
        with pytest.raises(DataError):
            read_data(path)


def test_files_that_cannot_serve(tmp_path: Path) -> None:
    with pytest.raises(PathError, match="No such file"):
        read_data(tmp_path / "none.conll")
    with pytest.raises(PathError):
        read_data(tmp_path)
    for content in ("", "\n\n", "\ufeff", "-DOCSTART- O\n"):
        with pytest.raises(DataError, match="no sentence"):
            read_data(write(tmp_path, content))
    with pytest.raises(DataError, match=r"a\.conll:2:2 is not UTF-8"):
        read_data(write(tmp_path, b"Ada\tO\ns\xe4ng\tO\n"))
    with pytest.raises(DataError, match="mixed"):
        read_data(write(tmp_path, "a\tS-PER\nb\tU-PER\n"))
    with pytest.raises(UsageError, match="unknown NER format"):
        read_data(write(tmp_path, "a\tO\n"), format="xml")


def test_illegal_tags_are_repaired_and_counted(tmp_path: Path) -> None:
    data = read_data(write(tmp_path, "a\tI-PER\nb\tB-PER\nc\tO\nd\tB-LOC\ne\tI-PER\n"))
    assert (data.scheme, data.repaired) == (Scheme.IOB2, 2)
    assert data.sentences[0].tags == ("B-PER", "B-PER", "O", "B-LOC", "B-PER")


def test_only_the_types_asked_for_are_kept(tmp_path: Path) -> None:
    data = read_data(write(tmp_path, "a\tB-PER\nb\tI-PER\nc\tB-MISC\n"), keep=["PER"])
    assert data.sentences[0].tags == ("B-PER", "I-PER", "O")


def test_long_sentences_stay_whole(tmp_path: Path) -> None:
    data = read_data(write(tmp_path, "a\tO\n" * 50_000))
    assert [len(sentence.words) for sentence in data.sentences] == [50_000]


words = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1, max_size=6)
tags = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC"])


@given(st.lists(st.lists(st.tuples(words, tags), min_size=1, max_size=5), min_size=1, max_size=4))
def test_lines_in_are_words_out(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[tuple[str, str]]]
) -> None:
    text = "".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) + "\n" for sentence in rows)
    path = write(tmp_path_factory.mktemp("rows"), text)
    if any(row[0].startswith("-DOCSTART-") for sentence in rows for row in sentence) or text[0] == "\ufeff":
        return
    data = read_data(path)
    assert [sentence.words for sentence in data.sentences] == [tuple(w for w, _ in one) for one in rows]
    for sentence, raw in zip(data.sentences, rows, strict=True):
        assert spans_of(sentence.tags) == spans_of([tag for _, tag in raw])


def test_every_reader_is_registered_and_yields_located_words(tmp_path: Path) -> None:
    readers = {
        function
        for module in pkgutil.iter_modules(ner.data.__path__, "ner.data.")
        for name, function in vars(importlib.import_module(module.name)).items()
        if name.startswith("read_")
        and "LocatedSentence" in str(inspect.signature(function).return_annotation)
    }
    assert readers == set(DATASETS.values())


def test_two_schemes_in_one_file_are_told_with_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "a\tB-PER\nb\tE-PER\n\nc\tO\nd\tU-LOC\n")
    with pytest.raises(DataError, match=f"{path}:5: tags of BIOES \\(E\\) and of BILOU") as caught:
        read_data(path)
    assert caught.value.why == "U- stands there, E- in line 2"


@pytest.mark.parametrize("scheme", Scheme)
def test_every_scheme_is_read_without_loss(tmp_path: Path, scheme: Scheme) -> None:
    spans = [Span(0, 1, "PER"), Span(1, 4, "LOC"), Span(5, 7, "PER")]
    touching = [] if scheme is Scheme.IO else [Span(7, 8, "PER")]
    tags = tags_of([*spans, *touching], 9, scheme=scheme)
    text = "".join(f"w{place}\t{tag}\n" for place, tag in enumerate(tags))
    data = read_data(write(tmp_path, text))
    assert spans_of(data.sentences[0].tags, strict=True) == {*spans, *touching}
    assert data.scheme is (Scheme.IOB1 if scheme is Scheme.IO else scheme)
    assert data.repaired == 0


def test_labels_are_renamed_left_out_and_kept_in_this_order(tmp_path: Path) -> None:
    path = write(tmp_path, "a\tB-GPE\nb\tB-LOC\nc\tI-LOC\nd\tB-OTH\ne\tB-PER\n")
    data = read_data(NerFile(path, label_map={"GPE": "LOC", "LOC": "PLACE", "OTH": "O"}))
    assert data.sentences[0].tags == ("B-LOC", "B-PLACE", "I-PLACE", "O", "B-PER")
    assert data.found == {"GPE": 1, "LOC": 1, "OTH": 1, "PER": 1}
    assert data.types == ("LOC", "PER", "PLACE")
    merged = read_data(NerFile(path, label_map={"GPE": "LOC"}), keep=["LOC"])
    assert merged.sentences[0].tags == ("B-LOC", "B-LOC", "I-LOC", "O", "O")  # the border stays
    for name in ("B P", "P\u202eER", "x" * 65, "<b>"):
        with pytest.raises(UsageError, match="not the name of an entity type") as caught:
            read_data(NerFile(path, label_map={"PER": name}))
        assert "\u202e" not in caught.value.message("ner-eval")


def test_lone_surrogates_become_one_mark_each_and_nul_and_bidi_stay_in_words(tmp_path: Path) -> None:
    record = (
        r'{"words": ["a\ud800b", "\u0000", "\u202eabc", "\ud83d\ude00"], "tags": ["O", "B-PER", "O", "O"]}'
    )
    data = read_data(write(tmp_path, record, "a.jsonl"))
    assert data.sentences[0].words == ("a\ufffdb", "\0", "\u202eabc", "\U0001f600")


@pytest.mark.parametrize("word", ["\u200b", "\ufe0f", "\u00ad", "\u200d", "\x00", "\x7f", "\ufeff"])
def test_words_of_nothing_visible_stay_words(tmp_path: Path, word: str) -> None:
    data = read_data(write(tmp_path, f"a\tO\n{word}\tB-PER\nb\tI-PER\n"))
    assert data.sentences == (TaggedSentence(("a", word, "b"), ("O", "B-PER", "I-PER")),)


def test_a_sentence_that_never_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ner.data.sentences.MAX_WORDS", 10)
    with pytest.raises(DataError, match=r"a\.conll:11: a sentence of over 10 words"):
        read_data(write(tmp_path, "a\tO\n" * 11))
    assert read_data(write(tmp_path, "a\tO\n" * 10 + "\n" + "b\tO\n")).words == 11


def test_nothing_is_read_from_a_pipe_or_a_line_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PathError, match="not a regular file"):
        read_data(tmp_path / "pipe")
    monkeypatch.setattr("ner.data.opening.MAX_LINE_BYTES", 1 << 17)
    with pytest.raises(DataError, match="a line of over 64 MiB"):
        read_data(write(tmp_path, b"a" * (1 << 18)))
    with pytest.raises(PathError):
        read_data(Path(f"{tmp_path}/a\0b"))


@pytest.mark.parametrize("name", ["a.conll", "a.jsonl"])
def test_reading_holds_a_sentence_and_not_the_file(tmp_path: Path, name: str) -> None:
    conll = "word\tO\nEntity\tB-PER\n\n"
    record = '{"words": ["word", "Entity"], "tags": ["O", "B-PER"]}\n'
    path = tmp_path / f"{name}.gz"
    content = (record if name.endswith("jsonl") else conll).encode() * 30_000
    path.write_bytes(gzip.compress(content, 1))
    reader = DATASETS[recognised(path)[0]]
    tracemalloc.start()
    try:
        sentences = sum(1 for _ in reader(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sentences == 30_000
    assert peak < 4 << 20  # the sentences together take 12 MB
