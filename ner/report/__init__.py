"""What ner-eval leaves in its folder: numbers, tables, pictures, errors and predictions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from extend.store import make_directory, write_text
from ner.report.errors import error_records
from ner.report.markdown import report_text
from ner.report.page import errors_page
from ner.report.plots import heatmap_svg, intervals_svg
from ner.report.tables import confusion_text, json_text, matrix_text, prediction_name, prediction_text
from ner.results import Outcome, TestSet, token_statistics

__all__ = ["write_results"]


def write_results(
    directory: Path, results: Mapping[str, Any], outcomes: Sequence[Outcome], tests: Mapping[str, TestSet]
) -> None:
    """Fill `directory`, a folder that is about to be published."""
    records = list(error_records(outcomes, tests))
    files = {
        "results.json": json_text(results),
        "report.md": report_text(results),
        "matrix.csv": matrix_text(results),
        "confusion.csv": confusion_text(results),
        "tokens.json": json_text(results.get("tokens") or token_statistics(tests)),
        "errors.jsonl": "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records),
        "errors.html": errors_page(results, records),
        "heatmap.svg": heatmap_svg(results),
        "intervals.svg": intervals_svg(results),
    }
    for name, text in files.items():
        write_text(directory / name, text)
    folder = make_directory(directory / "predictions")
    first: dict[tuple[str, str], str] = {}
    for outcome in outcomes:
        scored = first.setdefault((outcome.encoder, outcome.test), outcome.selection) == outcome.selection
        name = prediction_name(outcome, scored=scored)
        write_text(folder / name, prediction_text(outcome, tests[outcome.test]))
