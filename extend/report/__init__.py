"""The run's files told to people: a page, a model card, a terminal table. Nothing here computes a result."""

from collections.abc import Sequence
from pathlib import Path

from extend.report.card import render_card
from extend.report.gather import gather_run
from extend.report.nouns import RunReport, TextRates
from extend.report.page import render_html
from extend.report.review import ReviewSheet, review_page, review_pieces
from extend.report.tables import summarise, summary_rows
from extend.store import write_text

__all__ = [
    "ReviewSheet",
    "RunReport",
    "TextRates",
    "gather_run",
    "render_card",
    "render_html",
    "review_page",
    "review_pieces",
    "summarise",
    "summary_rows",
    "write_report",
]


def write_report(run: Path, *, license: str = "", passport: Sequence[tuple[str, str]] = ()) -> list[Path]:
    """Write `report.html` and `README.md` into `run`, and the card beside a final checkpoint.

    `passport` has labels and texts of what is known of the language beside the run; the page shows it.
    Returns the files written. Raises PathError when `run` holds no run, CheckpointError when one of its
    files is broken; then nothing was written.
    """
    report = gather_run(run)
    page, card = render_html(report, passport=passport), render_card(report, license=license)
    files = {run / "report.html": page, run / "README.md": card}
    if (run / "model").is_dir():
        files[run / "model" / "README.md"] = card
    for path, text in files.items():
        write_text(path, text)
    return list(files)
