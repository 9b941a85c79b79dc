"""results.json, matrix.csv, confusion.csv and the prediction files, as text."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ner.results import Outcome, TestSet

COLUMNS = (
    "encoder",
    "language",
    "trained_on",
    "seeds",
    "f1_mean",
    "f1_std",
    "f1_median",
    "f1_min",
    "f1_max",
    "ci95_low",
    "ci95_high",
    "strict_f1_mean",
    "span_f1_mean",
    "overlap_f1_mean",
    "partial_f1_mean",
    "illegal",
    "unk_rate",
    "fertility",
    "collapsed",
    "difference",
    "difference_low",
    "difference_high",
    "p_holm",
    "aso",
    "verdict",
)

_NUMBERS = re.compile(r"\[\n([-+.,\deE\s]*)\]")


def json_text(value: Any) -> str:
    """Indented JSON in which a list of numbers stands on one line."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def matrix_text(results: Mapping[str, Any]) -> str:
    """One row an encoder and language, comma-separated; the difference is from the first encoder."""
    rows = []
    for encoder, cells in results["encoders"].items():
        for language, cell in cells.items():
            gap = results["differences"].get(language, {}).get(encoder)
            wide = {**cell, **cell["lenient"], "encoder": encoder, "language": language}
            wide |= {"seeds": len(cell["f1"]), "f1_min": min(cell["f1"]), "f1_max": max(cell["f1"])}
            wide |= {"ci95_low": cell["ci95"][0], "ci95_high": cell["ci95"][1]}
            if gap:
                wide |= {
                    "aso": gap.get("aso", ""),
                    "difference": gap["f1"],
                    "p_holm": gap["p_holm"],
                    "verdict": gap["verdict"],
                }
                wide |= {"difference_low": gap["ci95"][0], "difference_high": gap["ci95"][1]}
            rows.append([wide.get(column, "") for column in COLUMNS])
    return csv_text(COLUMNS, rows)


def confusion_text(results: Mapping[str, Any]) -> str:
    """What was taken for what, over all seeds; `same_words` is 1 where both spans have the same words."""
    header = ("encoder", "language", "gold", "predicted", "same_words", "count")
    rows = [
        [encoder, language, row["gold"], row["predicted"], int(row["same_words"]), row["count"]]
        for encoder, cells in results["encoders"].items()
        for language, cell in cells.items()
        for row in cell["confusion"]
    ]
    return csv_text(header, rows)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Comma-separated rows ended by LF."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def prediction_name(outcome: Outcome, *, scored: bool = True) -> str:
    """`ENCODER-TRAIN-TEST-seedN.conll`; not `scored`: the selection stands before the seed."""
    kept = "" if scored else f"-{re.sub(r'[^0-9A-Za-z_.]+', '-', outcome.selection)}"
    return f"{outcome.encoder}-{outcome.train}-{outcome.test}{kept}-seed{outcome.seed}.conll"


def prediction_text(outcome: Outcome, test: TestSet) -> str:
    """Columns word, gold tag, predicted tag and, where known, confidence; a blank line after a sentence."""
    blocks = []
    for number, (sentence, tags) in enumerate(zip(test.sentences, outcome.predicted, strict=True)):
        columns: list[Sequence[str]] = [sentence.words, sentence.tags, tags]
        if outcome.confidence is not None:
            columns.append([f"{value:.4f}" for value in outcome.confidence[number]])
        rows = ("\t".join(row) for row in zip(*columns, strict=True))
        blocks.append("".join(f"{row}\n" for row in rows) + "\n")
    return "".join(blocks)
