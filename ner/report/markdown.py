"""report.md: the screen of text, then one table a language, the differences, the types and the strata."""

from collections.abc import Iterator, Mapping
from typing import Any

from ner.screen import chance, group_lines, languages_of, percent_span, screen_text

STRATA_NAMES = {
    "seen": "seen in training",
    "unseen": "not seen in training",
    "without_unk": "without [UNK]",
    "with_unk": "with [UNK]",
    "without_new_piece": "without a new piece",
    "with_new_piece": "with a new piece",
    "words_1": "1 word",
    "words_2": "2 words",
    "words_3": "3 words",
    "words_4+": "4 words or more",
}

Results = Mapping[str, Any]


def report_text(results: Results) -> str:
    """The whole of report.md."""
    settings = results["settings"]
    lines = [
        f"# NER, {results['protocol']}",
        "",
        f"Heads trained on {results['source'] or 'each language itself'}, {_seeds_told(settings)}, "
        f"labels {', '.join(results['labels']) or 'all'}. "
        "F1 is of exact spans, in percent, illegal tags repaired as conlleval does; `strict` discards them. "
        "`span` forgives the type, `overlap` the bounds (same type, a word in common). "
        "Intervals resample seeds and sentences together; `noise` is a difference whose interval holds 0 or "
        "whose p value, after Holm's correction over the languages, is 0.05 or more.",
        "",
        "```",
        screen_text(results).rstrip("\n"),
        "```",
        "",
        "![F1 by encoder and language](heatmap.svg)",
        "",
        "![F1 with 95 % intervals](intervals.svg)",
    ]
    if results.get("groups"):
        lines += ["", "## Averages over languages", ""]
        lines += [f"- {line.strip()}" for line in group_lines(results)]
    for language in languages_of(results):
        lines += ["", *_language_lines(language, results)]
    if results["warnings"]:
        lines += ["", "## Warnings", ""]
        lines += [f"- {warning['name']}: {warning['text']}" for warning in results["warnings"]]
    lines += ["", "Every wrong entity of the first seed is in `errors.jsonl`; examples are in `errors.html`."]
    return "\n".join(lines) + "\n"


def _seeds_told(settings: Results) -> str:
    if settings["seeds"] == 1:
        return f"seed {settings['first_seed']} only (how much seeds differ is not known)"
    return f"seeds {settings['first_seed']} to {settings['first_seed'] + settings['seeds'] - 1}"


def _language_lines(language: str, results: Results) -> Iterator[str]:
    test = results["data"][language]["test"]
    cells = {name: some[language] for name, some in results["encoders"].items() if language in some}
    yield from (f"## {language}", "")
    yield (
        f"Test: {test['sentences']:,} sentences, {test['words']:,} words, {test['entities']:,} entities, "
        f"sha256 {test['sha256'][:12]}."
    )
    columns = (
        "encoder F1 median range 95_%_interval strict span overlap partial illegal collapsed UNK fertility"
    )
    yield from ("", *_header(*(name.replace("_", " ") for name in columns.split(" "))))
    for encoder, cell in cells.items():
        yield _row(encoder, *_score_cells(cell))
        for selection, other in cell.get("selections", {}).items():
            yield _row(f"{encoder}, {selection}", *_first_cells(other), *[""] * 8)
    for encoder, gap in results["differences"].get(language, {}).items():
        yield from ("", _difference_line(encoder, gap))
    yield from ("", *_header("encoder", "type", "precision", "recall", "F1", "entities"))
    for encoder, cell in cells.items():
        for label, rate in cell["per_type"].items():
            figures = (f"{rate[name]:.1f}" for name in ("precision", "recall", "f1"))
            yield _row(encoder, label, *figures, str(rate["support"]))
    yield from _strata_table(cells)
    told = "; ".join(f"{encoder} {_errors_told(cell)}" for encoder, cell in cells.items())
    yield from ("", f"Errors of all seeds: {told}.")


def _first_cells(cell: Results) -> list[str]:
    return [
        f"{cell['f1_mean']:.1f} ± {cell['f1_std']:.1f}",
        f"{cell['f1_median']:.1f}",
        f"{min(cell['f1']):.1f} to {max(cell['f1']):.1f}",
        f"{cell['ci95'][0]:.1f} to {cell['ci95'][1]:.1f}",
    ]


def _score_cells(cell: Results) -> list[str]:
    seeds = ", ".join(map(str, cell["collapsed_seeds"]))
    return [
        *_first_cells(cell),
        f"{cell['strict_f1_mean']:.1f}",
        *(f"{cell['lenient'][f'{name}_f1_mean']:.1f}" for name in ("span", "overlap", "partial")),
        str(cell["illegal"]),
        f"{cell['collapsed']}/{len(cell['f1'])}" + (f" (seed {seeds})" if seeds else ""),
        f"{100 * cell['unk_rate']:.1f} %",
        f"{cell['fertility']:.2f}",
    ]


def _strata_table(cells: Results) -> Iterator[str]:
    if not any(cell["strata"] for cell in cells.values()):
        return
    yield from ("", *_header("encoder", "entities", "number", "precision", "recall", "F1", "95 % interval"))
    for encoder, cell in cells.items():
        for name, one in cell["strata"].items():
            if one["support"] or any(one["fp"]):
                figures = (f"{one[field]:.1f}" for field in ("precision", "recall", "f1_mean"))
                yield _row(
                    encoder, STRATA_NAMES[name], str(one["support"]), *figures, percent_span(one["ci95"])
                )


def _difference_line(encoder: str, gap: Results) -> str:
    order = f", almost stochastic order {gap['aso']:.2f}" if "aso" in gap else ""
    return (
        f"{encoder} minus {gap['against']}: {gap['f1']:+.1f}, 95 % interval "
        f"{gap['ci95'][0]:+.1f} to {gap['ci95'][1]:+.1f}, {chance(gap['p'])} "
        f"(Holm over languages {chance(gap['p_holm'])}){order}: **{gap['verdict']}**."
    )


def _errors_told(cell: Results) -> str:
    return ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in cell["error_shares"].items())


def _header(*names: str) -> list[str]:
    return [_row(*names), _row(*["---"] * len(names))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
