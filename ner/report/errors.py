"""Every wrong span as a record: errors.jsonl, and what the page of examples is made from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ner.mistakes import mistakes_of
from ner.results import Outcome, TestSet
from ner.tags import Span

CONTEXT = 8
"""Words shown before and after an error."""

Record = dict[str, Any]


def error_records(outcomes: Sequence[Outcome], tests: Mapping[str, TestSet]) -> Iterator[Record]:
    """Every wrong span of the first seed (and first selection) of each encoder and language, in order.

    `sentence` counts from 0; `gold` and `predicted` are `{start, end, label, text}` or null, in words;
    `before` and `after` are up to 8 words around both; `pieces` of each word from the first to the last
    of the two spans, null where the encoder's pieces were not given; `confidence` of the predicted span,
    null where there is none; `unk`: one of these words has an [UNK].
    """
    seen: set[tuple[str, str]] = set()
    for outcome in outcomes:
        if (outcome.encoder, outcome.test) not in seen:
            seen.add((outcome.encoder, outcome.test))
            yield from _of_outcome(outcome, tests[outcome.test])


def _of_outcome(outcome: Outcome, test: TestSet) -> Iterator[Record]:
    unknown = test.unknown_words.get(outcome.encoder, frozenset())
    pieces = test.pieces.get(outcome.encoder)
    for number, (sentence, tags) in enumerate(zip(test.sentences, outcome.predicted, strict=True)):
        for mistake in mistakes_of(sentence.tags, tags):
            spans = [span for span in (mistake.gold, mistake.predicted) if span is not None]
            start, end = min(span.start for span in spans), max(span.end for span in spans)
            words = sentence.words[start:end]
            yield {
                "encoder": outcome.encoder,
                "train": outcome.train,
                "test": outcome.test,
                "seed": outcome.seed,
                "sentence": number,
                "kind": mistake.kind,
                "gold": _shown(mistake.gold, sentence.words),
                "predicted": _shown(mistake.predicted, sentence.words),
                "confidence": _confidence(outcome, number, mistake.predicted),
                "unk": any(word in unknown for word in words),
                "pieces": None if pieces is None else [list(pieces.get(word, ())) for word in words],
                "words": list(words),
                "before": list(sentence.words[max(0, start - CONTEXT) : start]),
                "after": list(sentence.words[end : end + CONTEXT]),
            }


def _shown(span: Span | None, words: Sequence[str]) -> Record | None:
    if span is None:
        return None
    text = " ".join(words[span.start : span.end])
    return {"start": span.start, "end": span.end, "label": span.label, "text": text}


def _confidence(outcome: Outcome, sentence: int, span: Span | None) -> float | None:
    if span is None or outcome.confidence is None:
        return None
    return round(min(outcome.confidence[sentence][span.start : span.end]), 4)
