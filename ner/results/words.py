"""What each tokenizer makes of the words of a test set: the content of tokens.json."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ner.results.outcomes import TestSet

TOP = 50


def token_statistics(tests: Mapping[str, TestSet]) -> dict[str, Any]:
    """By language: `words`, `distinct_words`, `never_in_training{TRAIN: share}` and `encoders{ENCODER{...}}`.

    An encoder has `fertility`, `unk_rate`, `top_unk_words` ([word, times], the 50 most frequent) and, where
    pieces are known, `continuation_share` (pieces that go on a word) and `words_by_pieces` ([pieces, words]).
    Shares are of words of the text.
    """
    return {language: _of_language(test) for language, test in tests.items()}


def _of_language(test: TestSet) -> dict[str, Any]:
    counts = Counter(word for sentence in test.sentences for word in sentence.words)
    total = counts.total()
    return {
        "words": total,
        "distinct_words": len(counts),
        "never_in_training": {
            train: round(sum(times for word, times in counts.items() if word not in seen.words) / total, 6)
            for train, seen in test.seen.items()
        },
        "encoders": {encoder: _of_encoder(encoder, test, counts) for encoder in test.fertility},
    }


def _of_encoder(encoder: str, test: TestSet, counts: Counter[str]) -> dict[str, Any]:
    unknown = {word: counts[word] for word in test.unknown_words.get(encoder, ()) if word in counts}
    ranked = sorted(unknown.items(), key=lambda pair: (-pair[1], pair[0]))
    told = {
        "fertility": round(test.fertility[encoder], 6),
        "unk_rate": round(test.unk_rate[encoder], 6),
        "top_unk_words": [[word, times] for word, times in ranked[:TOP]],
    }
    if encoder in test.pieces:
        sizes: Counter[int] = Counter()
        for word, times in counts.items():
            sizes[len(test.pieces[encoder].get(word, ("",)))] += times
        pieces = sum(size * times for size, times in sizes.items())
        told["continuation_share"] = round(1 - sizes.total() / pieces, 6) if pieces else 0.0
        told["words_by_pieces"] = [[size, sizes[size]] for size in sorted(sizes)]
    return told
