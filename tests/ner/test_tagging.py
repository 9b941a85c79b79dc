"""Text in, entities out: no line lost, offsets exact, the same tags however passages are batched."""

import io
import itertools
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.errors import CheckpointError, DataError, PathError, UsageError
from extend.hub import load_encoder
from ner.features import FeatureSettings, WordPieces, word_features
from ner.tagger import Head
from ner.tagging import (
    Account,
    EntityTagger,
    InputForm,
    OutputForm,
    Passage,
    Tagged,
    as_bytes,
    as_lines,
    as_record,
    check_forms,
    engine,
    entity_tagger,
    is_record,
    read_passages,
    text_passage,
)
from ner.tags import illegal_transitions
from ner.train import predict
from tests.ner.taggers import made_head, opened
from tests.ner.tiny import made_sentences, tiny_encoder

HARD = [
    "\u200b",
    "\ufe0f",
    "\x00",
    "[SEP]",
    "\u00a0",
    "\u0085",
    "\u3000",
    "\u202e",
    "\U0001f600",
    "日本",
    "ก็",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def tagger(encoder: Path) -> EntityTagger:
    return opened(encoder)


def read(content: bytes, form: InputForm = InputForm.text) -> list[Passage]:
    return list(read_passages(io.BytesIO(content), form, Account()))


def tagged_lines(tagger: EntityTagger, content: bytes, form: InputForm, to: OutputForm) -> list[str]:
    passages = read_passages(io.BytesIO(content), form, Account())
    return [line for tagged in tagger.tag(passages) for line in as_lines(tagged, to)]


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("\n\r\t \u200b\u0085\u2028")))
def test_every_line_of_text_gives_a_record_with_exact_offsets(tagger: EntityTagger, text: str) -> None:
    content = text.encode()
    lines = tagged_lines(tagger, content, InputForm.text, OutputForm.jsonl)
    given_lines = text.removeprefix("\ufeff").split("\n")
    given_lines = given_lines[:-1] if not given_lines[-1] else given_lines
    records = [json.loads(line) for line in lines]
    assert [record["text"] for record in records] == [line.removesuffix("\r") for line in given_lines]
    for record in records:
        for one in record["entities"]:
            assert record["text"][one["start"] : one["end"]] == one["text"]
            assert one["text"]
            assert 0 < one["confidence"] <= 1


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\t "), min_size=1, max_size=6)


@settings(max_examples=60)
@given(
    st.lists(WORD | st.sampled_from([*HARD, "", "-DOCSTART-"]), max_size=30),
    st.sampled_from(["", "\tB-X", " y O"]),
)
def test_columns_come_back_line_by_line(tagger: EntityTagger, words: list[str], rest: str) -> None:
    words = [word.removeprefix("\ufeff") for word in words]
    rows = [f"{word}{rest}" if word else "" for word in words]
    lines = tagged_lines(
        tagger, "".join(f"{row}\n" for row in rows).encode(), InputForm.conll, OutputForm.conll
    )
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        assert line.startswith(row)
        kept = not row or row.startswith("-DOCSTART-")
        assert line == row if kept else line[len(row) :][1:] in tagger.head.tag_names


def test_given_words_are_tagged_as_evaluation_tags_them(encoder: Path, tagger: EntityTagger) -> None:
    sentences = [tuple(word for word, _ in rows) for rows in made_sentences(60, seed=3)]
    model = load_encoder(encoder)
    expected = predict(tagger.head, word_features(model, WordPieces(encoder), sentences))
    assert [one.tags for one in tagger.tag(map(Passage, sentences))] == expected
    texts = [text_passage(" ".join(words)) for words in sentences]
    assert [one.tags for one in tagger.tag(texts)] == expected
    assert len(set(expected)) > 20


@pytest.mark.parametrize(
    ("head", "layers"), [("bilstm-crf", "last"), ("bilstm-softmax", "mix"), ("linear", "last")]
)
def test_tags_do_not_depend_on_the_batch(tmp_path: Path, head: Head, layers: str) -> None:
    """Batches of 1, 2, 7 and 64 sentences, shuffled, and beside a sentence that pads them: no tag differs."""
    encoder = tiny_encoder(tmp_path / "encoder", layers=2)
    features = FeatureSettings(layers="mix" if layers == "mix" else "last")
    made = made_head(head, mixed_layers=2 if layers == "mix" else 0)
    tagger = opened(encoder, made, features)
    passages = [Passage(tuple(word for word, _ in rows)) for rows in made_sentences(300, seed=4)]
    alone = {one.passage: one for passage in passages for one in tagger.tag([passage])}
    assert sum(len(one.entities) for one in alone.values()) > 100
    long = Passage(("anna", "wa") * 60)
    compared = 0
    for size in (2, 7, 64):
        line = random.Random(size).sample(passages, len(passages))
        for begin in range(0, len(line), size):
            batch = line[begin : begin + size]
            for one in list(tagger.tag([*batch, long]))[:-1]:
                assert one.tags == alone[one.passage].tags
                assert [e.confidence for e in one.entities] == pytest.approx(
                    [e.confidence for e in alone[one.passage].entities], abs=1e-4
                )
                compared += len(one.tags)
    assert compared > 3500  # 10,000 and more over the three heads


def test_a_confidence_is_the_marginal_of_the_least_sure_word(encoder: Path, tagger: EntityTagger) -> None:
    words = ("anna", "boris", "wa", "lima", "wb", "oslo", "rome")
    (found,) = tagger.tag([Passage(words)])
    vectors = word_features(load_encoder(encoder), WordPieces(encoder), [words])
    tensor, lengths = vectors.batch([0], torch.device("cpu"))
    with torch.no_grad():
        marginals = tagger.head.output.marginals(tagger.head.emissions(tensor, lengths), lengths)[0]
    names = tagger.head.tag_names
    assert found.entities
    for one in found.entities:
        expected = min(float(marginals[i, names.index(found.tags[i])]) for i in range(one.start, one.end))
        assert one.confidence == pytest.approx(expected, abs=1e-5)
        assert one.text == " ".join(words[one.start : one.end])


def test_entities_have_the_place_and_the_writing_of_the_text() -> None:
    passage = text_passage("x  Ada\u200b  Lima, oslo")
    tags = ("O", "B-PER", "I-PER", "O", "B-LOC")
    found = engine.as_tagged(passage, tags, (1.0, 0.9, 0.7, 1.0, 1.0000001))
    assert as_record(found)["entities"] == [
        {"start": 3, "end": 13, "type": "PER", "text": "Ada\u200b  Lima", "confidence": 0.7},
        {"start": 15, "end": 19, "type": "LOC", "text": "oslo", "confidence": 1.0},
    ]


def test_a_passage_without_end_is_cut_after_sentences() -> None:
    words = ["w"] * 10
    assert engine.cut_long(words, 10) == [(0, 10)]
    assert engine.cut_long(words, 4) == [(0, 4), (4, 8), (8, 10)]
    words[2] = "۔"
    assert engine.cut_long(words, 4) == [(0, 3), (3, 7), (7, 10)]
    assert engine.cut_long([], 4) == []


@given(st.lists(st.sampled_from(["w", "."]), max_size=40), st.integers(1, 9))
def test_stretches_cover_every_word_once(words: list[str], most: int) -> None:
    cuts = engine.cut_long(words, most)
    assert [place for begin, end in cuts for place in range(begin, end)] == list(range(len(words)))
    assert all(0 < end - begin <= most for begin, end in cuts)


@pytest.mark.parametrize("words", [5000, 50_000])
def test_a_sentence_of_many_thousand_words_keeps_every_word(tagger: EntityTagger, words: int) -> None:
    content = ("anna wa lima . " * (words // 4)).encode()
    (found,) = tagger.tag(read(content))
    assert len(found.tags) == words
    assert illegal_transitions(found.tags) == 0
    middle = [found.tags[place : place + 4] for place in range(100, words - 100, 4)]
    assert len(set(middle)) < 40


@pytest.mark.parametrize("line", [b"", b" ", b"x", b"\xe2\x80\x8b", b"x" * (1 << 20), b"x " * (1 << 14)])
def test_any_line_gives_one_line(tagger: EntityTagger, line: bytes) -> None:
    for end in (b"", b"\n", b"\r\n"):
        lines = tagged_lines(tagger, line + end, InputForm.text, OutputForm.jsonl)
        assert len(lines) == (1 if line + end else 0)
        assert all(json.loads(one)["text"].encode() == line for one in lines)


def test_memory_is_bounded_by_the_chunk(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passages are read as they are asked for, and what was cut into pieces is not remembered for ever."""
    monkeypatch.setattr(engine, "WORDS_A_STRETCH", 64)
    monkeypatch.setattr(engine, "WORDS_A_CHUNK", 64)
    monkeypatch.setattr(engine, "CHARACTERS_REMEMBERED", 500)
    made = 0

    def pieces() -> WordPieces:
        nonlocal made
        made += 1
        return WordPieces(encoder)

    taken = 0

    def endless() -> Iterator[Passage]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield Passage((f"w{number}", "anna") if number % 3 else ())

    tagger = EntityTagger(load_encoder(encoder), pieces, made_head(), features=FeatureSettings())
    first = list(itertools.islice(tagger.tag(endless()), 200))
    assert [one.passage.words for one in first[:3]] == [(), ("w1", "anna"), ("w2", "anna")]
    assert taken < 300
    assert made > 1


def test_text_forms() -> None:
    assert [p.text for p in read(b"\xef\xbb\xbfa b\r\n\n\xef\xbb\xbfc\xe2\x80\xa8d")] == [
        "a b", "", "\ufeffc\u2028d",
    ]  # fmt: skip
    account = Account()
    (first, second) = read_passages(io.BytesIO(b"ok\nb\xffd \xc9"), InputForm.text, account)
    assert (first.text, second.text) == ("ok", "b\ufffdd \ufffd")
    assert (account.lines, account.replaced, account.first, account.words) == (2, 1, "stdin:2:2", 2)


def test_packed_files_and_missing_ones(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"anna\nlima"))
    assert [p.words for p in read_passages(path, InputForm.text, Account())] == [("anna",), ("lima",)]
    with pytest.raises(PathError):
        list(read_passages(tmp_path / "b.txt", InputForm.text, Account()))


@pytest.mark.parametrize(
    ("form", "content", "told"),
    [
        (InputForm.conll, b"a\tO\n\tO\n", "stdin:2: no word"),
        (InputForm.conll, b"a\nb\xff\n", "stdin:2:2 is not UTF-8"),
        (InputForm.jsonl, b'{"text": "a"}\n\n{', "stdin:3: not a record"),
        (InputForm.jsonl, b"[1]", "not an object"),
        (InputForm.jsonl, b'{"id": 1}', "no string named text"),
        (InputForm.jsonl, b'{"words": ["a", 1]}', "words is not a list of strings"),
        (InputForm.jsonl, b'{"text": "a", "x": NaN}', "not JSON"),
        (InputForm.jsonl, b"[" * 100_000, "not JSON"),
        (InputForm.jsonl, b'{"text": "\xff"}', "is not UTF-8"),
    ],
)
def test_a_line_that_cannot_be_read_is_told_with_its_place(
    form: InputForm, content: bytes, told: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(content, form)
    assert told in f"{caught.value.what}: {caught.value.why}"


def test_a_line_without_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ner.tagging.reading.MAX_LINE_BYTES", 1 << 18)
    with pytest.raises(DataError, match="a line of over"):
        read(b"x" * (1 << 19))


def test_json_keeps_what_else_a_record_has(tagger: EntityTagger) -> None:
    content = (
        b'{"id": 7, "text": "anna \\ud800 lima"}\n{"tokens": ["anna", "New York", "", "a\\tb"], "id": 8}\n'
    )
    found = list(tagger.tag(read(content, InputForm.jsonl)))
    first, second = (json.loads(as_bytes(as_lines(one, OutputForm.jsonl))) for one in found)
    assert (first["id"], first["text"]) == (7, "anna \ud800 lima")
    assert (second["id"], second["tokens"]) == (8, ["anna", "New York", "", "a\tb"])
    assert second["tags"] == list(found[1].tags)
    assert "words" not in second
    rows = list(as_lines(found[1], OutputForm.conll))
    assert [row.split("\t")[0] for row in rows] == ["anna", "New York", "\ufffd", "a\ufffdb", ""]


def test_columns_become_records_and_text_becomes_columns(tagger: EntityTagger) -> None:
    records = tagged_lines(
        tagger, b"-DOCSTART- O\n\nanna O\nwa O\n\n\nlima O", InputForm.conll, OutputForm.jsonl
    )
    assert [json.loads(line)["words"] for line in records] == [["anna", "wa"], ["lima"]]
    rows = tagged_lines(tagger, b"anna, wa\n\nlima", InputForm.text, OutputForm.conll)
    assert [row.split("\t")[0] for row in rows] == ["anna", ",", "wa", "", "", "lima", ""]


def test_an_unbroken_column_file_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ner.tagging.reading.ROWS_A_PASSAGE", 3)
    assert [p.words for p in read(b"a\nb\nc\nd\n", InputForm.conll)] == [("a", "b", "c"), ("d",)]
    assert not is_record(Tagged(Passage((), rows=("",)), (), ()))


def test_the_form_of_files() -> None:
    assert check_forms(["-"], None) is check_forms(["a.txt", "b"], None) is InputForm.text
    assert check_forms(["a.conll.gz", "B.TSV"], None) is InputForm.conll
    assert check_forms(["a.jsonl.zst"], None) is InputForm.jsonl
    assert check_forms(["a.txt", "b.jsonl"], InputForm.text) is InputForm.text
    with pytest.raises(UsageError, match="jsonl, text"):
        check_forms(["a.txt", "b.jsonl"], None)


def test_a_head_for_other_vectors_is_refused(tmp_path: Path, encoder: Path) -> None:
    model = load_encoder(encoder)
    with pytest.raises(CheckpointError, match="does not fit"):
        entity_tagger(model, encoder, made_head(mixed_layers=3), FeatureSettings(layers="mix"))


def _words(passages: Iterable[Passage]) -> list[tuple[str, ...]]:
    return [passage.words for passage in passages]


@given(st.binary(max_size=300), st.sampled_from(list(InputForm)))
def test_any_bytes_are_read_or_told(content: bytes, form: InputForm) -> None:
    account = Account()
    try:
        passages = list(read_passages(io.BytesIO(content), form, account))
    except DataError as error:
        told = error.what
    else:
        told = ""
    if told:
        assert told.startswith("stdin:")
        return
    assert account.words == sum(map(len, _words(passages)))
    lines = content.removesuffix(b"\n").count(b"\n") + 1 if content else 0
    assert account.lines <= lines
    if form is InputForm.conll:
        assert sum(len(passage.rows) for passage in passages) == account.lines
