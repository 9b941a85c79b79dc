"""Tokenizers written here, read by transformers 4 in an environment of its own: the same ids everywhere."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from extend.certificate import PROBES, probes_for, read_folders
from extend.certificate.comparisons import written_elsewhere
from extend.certificate.findings import required
from extend.certificate.probes import CASE_PROBE, sample_words
from extend.certificate.reload import Answer
from tests.extend.written_tokenizers import Written, finish_run
from tests.unigram_models import write_trained

OLD = Path(__file__).parents[2] / ".venv-transformers4" / "bin" / "python"
EVERYTHING = ("fast", "direct", "slow", "proto")
LETTERS = "abcdefgh"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not OLD.exists(), reason="needs transformers 4 beside: make transformers4"),
]


def texts_of(written: Written) -> list[str]:
    pieces = written.extension.base.pieces + written.extension.added
    lines = ["the riverbed ර walkwalk රර", "ර කර deed bad deaf", *LETTERS]
    return [*probes_for(pieces, special=("[MASK]", "<mask>"), texts=lines), *sample_words(pieces)]


def read_by_both(folder: Path, texts: Sequence[str]) -> tuple[Answer, Answer]:
    (ours,), versions = read_folders({folder: EVERYTHING}, texts, case=CASE_PROBE)
    (theirs,), old = read_folders({folder: EVERYTHING}, texts, case=CASE_PROBE, python=str(OLD))
    assert versions["transformers"].startswith("5.")
    assert old["transformers"].startswith("4.57.")
    return ours, theirs


@pytest.fixture
def wordpiece(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.fixture
def unigram(tmp_path: Path) -> Written:
    return Written(tmp_path, unigram=True)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_the_fast_tokenizer_is_the_same_in_everything(request, kind):
    written = request.getfixturevalue(kind)
    texts = texts_of(written)
    ours, theirs = read_by_both(written.folder, texts)
    assert ours.fast is not None
    assert theirs.fast == ours.fast
    assert len(theirs.fast.ids) == len(texts) > len(PROBES)
    assert list(theirs.fast.ids) == [encoding.ids for encoding in written.extended.encode_batch(texts)]
    assert theirs.fast.special["mask"] == ours.fast.special["mask"]


def test_the_slow_wordpiece_tokenizer_is_the_same(wordpiece):
    """But for accents written apart, which it composes first, as it does for the base."""
    texts = texts_of(wordpiece)
    _, theirs = read_by_both(wordpiece.folder, texts)
    assert theirs.slow is not None
    assert theirs.slow["kind"] == "BertTokenizer"
    assert "slow tokenizer" in required(written_elsewhere(theirs, texts))


@pytest.mark.parametrize("stage", ["vocab/tokenizer", "grown", "model"])
def test_every_folder_of_a_run_reads_the_same(tmp_path, wordpiece, stage):
    run = finish_run(tmp_path / "run", wordpiece)
    texts = texts_of(wordpiece)
    ours, theirs = read_by_both(run / stage, texts)
    assert theirs.fast == ours.fast
    assert set(required(written_elsewhere(theirs, texts))) == {"reload", "slow tokenizer"}


def test_without_vocab_txt_the_slow_wordpiece_tokenizer_fails(wordpiece):
    """Why vocab.txt is written, though transformers 5 does not."""
    (wordpiece.folder / "vocab.txt").unlink()
    ours, theirs = read_by_both(wordpiece.folder, PROBES)
    assert theirs.fast == ours.fast
    assert "TypeError" in theirs.errors["slow"]


def test_the_slow_xlmr_tokenizer_fails_and_does_not_take_old_pieces(unigram):
    _, theirs = read_by_both(unigram.folder, PROBES)
    assert theirs.slow is None
    assert "False" in theirs.errors["slow"]


def test_a_sentencepiece_model_left_beside_is_what_the_slow_xlmr_tokenizer_takes(unigram, tmp_path):
    """Why it is not written: it loads without a word, and knows nothing of the added pieces."""
    shutil.copy(write_trained(tmp_path / "old") / "sentencepiece.bpe.model", unigram.folder)
    ours, theirs = read_by_both(unigram.folder, PROBES)
    assert theirs.fast == ours.fast
    assert theirs.slow is not None
    seen = {found.name: found.holds for found in written_elsewhere(theirs, PROBES)}
    assert seen["slow tokenizer"] is False
    assert {found.name: found.holds for found in written_elsewhere(ours, PROBES)}[
        "sentencepiece.bpe.model"
    ] is False
