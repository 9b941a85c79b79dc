"""results.json as one screen of text, for the terminal and report.md. Standard library only.

Every number comes from the results; what a file does not hold is left out.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

STRATA_TOLD = (
    ("seen / unseen", ("seen", "unseen")),
    ("without / with [UNK]", ("without_unk", "with_unk")),
    ("without / with new piece", ("without_new_piece", "with_new_piece")),
    ("of 1 / 2 / 3 / 4+ words", ("words_1", "words_2", "words_3", "words_4+")),
)
"""How the strata of a cell are put side by side."""

Results = Mapping[str, Any]


def screen_text(results: Results) -> str:
    """One block a language (the source last), then the matrix, the groups and the warnings."""
    blocks = ["\n".join(_language(language, results)) for language in languages_of(results)]
    if len(blocks) > 1 and len(results["encoders"]) > 1:
        blocks.append("\n".join(_matrix(results)))
    if results.get("groups"):
        blocks.append("\n".join(group_lines(results)))
    return "\n\n".join(blocks) + "\n"


def languages_of(results: Results) -> list[str]:
    """The test languages, the source at the end: its row says what was forgotten."""
    languages = dict.fromkeys(name for cells in results["encoders"].values() for name in cells)
    return sorted(languages, key=lambda language: language == results["source"])


def percent_span(ends: Sequence[float], digits: int = 1, *, signed: bool = False) -> str:
    """`[40.3, 45.7]`, or with signs `[+36.6, +42.1]`."""
    mark = "+" if signed else ""
    return f"[{ends[0]:{mark}.{digits}f}, {ends[1]:{mark}.{digits}f}]"


def chance(p: float) -> str:
    """`p < 0.001`, or `p = 0.042`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def difference_line(encoder: str, gap: Results, *, languages: int) -> str:
    """One paired difference with its interval, p value and verdict in words."""
    if gap.get("identical"):
        return f"{encoder} - {gap['against']}: the very same tags"
    p = gap.get("p_holm", gap["p"])
    holm = f", Holm over {languages} languages" if "p_holm" in gap and languages > 1 else ""
    told = f"{gap['f1']:+.1f}, paired 95 % CI {percent_span(gap['ci95'], signed=True)}, {chance(p)}{holm}"
    verdict = gap.get("verdict") or ("noise" if gap["noise"] else "differs")
    order = f", ASO {gap['aso']:.2f}" if "aso" in gap else ""
    return f"{encoder} - {gap['against']}: {told}{order}: {verdict}"


def _language(language: str, results: Results) -> Iterator[str]:
    cells = {name: some[language] for name, some in results["encoders"].items() if language in some}
    yield _headline(language, results, cells)
    yield from _tokens(language, results, cells)
    yield from _score_table(cells)
    gaps = results["differences"].get(language, {})
    for encoder, gap in gaps.items():
        yield difference_line(encoder, gap, languages=len(results["differences"]))
    yield from _details(cells)


def _headline(language: str, results: Results, cells: Results) -> str:
    test = results.get("data", {}).get(language, {}).get("test", {})
    trained = next(iter(cells.values()))["trained_on"]
    title = f"{trained} -> {language}"
    if language == results["source"] and len(languages_of(results)) > 1:
        title += " (source: the forgetting check)"
    facts = [
        f"{_many(test[name])} {name}"
        for name in ("sentences", "words", "entities")
        if test.get(name) is not None
    ]
    told = [f"test {' / '.join(facts)}"] if facts else []
    told += [f"sha256 {test['sha256'][:12]}"] if test.get("sha256") else []
    told += [f"scheme {test['scheme']}"] if test.get("scheme") else []
    return "   ".join([title, *told, "illegal tags repaired"])


def _many(count: int) -> str:
    return f"{count:,}" if count < 10_000 else f"{round(count / 1000)}k"


def _tokens(language: str, results: Results, cells: Results) -> Iterator[str]:
    fertility = "  ".join(f"{name} {cell['fertility']:.2f}" for name, cell in cells.items())
    unknown = " -> ".join(f"{100 * cell['unk_rate']:.1f} %" for cell in cells.values())
    told = [f"fertility {fertility}", f"words with [UNK] {unknown}"]
    trained = next(iter(cells.values()))["trained_on"]
    never = results.get("tokens", {}).get(language, {}).get("never_in_training", {}).get(trained)
    if never is not None:
        told.append(f"words never seen in training {100 * never:.0f} %")
    yield "tokens  " + " | ".join(told)


def _score_table(cells: Results) -> Iterator[str]:
    seeds = max(len(cell["f1"]) for cell in cells.values())
    header = [
        "",
        f"F1 mean ± std ({seeds} seed{'s' * (seeds != 1)})",
        "median",
        "min..max",
        "95 % CI joint",
        "strict",
    ]
    header += ["span", "overlap", "illegal", "collapsed"]
    rows = [header]
    for name, cell in cells.items():
        rows.append([name, *_score_row(cell)])
        for selection, other in cell.get("selections", {}).items():
            rows.append([f"  {selection}", *_score_row(other)])
    yield from aligned(rows)


def _score_row(cell: Results) -> list[str]:
    row = [
        f"{cell['f1_mean']:.1f} ± {cell['f1_std']:.1f}",
        f"{cell['f1_median']:.1f}",
        f"{min(cell['f1']):.1f}..{max(cell['f1']):.1f}",
        percent_span(cell["ci95"]),
    ]
    if "strict_f1_mean" not in cell:
        return [*row, *[""] * 5]
    lenient = cell["lenient"]
    row += [
        f"{cell['strict_f1_mean']:.1f}",
        f"{lenient['span_f1_mean']:.1f}",
        f"{lenient['overlap_f1_mean']:.1f}",
    ]
    collapsed = f"{cell['collapsed']}/{len(cell['f1'])}"
    if cell["collapsed_seeds"]:
        collapsed += f" (seed {', '.join(map(str, cell['collapsed_seeds']))})"
    return [*row, f"{cell['illegal']:,}", collapsed]


def _details(cells: Results) -> Iterator[str]:
    for name, cell in cells.items():
        types = "  ".join(
            f"{label} {rate['precision']:.0f}/{rate['recall']:.0f}/{rate['f1']:.0f}/{rate['support']:,}"
            for label, rate in cell["per_type"].items()
        )
        yield f"{name}: per type P/R/F1/n  {types or 'none'}"
        if told := list(strata_told(cell)):
            yield "  F1 of entities " + " | ".join(told)
        if any(cell["error_shares"].values()):
            shares = "  ".join(f"{kind} {100 * share:.0f} %" for kind, share in cell["error_shares"].items())
            yield f"  errors  {shares}"


def strata_told(cell: Results) -> Iterator[str]:
    """`seen / unseen 61.0 / 38.2 (n 120 / 400)`, for every pair or row of strata that was scored."""
    for title, names in STRATA_TOLD:
        found = [cell["strata"][name] for name in names if name in cell.get("strata", {})]
        if found and sum(bool(one["support"]) for one in found) > 1:
            scores = " / ".join(f"{one['f1_mean']:.1f}" if one["support"] else "-" for one in found)
            yield f"{title} {scores} (n {' / '.join(str(one['support']) for one in found)})"


def _matrix(results: Results) -> Iterator[str]:
    languages = languages_of(results)
    encoders = list(results["encoders"])
    rows = [["F1 [95 % CI], UNK", *encoders]]
    for language in languages:
        row = [f"{language} (source)" if language == results["source"] else language]
        for encoder in encoders:
            cell = results["encoders"][encoder].get(language)
            told = (
                "-"
                if cell is None
                else f"{cell['f1_mean']:.1f} {percent_span(cell['ci95'])} {100 * cell['unk_rate']:.0f} %"
            )
            gap = results["differences"].get(language, {}).get(encoder)
            row.append(told + (f" {gap['f1']:+.1f} {gap['verdict']}" if gap else ""))
        rows.append(row)
    yield from aligned(rows)


def group_lines(results: Results) -> Iterator[str]:
    """Averages over languages, which are always named."""
    for name, group in results["groups"].items():
        means = "  ".join(
            f"{encoder} {one['f1_mean']:.1f} {percent_span(one['ci95'])}"
            for encoder, one in group["encoders"].items()
        )
        yield f"mean of {name}: {', '.join(group['languages'])}   {means}"
        for encoder, gap in group["differences"].items():
            yield f"  {difference_line(encoder, gap, languages=1)}"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells as lines: the first column set left, the others right."""
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = row
        padded = [" " * (width - _width(cell)) + cell for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first + " " * (widths[0] - _width(first)), *padded]).rstrip()


def _width(text: str) -> int:
    """Columns a terminal takes: two for wide letters, none for marks."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(character) in ("Mn", "Me", "Cf") for character in text)
