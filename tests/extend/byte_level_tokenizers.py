"""Byte-level tokenizers of three families, made offline, for tests."""

import collections
import functools
import itertools

from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from extend.tokenizer import (
    kind_of,
)
from extend.tokenizer.byte_level_kind import BERT_NAMES, EUROBERT_NAMES, LETTERS, ROBERTA_NAMES
from extend.types import VocabularyExtension

FAMILIES = {"bert": BERT_NAMES, "roberta": ROBERTA_NAMES, "eurobert": EUROBERT_NAMES}
TEXT = (
    "the old house by the river has the walking stone there these other mother weather "
    "das alte haus am fluss der dem den дом река домик в доме на реке камень Ünïcode naïve 12 345. "
) * 3 + "да ад дно еды " * 6
SIGNS = [*"theriousdк дома. ,?!12\n\tÜï", "රි", "ෆ", "中", "\u200d", "é", "e\u0301", "[MASK]", "<mask>", "<s>"]
WORDS = st.lists(st.sampled_from(SIGNS), max_size=20).map("".join)
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def spelling(text: str) -> str:
    """The letters of a text's bytes, from the splitter that `tokenizers` has."""
    (word,) = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return word[0]


@functools.cache
def learned(count: int = 60) -> tuple[tuple[str, str], ...]:
    """Merges as BPE learns them, the most frequent pair first, ties by the pair."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = collections.Counter(tuple(word) for word, _ in splitter.pre_tokenize_str(TEXT))
    merges = []
    for _ in range(count):
        pairs = collections.Counter()
        for word, times in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = collections.Counter({joined(word, best): times for word, times in words.items()})
    return tuple(merges)


def joined(word, pair):
    found, at = [], 0
    while at < len(word):
        step = 2 if word[at : at + 2] == pair else 1
        found.append("".join(word[at : at + step]))
        at += step
    return tuple(found)


def base_tokenizer(family: str = "bert") -> Tokenizer:
    """GPT-2's rules with a family's special tokens; EuroBERT's look whole words up and split by a pattern."""
    names = dict.fromkeys(FAMILIES[family].values())
    pieces = [*names, *sorted(LETTERS.values()), *("".join(merge) for merge in learned())]
    ids = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(ids, list(learned()), ignore_merges=family == "eurobert"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if family == "eurobert":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    if family == "bert":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(names))
    start, end = FAMILIES[family]["cls"], FAMILIES[family]["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, ids[start]), (end, ids[end])]
    )
    return tokenizer


ADDED = tuple(map(spelling, (" house", " дома", "කර", "ර", " mothers", "é", "river", "weather")))


def extended_tokenizer(base=None, wanted=ADDED):
    base = base or base_tokenizer()
    kind = kind_of(base)
    return kind.extended(base, VocabularyExtension(kind.vocabulary(base), kind.completed(base, wanted)))
