"""Which reader a file gets, and what each makes of its own kind of file."""

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from extend.errors import DataError, RefusedError, UsageError
from ner.data import DATASETS, read_data, recognised
from ner.files import NerFile
from ner.tags import TaggedSentence

PLAIN = (TaggedSentence(("Ada", "sang"), ("B-PER", "O")), TaggedSentence(("Oslo",), ("B-LOC",)))
NAMES = ["O", "B-PER", "I-PER", "B-LOC"]
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


def table(tags: Any, kind: Any, features: Any = None) -> bytes:
    schema = pyarrow.schema([("tokens", pyarrow.list_(pyarrow.string())), ("ner_tags", pyarrow.list_(kind))])
    if features is not None:
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    sink = pyarrow.BufferOutputStream()
    rows = {"tokens": [["Ada", "sang"], ["Oslo"]], "ner_tags": tags}
    pyarrow.parquet.write_table(pyarrow.table(rows, schema=schema), sink)
    return sink.getvalue().to_pybytes()


LABELS = {"names": NAMES, "_type": "ClassLabel"}
FILES = {
    "conll": b"Ada\tB-PER\nsang\tO\n\nOslo\tB-LOC\n",
    "conll-comments": b"# id 8f4\tdomain=en\nAda _ _ B-PER\nsang _ _ O\n\n"
    b"# id 9a1\tdomain=en\nOslo _ _ B-LOC\n",
    "conllu": b"# text = Ada sang\n1\tAda\tAda\tPROPN\t_\t_\t2\tnsubj\t_\tname=B-PER|SpaceAfter=No\n"
    b"2\tsang\tsing\tVERB\t_\t_\t0\troot\t_\tname=O\n\n1\tOslo\tOslo\tPROPN\t_\t_\t0\troot\t_\tNER=B-LOC\n",
    "jsonl": b'{"words": ["Ada", "sang"], "tags": ["B-PER", "O"]}\n'
    b'{"tokens": ["Oslo"], "ner_tags": ["B-LOC"]}\n',
    "parquet": table([["B-PER", "O"], ["B-LOC"]], pyarrow.string()),
    "uner": b"# sent_id = 1\n1\tAda\tB-PER\t-\t-\n2\tsang\tO\t-\t-\n\n# text = Oslo\n1\tOslo\tB-LOC\t-\t-\n",
    "wikiann": b"en:Ada\tB-PER\nen:sang\tO\n\nen:Oslo\tB-LOC\n",
}


def test_every_format_is_tried_here() -> None:
    assert FILES.keys() == DATASETS.keys()


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("format", FILES)
def test_the_content_shows_format_and_compression_whatever_the_name(
    tmp_path: Path, format: str, packed: str
) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(PACKED[packed](FILES[format]))
    assert recognised(path) == (format, packed)
    data = read_data(path)
    assert data.sentences == PLAIN
    assert (data.format, data.compression) == (format, packed)
    assert read_data(path, format=format).sentences == PLAIN


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ("1 CD O\n\n1 CD O\n", "conll"),  # the word 1, twice
        ("1 CD B-PER\nday NN O\n", "conll"),
        ("re:zero\tO\n", "conll"),
        ("en:Ada\tO\nsang\tO\n", "conll"),
        ("zh-min-nan:A\tO\nzh-min-nan:b\tO\n", "wikiann"),
        ("{\tO\n", "conll"),
        ("#\tO\nAda\tO\n", "conll"),  # the word #
        ("-DOCSTART- -X- O\n\nAda NNP O\n", "conll"),
        ("\ufeff# text\r\n1\tAda\tO\r\n2-3\tdu\t_\r\n2\tde\tO\r\n3\tle\tO\r\n", "uner"),
        ("\n\n  \n" + '{"names": ["O"]}' + "\n", "jsonl"),
        ('{ "words": ["' + "x" * (1 << 17) + '"], "tags": ["O"]}', "jsonl"),
    ],
)
def test_what_looks_alike_is_told_apart(tmp_path: Path, content: str, format: str) -> None:
    path = tmp_path / "data"
    path.write_text(content, encoding="utf-8", newline="")
    assert recognised(path)[0] == format


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("7 Ada NNP B-PER B-X\n8 sang VB O O\n\n9 Oslo NNP B-LOC O\n")
    assert read_data(path, format="conll:2:4").sentences == PLAIN
    assert read_data(NerFile(path, format="conll:2:-2")).sentences == PLAIN
    assert read_data(path, format="conll:-4:-2").sentences == PLAIN
    for bad in ("conll:0:1", "conll:1", "conll:1:1", "conll:a:b", "xml", "conll:1:2:3"):
        with pytest.raises(UsageError, match="unknown NER format") as caught:
            read_data(path, format=bad)
        assert caught.value.name == "E-NER-FORMAT"
    with pytest.raises(DataError, match=r":1: .*") as told:
        read_data(path, format="conll:2:9")
    assert told.value.why == "5 columns, at least 9 expected"


RANGES = """# newdoc
1\tdans\tO
2-3\tdu\tO
2\tde\tB-LOC
3\tle\tI-LOC
3.1\tnothing\tO
4-5\tau\tB-PER
4\tà\t_
5\tle\t_
6\tfin\tO
"""


def test_ranges_and_empty_nodes_follow_the_rule(tmp_path: Path) -> None:
    """A range stands for its words only where it has a tag and they have none."""
    path = tmp_path / "a.iob2"
    path.write_text(RANGES)
    (sentence,) = read_data(path).sentences
    assert sentence.words == ("dans", "de", "le", "au", "fin")
    assert sentence.tags == ("O", "B-LOC", "I-LOC", "B-PER", "O")


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        ("1\ta\tO\n3\tb\tO\n", 2, "index 3 where 2 is due"),
        ("1\ta\tO\n2\tb\tO\n1\tc\tO\n", 3, "is a blank line missing?"),
        ("1\ta\tO\n2-9\tb\tO\n2\tb\tO\n", 2, "the range 2-9 is not one of the sentence's words"),
        ("1-2\tab\t_\n1\ta\t_\n2\tb\t_\n", 2, "_ is not a tag"),
        ("1-2\tab\tO\n1\ta\tO\n2\tb\t_\n", 3, "_ is not a tag"),
        ("1\ta\tO\nx\tb\tO\n", 2, "no index"),
        ("1\ta\tO\n2\tb\n", 2, "2 columns, at least 3 expected"),
        ("1\ta\tO\n2\t\tO\n", 2, "the word is empty"),
    ],
)
def test_what_breaks_the_rules_of_indices_is_told(tmp_path: Path, content: str, line: int, why: str) -> None:
    path = tmp_path / "a.iob2"
    path.write_text(content)
    with pytest.raises(DataError, match=f"{path}:{line}: ") as caught:
        read_data(path, format="uner")
    assert why in caught.value.why
    assert caught.value.exit_code == 3


def test_conllu_without_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    path.write_text("# text = Ada\n1\tAda\tAda\tPROPN\t_\t_\t0\troot\t_\t_\n")
    with pytest.raises(DataError, match=r"a\.conllu:2: ") as caught:
        read_data(path)
    assert "is not a tag" in caught.value.why


@pytest.mark.parametrize(
    "features",
    [
        {"ner_tags": {"feature": LABELS, "_type": "List"}},
        {"ner_tags": {"feature": {"names": NAMES, "id": None, "_type": "ClassLabel"}, "_type": "Sequence"}},
        {"ner_tags": [LABELS]},
    ],
)
def test_numbers_get_the_names_that_the_file_holds(tmp_path: Path, features: Any) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(table([[1, 0], [3]], pyarrow.int64(), features))
    assert read_data(path).sentences == PLAIN
    header = [{"names": NAMES}, {"features": features}]
    for first in header:
        rows = [first, {"tokens": ["Ada", "sang"], "ner_tags": [1, 0]}, {"tokens": ["Oslo"], "ner_tags": [3]}]
        lines = tmp_path / "a.jsonl"
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert read_data(lines).sentences == PLAIN
    lines.write_text(json.dumps({"words": ["Oslo"], "tags": [1], "names": ["O", "B-LOC"]}))
    assert read_data(lines).sentences == PLAIN[1:]


def test_parquet_as_the_datasets_library_writes_it(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value, disable_progress_bars

    disable_progress_bars()
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=NAMES))})
    rows = {"tokens": [["Ada", "sang"], ["Oslo"]], "ner_tags": [[1, 0], [3]]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    assert read_data(tmp_path / "a.parquet").sentences == PLAIN


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        (table([[1, 0], [3]], pyarrow.int64()), "E-JSONL", "numbers, and no names for them"),
        (table([[1, 0], [4]], pyarrow.int64(), {"ner_tags": [LABELS]}), "E-JSONL", "tag 4, but there are 4"),
        (table([[1, 0], [-1]], pyarrow.int64(), {"ner_tags": [LABELS]}), "E-JSONL", "tag -1"),
        (table([["O"], ["O"]], pyarrow.string()), "E-JSONL", "2 words but 1 tags"),
        (table([["O", "O"], None], pyarrow.string()), "E-PARQUET", "row 2 has no list"),
        (table([["O", None], ["O"]], pyarrow.string()), "E-JSONL", "no list of strings"),
        (table([["O", "O"], ["per"]], pyarrow.string()), "E-JSONL", "per is not a tag"),
        (FILES["parquet"][:-9], "E-PARQUET", ""),
        (b"PAR1", "E-PARQUET", ""),
    ],
)
def test_tables_that_cannot_serve_are_told(tmp_path: Path, content: bytes, name: str, why: str) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)) as caught:
        read_data(path)
    assert caught.value.name == name
    assert why in caught.value.why


def test_a_table_needs_its_columns(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="parquet file of tagged words") as caught:
        read_data(tmp_path / "a.parquet")
    assert caught.value.why == "no columns tokens and ner_tags among text, label"


def test_a_name_is_believed_where_the_content_shows_nothing(tmp_path: Path) -> None:
    for name, told in (("a.jsonl", "E-JSONL"), ("b.jsonl.gz", "E-JSONL"), ("c.parquet", "E-PARQUET")):
        (tmp_path / name).write_bytes(b"this is neither\n")
        with pytest.raises(DataError) as caught:
            read_data(tmp_path / name)
        assert caught.value.name == told


def test_archives_that_are_cut_or_of_other_kinds_are_told(tmp_path: Path) -> None:
    content = FILES["conll"] * 5000
    for packed, pack in list(PACKED.items())[1:]:
        path = tmp_path / f"a.conll{packed}"
        path.write_bytes(pack(content)[:-7])
        with pytest.raises(DataError, match="broken or cut short"):
            read_data(path)
        path.write_bytes(pack(gzip.compress(content)))
        with pytest.raises(DataError, match=r"not read \(\.gz\)"):
            read_data(path)
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + content)
    with pytest.raises(DataError, match=r"not read \(zip\)") as caught:
        read_data(tmp_path / "a.zip")
    assert caught.value.name == "E-ARCHIVE-KIND"


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ner.data.opening.BOMB_BYTES", 1 << 20)
    path = tmp_path / "a.conll.zst"
    path.write_bytes(zstandard.compress(b"a\tO\n\n" * (1 << 20)))
    with pytest.raises(RefusedError, match="unpacks from") as caught:
        read_data(path)
    assert (caught.value.name, caught.value.exit_code) == ("E-BOMB", 11)
