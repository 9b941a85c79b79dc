"""What of a test set was seen before, counted by a search too slow to be wrong."""

import itertools
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ner.files import NerFile, PretrainingText
from ner.sets import Experiment, data_warnings, leaks, read_sets
from ner.sets.leaks import LEAST_CHARACTERS, search_text
from ner.tags import TaggedSentence

PLAN = [Experiment("aa", ("aa", "bb"))]


def conll(path: Path, *sentences: str) -> Path:
    """`word/TAG word` a sentence; a word without a tag is outside."""
    rows = [[word.partition("/") for word in sentence.split()] for sentence in sentences]
    path.write_text("".join("".join(f"{w}\t{t or 'O'}\n" for w, _, t in row) + "\n" for row in rows))
    return path


def sentence(text: str) -> TaggedSentence:
    words = tuple(text.split())
    return TaggedSentence(words, ("O",) * len(words))


def test_sentences_and_entities_that_training_has_are_counted(tmp_path: Path) -> None:
    train = conll(tmp_path / "train", "Ada/B-PER sang", "Oslo/B-LOC New/B-LOC York/I-LOC", "Bo/B-ORG ran")
    dev = conll(tmp_path / "dev", "he ran")
    own = conll(tmp_path / "own", "Ada/B-PER sang", "Ada/B-PER left")
    other = conll(
        tmp_path / "other",
        "Ada/B-PER sang",
        "he ran",
        "Ada/B-LOC York/B-LOC New/B-LOC York/I-LOC",
        "Bo/B-ORG Bo/B-ORG",
    )
    sets = read_sets(
        {"aa": {"train": train, "dev": dev, "test": own}, "bb": {"test": other}}, PLAN, labels=(), seed=1
    )
    found = leaks(sets, PLAN)
    assert found["aa"]["sentences_in_train"] == 1
    assert found["aa"]["entities"]["mentions_in_train"] == 2
    bb = found["bb"]
    assert (bb["trained_on"], bb["sentences"], bb["pretraining"]) == ("aa", 4, None)
    assert (bb["sentences_in_train"], bb["sentences_in_dev"]) == (1, 1)
    counts = bb["entities"]
    assert counts["per_type"] == {
        "LOC": {"mentions": 3, "mentions_in_train": 1, "distinct": 3, "distinct_in_train": 1},
        "ORG": {"mentions": 2, "mentions_in_train": 2, "distinct": 1, "distinct_in_train": 1},
        "PER": {"mentions": 1, "mentions_in_train": 1, "distinct": 1, "distinct_in_train": 1},
    }
    assert [counts[name] for name in ("mentions", "mentions_in_train")] == [6, 4]
    assert [counts[name] for name in ("distinct", "distinct_in_train")] == [5, 3]
    told = [warning["text"] for warning in data_warnings(sets, PLAN) if warning["name"] == "W-LEAK"]
    assert told == [
        "aa test (own): 1 sentences are in the training set too",
        "bb test (other): 1 sentences are in the training set too",
        "bb test (other): 1 sentences are in the set of selection too",
    ]


def test_a_test_set_that_is_the_training_set_is_all_leak(tmp_path: Path) -> None:
    path = conll(tmp_path / "all", "Ada/B-PER sang", "Oslo/B-LOC rose", "he ran")
    files = {"aa": {"train": path, "dev": path, "test": path}}
    plan = [Experiment("aa", ("aa",))]
    sets = read_sets(files, plan, labels=(), seed=1)
    assert leaks(sets, plan)["aa"]["sentences_in_train"] == 3
    assert "3 sentences are in the training set too" in str(data_warnings(sets, plan))


def test_sentences_of_the_pretraining_text_are_found_in_one_reading_for_all_sets(tmp_path: Path) -> None:
    readings = itertools.count()
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        read = next(readings) + 1
        yield "Before. “The queen, Ada, sang in Oslo all night.” After"
        yield "nothing of interest here, and it goes on"

    text = PretrainingText(lines)
    queen = conll(tmp_path / "q", "The queen , Ada/B-PER , sang in Oslo/B-LOC all night .", "Ada/B-PER sang")
    others = conll(tmp_path / "o", "The king , Bo/B-PER , sang in Oslo/B-LOC all night .")
    train = conll(tmp_path / "t", "Ada/B-PER ran to Oslo/B-LOC", "Bo/B-PER ran")
    data = {
        "aa": {"train": NerFile(train), "dev": NerFile(train), "test": NerFile(queen, text=text)},
        "bb": {"test": NerFile(others, text=text)},
    }
    sets = read_sets(data, PLAN, labels=(), seed=1)
    assert read == 0  # checks read no text
    found = leaks(sets, PLAN)
    assert found["aa"]["pretraining"] == {
        "sentences": 1, "short": 1, "lines": 2, "characters": 95, "complete": True
    }  # fmt: skip
    assert found["bb"]["pretraining"]["sentences"] == 0
    told = [warning["text"] for warning in data_warnings(sets, PLAN)]
    assert "aa test (q): 1 sentences are in the pretraining text" in told
    assert read == 1


def test_a_search_ends_when_all_is_found_or_its_bound_is_reached() -> None:
    wanted = sentence("a sentence of many words and letters")
    (found,) = search_text([[wanted]], itertools.repeat("so: a sentence of many words and letters."))
    assert (found.sentences, found.lines, found.complete) == (1, 1, True)
    (found,) = search_text([[wanted]], itertools.repeat("x" * 99), most_characters=1000)
    assert (found.sentences, found.lines, found.complete) == (0, 11, False)
    (found,) = search_text([[sentence("too short")]], itertools.repeat("too short"))
    assert (found.sentences, found.short, found.lines) == (0, 1, 0)


def test_unicode_forms_and_spaces_do_not_hide_a_sentence() -> None:
    text = "Müñchen, città di Perù è là sul fiume"
    words = text.replace(",", " ,")
    for form in ("NFC", "NFD"):
        lines = [unicodedata.normalize(form, text).replace(" ", "\u00a0 ")]
        (found,) = search_text([[sentence(unicodedata.normalize("NFD", words))]], lines)
        assert found.sentences == 1


def slow_search(sentences: list[TaggedSentence], lines: list[str]) -> int:
    count = 0
    for one in sentences:
        wanted = "".join(one.words)
        hits = [
            ("".join([word[skipped:], *line.split()[place + 1 :]])).startswith(wanted)
            for line in lines
            for place, word in enumerate(line.split())
            for skipped in range(len(word))
            if not skipped or (word[skipped].isalnum() and not any(map(str.isalnum, word[:skipped])))
        ]
        count += len(wanted) >= LEAST_CHARACTERS and any(hits)
    return count


pieces = st.lists(
    st.sampled_from(["aaaaa", "aaaa", "bbbbbb", "cc,", ",(cc", ",", "d"]), min_size=1, max_size=9
)


@given(st.lists(pieces, min_size=1, max_size=4), st.lists(pieces, max_size=4))
def test_the_search_finds_what_a_slow_one_finds(wanted: list[list[str]], text: list[list[str]]) -> None:
    sentences = [sentence(" ".join(words)) for words in wanted]
    lines = [" ".join(words) for words in text]
    (found,) = search_text([sentences], lines)
    assert found.sentences == slow_search(sentences, lines)
