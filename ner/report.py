"""What ner-eval leaves in its folder: results.json, report.md, matrix.csv, errors.jsonl, predictions."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from extend.store import make_directory, write_json, write_text
from ner.mistakes import mistakes_of
from ner.results import Outcome, TestSet
from ner.tags import Span

COLUMNS = (
    "encoder",
    "language",
    "trained_on",
    "seeds",
    "f1_mean",
    "f1_std",
    "ci95_low",
    "ci95_high",
    "strict_f1_mean",
    "illegal",
    "unk_rate",
    "fertility",
    "collapsed",
)


def write_results(
    directory: Path, results: Mapping[str, Any], outcomes: Sequence[Outcome], tests: Mapping[str, TestSet]
) -> None:
    """Fill `directory`, a folder that is about to be published."""
    write_json(directory / "results.json", results)
    write_text(directory / "report.md", report_text(results))
    write_text(directory / "matrix.csv", matrix_text(results))
    write_text(directory / "errors.jsonl", "".join(_error_lines(outcomes, tests)))
    folder = make_directory(directory / "predictions")
    for outcome in outcomes:
        write_text(folder / prediction_name(outcome), prediction_text(outcome, tests[outcome.test]))


def prediction_name(outcome: Outcome) -> str:
    """`ENCODER-TRAIN-TEST-seedN.conll`, the file of one head's predictions on one set."""
    return f"{outcome.encoder}-{outcome.train}-{outcome.test}-seed{outcome.seed}.conll"


def prediction_text(outcome: Outcome, test: TestSet) -> str:
    """Columns word, gold tag, predicted tag; a blank line after every sentence."""
    blocks = (
        "".join(
            f"{row[0]}\t{row[1]}\t{row[2]}\n" for row in zip(sentence.words, sentence.tags, tags, strict=True)
        )
        for sentence, tags in zip(test.sentences, outcome.predicted, strict=True)
    )
    return "".join(f"{block}\n" for block in blocks)


def matrix_text(results: Mapping[str, Any]) -> str:
    """One row an encoder and language, comma-separated."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for encoder, cells in results["encoders"].items():
        for language, cell in cells.items():
            wide = {
                **cell,
                "encoder": encoder,
                "language": language,
                "seeds": len(cell["f1"]),
                "ci95_low": cell["ci95"][0],
                "ci95_high": cell["ci95"][1],
            }
            writer.writerow([wide[column] for column in COLUMNS])
    return buffer.getvalue()


def _error_lines(outcomes: Sequence[Outcome], tests: Mapping[str, TestSet]) -> Iterator[str]:
    """Every wrong span of the first seed of each encoder and language."""
    seen: set[tuple[str, str]] = set()
    for outcome in outcomes:
        if (outcome.encoder, outcome.test) in seen:
            continue
        seen.add((outcome.encoder, outcome.test))
        test = tests[outcome.test]
        unknown = test.unknown_words[outcome.encoder]
        for number, (sentence, tags) in enumerate(zip(test.sentences, outcome.predicted, strict=True)):
            for mistake in mistakes_of(sentence.tags, tags):
                place = mistake.place
                record = {
                    "encoder": outcome.encoder,
                    "train": outcome.train,
                    "test": outcome.test,
                    "seed": outcome.seed,
                    "sentence": number,
                    "kind": mistake.kind,
                    "gold": _shown(mistake.gold, sentence.words),
                    "predicted": _shown(mistake.predicted, sentence.words),
                    "unk": any(word in unknown for word in sentence.words[place.start : place.end]),
                }
                yield json.dumps(record, ensure_ascii=False) + "\n"


def _shown(span: Span | None, words: Sequence[str]) -> dict[str, Any] | None:
    if span is None:
        return None
    text = " ".join(words[span.start : span.end])
    return {"start": span.start, "end": span.end, "label": span.label, "text": text}


def report_text(results: Mapping[str, Any]) -> str:
    """report.md: one table a language, the differences, the types, and how to read them."""
    settings = results["settings"]
    lines = [
        f"# NER, {results['protocol']}",
        "",
        f"Heads trained on {results['source'] or 'each language itself'}, {_seeds_told(settings)}, "
        f"labels {', '.join(results['labels']) or 'all'}. "
        "F1 is of exact spans, in percent, illegal tags repaired as conlleval does; `strict` discards them.",
    ]
    languages = list(next(iter(results["encoders"].values())))
    for language in languages:
        lines += ["", *_language_lines(language, results)]
    if results["warnings"]:
        lines += ["", "## Warnings", ""]
        lines += [f"- {warning['name']}: {warning['text']}" for warning in results["warnings"]]
    return "\n".join(lines) + "\n"


def _seeds_told(settings: Mapping[str, Any]) -> str:
    if settings["seeds"] == 1:
        return f"seed {settings['first_seed']} only (how much seeds differ is not known)"
    return f"seeds {settings['first_seed']} to {settings['first_seed'] + settings['seeds'] - 1}"


def _language_lines(language: str, results: Mapping[str, Any]) -> list[str]:
    test = results["data"][language]["test"]
    lines = [
        f"## {language}",
        "",
        f"Test: {test['sentences']:,} sentences, {test['words']:,} words, {test['entities']:,} entities, "
        f"sha256 {test['sha256'][:12]}.",
        "",
        "| encoder | F1 | range | 95 % interval | strict | illegal | collapsed | UNK | fertility |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for encoder, cells in results["encoders"].items():
        cell = cells[language]
        lines.append(
            f"| {encoder} | {cell['f1_mean']:.1f} ± {cell['f1_std']:.1f} "
            f"| {min(cell['f1']):.1f} to {max(cell['f1']):.1f} "
            f"| {cell['ci95'][0]:.1f} to {cell['ci95'][1]:.1f} | {cell['strict_f1_mean']:.1f} "
            f"| {cell['illegal']} | {cell['collapsed']}/{len(cell['f1'])} "
            f"| {100 * cell['unk_rate']:.1f} % | {cell['fertility']:.2f} |"
        )
    lines += [_difference_line(name, gap) for name, gap in results["differences"][language].items()]
    lines += ["", "| encoder | type | precision | recall | F1 | entities |", "| --- " * 6 + "|"]
    for encoder, cells in results["encoders"].items():
        lines += [
            f"| {encoder} | {label} | {rate['precision']:.1f} | {rate['recall']:.1f} | {rate['f1']:.1f} "
            f"| {rate['support']} |"
            for label, rate in cells[language]["per_type"].items()
        ]
    lines += ["", "Errors with the first seed: " + "; ".join(_error_counts(language, results)) + "."]
    return lines


def _difference_line(encoder: str, gap: Mapping[str, Any]) -> str:
    verdict = "the same tags" if gap["identical"] else "within noise" if gap["noise"] else "beyond noise"
    return (
        f"\n{encoder} minus {gap['against']}: {gap['f1']:+.1f}, 95 % interval {gap['ci95'][0]:+.1f} to "
        f"{gap['ci95'][1]:+.1f}, p {gap['p']:.4f} (Holm over languages {gap['p_holm']:.4f}): {verdict}."
    )


def _error_counts(language: str, results: Mapping[str, Any]) -> list[str]:
    return [
        f"{encoder} " + ", ".join(f"{kind} {count}" for kind, count in cells[language]["errors"].items())
        for encoder, cells in results["encoders"].items()
    ]
