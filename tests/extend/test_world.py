"""The made world: the same bytes from the same seed, languages apart, and nothing to win by memorising."""

import hashlib
import itertools
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.world import (
    BASE_LANGUAGES,
    NEW_LANGUAGE,
    LabelledSentence,
    World,
    WorldSize,
    make_world,
    write_world,
)
from extend.world.meanings import TOPICS
from extend.world.sounds import CONSONANTS, TONGUES, VOWELS, Coiner

SMALL = WorldSize(base_words=4_000, new_words=4_000, train=60, dev=20, test=40)
MEDIUM = WorldSize(base_words=100_000, new_words=60_000, train=800, dev=200, test=500)
LANGUAGES = (*BASE_LANGUAGES, NEW_LANGUAGE)
MARKS = str.maketrans({mark: f" {mark}" for mark in ",.?"})


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(seed=7, size=MEDIUM)


def words_of(world: World, code: str) -> list[str]:
    return [
        word
        for document in world.documents[code]
        for sentence in document
        for word in sentence.translate(MARKS).split()
    ]


def mentions(sentence: LabelledSentence) -> list[tuple[int, int, str]]:
    """Spans by a plain scan of legal IOB2."""
    spans: list[tuple[int, int, str]] = []
    for position, tag in enumerate(sentence.tags):
        if tag.startswith("B-"):
            spans.append((position, position + 1, tag[2:]))
        elif tag.startswith("I-"):
            spans[-1] = (spans[-1][0], position + 1, spans[-1][2])
    return spans


def proper_words(world: World, code: str, split: str) -> set[str]:
    """Labelled words which are names in themselves, by the lexicon; not the `bank` of a bank's name."""
    names = {
        form for role in world.lexicons[code].names.values() for forms in role.values() for form in forms
    }
    labelled = (
        word
        for sentence in world.ner[code][split]
        for word, tag in zip(sentence.words, sentence.tags, strict=True)
        if tag != "O"
    )
    return {word for word in labelled if word in names}


def names_of(sentences: Iterable[LabelledSentence]) -> set[tuple[str, ...]]:
    return {s.words[start:end] for s in sentences for start, end, _ in mentions(s)}


DIGEST = """
import hashlib, sys
from extend.world import WorldSize, make_world
world = make_world(seed=3, size=WorldSize(base_words=3000, new_words=3000, train=40, dev=10, test=20))
print(hashlib.sha256(repr((world.documents, world.ner)).encode()).hexdigest())
"""


def test_same_bytes_in_any_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(digests) == 1


@given(st.integers(min_value=0, max_value=2**40))
@settings(max_examples=4, deadline=None)
def test_another_seed_is_another_world(seed: int) -> None:
    tiny = WorldSize(base_words=300, new_words=300, train=5, dev=5, test=5)
    first, second = (make_world(seed=one, size=tiny) for one in (seed, seed + 1))
    assert first.documents != second.documents
    assert first.lexicons[NEW_LANGUAGE].words != second.lexicons[NEW_LANGUAGE].words


def test_written_files_hold_the_world(tmp_path: Path) -> None:
    world = make_world(seed=5, size=SMALL)
    write_world(world, tmp_path)
    for code in LANGUAGES:
        text = (tmp_path / "text" / f"{code}.txt").read_text(encoding="utf-8")
        documents = tuple(tuple(block.splitlines()) for block in text.strip("\n").split("\n\n"))
        assert documents == world.documents[code]
        for split in ("train", "dev", "test"):
            blocks = (tmp_path / "ner" / code / f"{split}.conll").read_text(encoding="utf-8").split("\n\n")
            read = [[tuple(row.split("\t")) for row in block.splitlines()] for block in blocks]
            assert [tuple(zip(*rows, strict=True)) for rows in read] == [
                (sentence.words, sentence.tags) for sentence in world.ner[code][split]
            ]


def test_writing_twice_gives_equal_files(tmp_path: Path) -> None:
    world = make_world(seed=5, size=SMALL)
    for name in ("one", "two"):
        write_world(world, tmp_path / name)
    digests = [
        {
            path.relative_to(tmp_path / name).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    ]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 4 + 4 * 3


def test_the_new_script_is_in_no_base_language(world: World) -> None:
    letters = {code: {c for word in words_of(world, code) for c in word if c.isalpha()} for code in LANGUAGES}
    for index, code in enumerate(LANGUAGES):
        for other in LANGUAGES[index + 1 :]:
            assert not letters[code] & letters[other]
    assert all("\u10d0" <= letter <= "\u10ff" for letter in letters[NEW_LANGUAGE])


def test_no_script_has_capitals(world: World) -> None:
    for code in LANGUAGES:
        assert all(word == word.lower() for word in words_of(world, code))


def test_tags_are_legal_iob2(world: World) -> None:
    labels = Counter(
        label
        for code in LANGUAGES
        for split in world.ner[code].values()
        for sentence in split
        for _, _, label in mentions(sentence)
    )
    for code in LANGUAGES:
        for split in world.ner[code].values():
            for sentence in split:
                previous = "O"
                assert len(sentence.words) == len(sentence.tags)
                for tag in sentence.tags:
                    assert tag == "O" or tag[:2] in ("B-", "I-")
                    assert not tag.startswith("I-") or previous[2:] == tag[2:]
                    previous = tag
    assert set(labels) == {"PER", "LOC", "ORG"}
    assert min(labels.values()) > 0.2 * sum(labels.values())


def test_names_of_the_test_sentences_are_not_in_training_or_dev(world: World) -> None:
    for code in LANGUAGES:
        known = proper_words(world, code, "train") | proper_words(world, code, "dev")
        tested = proper_words(world, code, "test")
        assert len(tested) > 100
        assert not tested & known
        seen = names_of(world.ner[code]["train"]) | names_of(world.ner[code]["dev"])
        assert not names_of(world.ner[code]["test"]) & seen


def test_names_are_apart_across_languages_too(world: World) -> None:
    """The root behind a test name of any language makes no training name in any other."""
    roots: dict[str, set[int]] = defaultdict(set)
    for code in LANGUAGES:
        for split in ("train", "test"):
            words = proper_words(world, code, split)
            for role in world.lexicons[code].names.values():
                roots[split] |= {index for index, forms in role.items() if not words.isdisjoint(forms)}
    assert len(roots["train"]) > 200
    assert len(roots["test"]) > 150
    assert not roots["train"] & roots["test"]


def test_some_test_names_are_in_no_raw_text(world: World) -> None:
    unheard = {root.index for root in world.meanings.roots if root.unheard}
    for code in LANGUAGES:
        raw = set(words_of(world, code))
        tested = proper_words(world, code, "test")
        missing = {word for word in tested if word not in raw}
        assert 0.15 < len(missing) / len(tested) < 0.75
    assert all(world.meanings.roots[index].pool == "test" for index in unheard)


def test_no_labelled_sentence_is_in_the_raw_text(world: World) -> None:
    for code in LANGUAGES:
        raw = {sentence for document in world.documents[code] for sentence in document}
        long_ones = [
            " ".join(sentence.words).replace(" ,", ",").replace(" .", ".")
            for sentence in world.ner[code]["test"]
            if len(sentence.words) > 5
        ]
        assert len(long_ones) > 200
        assert not raw & set(long_ones)


def test_languages_have_their_own_words_but_share_some(world: World) -> None:
    """Transcribed to sounds, a part of the words are alike (inherited), most are not."""
    sounds = [set(world.lexicons[code].stems) for code in LANGUAGES]
    shared = len(sounds[0] & sounds[3]) / len(sounds[0])
    assert shared < 0.3
    names = [set(world.lexicons[code].names["given"]) for code in LANGUAGES]
    assert names[0] == names[3]


def test_vocabulary_is_large_and_has_a_long_tail(world: World) -> None:
    for code in BASE_LANGUAGES:
        counts = Counter(words_of(world, code))
        assert 2_700 < len(counts) < 20_000
        hapaxes = sum(count == 1 for count in counts.values())
        assert hapaxes > 0.15 * len(counts)
        frequent = sum(count for _, count in counts.most_common(100))
        assert 0.3 < frequent / counts.total() < 0.8


def test_words_are_inflected_and_alike(world: World) -> None:
    for code in LANGUAGES:
        lexicon = world.lexicons[code]
        assert all(len(set(forms)) == 4 for forms in lexicon.words["thing"])
        meant = Counter(forms[0] for kind in lexicon.words.values() for forms in kind)
        homographs = sum(count for count in meant.values() if count > 1)
        assert homographs > 0.05 * meant.total()


def test_one_word_may_be_a_name_of_several_types_or_none(world: World) -> None:
    for code in LANGUAGES:
        labels: dict[str, set[str]] = defaultdict(set)
        for split in world.ner[code].values():
            for sentence in split:
                for word, tag in zip(sentence.words, sentence.tags, strict=True):
                    labels[word].add(tag[-3:] if tag != "O" else "O")
        named = [kinds for kinds in labels.values() if kinds != {"O"}]
        assert sum(len(kinds) > 1 for kinds in named) > 0.1 * len(named)
        raw = set(words_of(world, code))
        common = {forms[0] for kind in world.lexicons[code].words.values() for forms in kind}
        assert len(proper_words(world, code, "test") & common & raw) > 3


def test_documents_keep_to_a_topic(world: World) -> None:
    """Two sentences of one document share content words far more often than two of different ones."""
    for code in LANGUAGES:
        function = set(world.lexicons[code].function.values())

        def content(sentence: str, function: set[str] = function) -> set[str]:
            return set(sentence.translate(MARKS).split()) - function - set(",.?")

        documents = world.documents[code]
        inside = [bool(content(d[0]) & content(d[1])) for d in documents]
        across = [bool(content(d[0]) & content(e[1])) for d, e in itertools.pairwise(documents)]
        assert sum(inside) > 1.7 * sum(across)
    assert TOPICS == 24


def memoriser_f1(train: Sequence[LabelledSentence], test: Sequence[LabelledSentence]) -> float:
    """Span F1 of giving each word the tag it had most often in training."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in train:
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            seen[word][tag] += 1
    right = guessed = wanted = 0
    for sentence in test:
        tags = [seen[word].most_common(1)[0][0] if word in seen else "O" for word in sentence.words]
        for position in range(len(tags)):
            before = tags[position - 1] if position else "O"
            if tags[position].startswith("I-") and before[2:] != tags[position][2:]:
                tags[position] = "B" + tags[position][1:]
        found = set(mentions(LabelledSentence(sentence.words, tuple(tags))))
        gold = set(mentions(sentence))
        right, guessed, wanted = right + len(found & gold), guessed + len(found), wanted + len(gold)
    return 200 * right / (guessed + wanted)


def test_memorising_names_does_not_reach_the_scores(world: World) -> None:
    for code in LANGUAGES:
        splits = world.ner[code]
        assert memoriser_f1(splits["train"], splits["train"]) > 60
        assert memoriser_f1(splits["train"], splits["test"]) < 20


@given(st.text(alphabet=CONSONANTS + VOWELS, min_size=1, max_size=12))
def test_writing_keeps_sounds_apart(sounds: str) -> None:
    for tongue in TONGUES:
        letters = {letter: sound for sound, letter in tongue.letters.items()}
        assert "".join(letters[letter] for letter in tongue.write(sounds)) == sounds


@given(st.text(alphabet=CONSONANTS + VOWELS, min_size=1, max_size=8))
def test_sound_laws_give_sayable_words(root: str) -> None:
    for tongue in TONGUES:
        assert set(tongue.inherit(root)) <= set(CONSONANTS + VOWELS)


def test_coined_words_are_never_alike() -> None:
    coiner = Coiner(random.Random(1), TONGUES[0])
    words = [coiner.coin(1) for _ in range(600)]
    assert len(set(words)) == 600
