"""Predictions of two made systems on two small test sets, one of them written from right to left."""

from typing import Any

from ner.results import Outcome, Seen, TestSet, scored
from ner.tags import TaggedSentence

UYGHUR = (
    TaggedSentence(("ئەخمەت", "ئۈرۈمچىگە", "باردى"), ("B-PER", "B-LOC", "O")),
    TaggedSentence(("شىنجاڭ", "ئۇنىۋېرسىتېتى", "چوڭ"), ("B-ORG", "I-ORG", "O")),
    TaggedSentence(("ئۇ", "كەلدى"), ("O", "O")),
)
ENGLISH = (
    TaggedSentence(("Ada", "Lovelace", "saw", "Oslo"), ("B-PER", "I-PER", "O", "B-LOC")),
    TaggedSentence(("nobody", "sang"), ("O", "O")),
)
TRAINING = (TaggedSentence(("Oslo", "sang"), ("B-LOC", "O")), TaggedSentence(("ئەخمەت",), ("B-PER",)))
BASE = {
    "ug": (("B-PER", "O", "O"), ("O", "B-ORG", "O"), ("O", "B-LOC")),
    "en": (("B-PER", "I-PER", "O", "B-LOC"), ("O", "O")),
}
EXTENDED = {
    "ug": (("B-PER", "B-ORG", "O"), ("B-ORG", "I-ORG", "O"), ("O", "O")),
    "en": (("B-PER", "I-PER", "O", "B-LOC"), ("O", "O")),
}
SENTENCES = {"en": ENGLISH, "ug": UYGHUR}


def made_tests() -> dict[str, TestSet]:
    """The base reads Uyghur as [UNK]; the extended encoder has a piece for every Uyghur word."""
    tests = {}
    for language, sentences in SENTENCES.items():
        words = frozenset(word for sentence in sentences for word in sentence.words)
        strange = words if language == "ug" else frozenset()
        tests[language] = TestSet(
            sentences,
            unk_rate={"base": float(language == "ug"), "extended": 0.0},
            fertility={"base": 1.0, "extended": 1.25},
            unknown_words={"base": strange, "extended": frozenset()},
            pieces={
                "base": {word: ("[UNK]",) if word in strange else (word,) for word in words},
                "extended": {word: (word[:2], f"##{word[2:]}") for word in words},
            },
            new_pieces={"base": frozenset(), "extended": frozenset(word[:2] for word in strange)},
            seen={"en": Seen.of(TRAINING)},
        )
    return tests


def made_outcomes() -> list[Outcome]:
    """Three seeds each; the last seed of the base predicts nothing."""
    outcomes = []
    for encoder, tags in (("base", BASE), ("extended", EXTENDED)):
        for language in SENTENCES:
            for seed in (1, 2, 3):
                predicted = tags[language]
                if encoder == "base" and seed == 3:
                    predicted = tuple(("O",) * len(one) for one in predicted)
                confidence = tuple(tuple(0.5 + 0.1 * place for place in range(len(one))) for one in predicted)
                outcomes.append(
                    Outcome(encoder, "en", language, seed, predicted, 90.0, 4, confidence=confidence)
                )
    return outcomes


def made_results(outcomes: list[Outcome], tests: dict[str, TestSet], **options: Any) -> dict[str, Any]:
    """What results.json holds of these outcomes."""
    data = {
        language: {
            "test": {
                "sha256": "ab" * 32,
                "sentences": len(test.sentences),
                "words": sum(len(one.words) for one in test.sentences),
                "entities": sum(tag[0] == "B" for tags in test.tags for tag in tags),
                "scheme": "IOB2",
            }
        }
        for language, test in tests.items()
    }
    head = {"schema": 1, "protocol": "zero-shot", "source": "en", "targets": ["ug"], "labels": []}
    settings = {"seeds": 3, "first_seed": 1}
    return {
        **head,
        "settings": settings,
        "data": data,
        **scored(outcomes, tests, seed=5, **options),
        "seconds": 1.0,
    }
