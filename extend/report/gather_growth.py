"""`grown/` of a run, and the initialisers that were compared, to nouns."""

import collections
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from extend.report.nouns import ComparedStart, Comparison, GrowthStage, NewRow
from extend.report.reading import Node, leaf_text, read_lines, read_node, read_nodes, told

ROW_EXAMPLES = 24


def growth_stage(directory: Path) -> GrowthStage | None:
    """What `extend grow` left in `directory`; None when it holds neither rows nor a report."""
    report = read_node(directory / "report.json")
    rows = [_row(node) for node in read_nodes(directory / "rows.jsonl")]
    if not report and not rows:
        return None
    methods = collections.Counter(row.method for row in rows)
    counted = {
        name: round(count) for name, count in report.node("by_method").numeric_leaves().items() if name
    }
    reasons = collections.Counter(row.reason for row in rows if row.reason)
    added = report.whole("added")
    return GrowthStage(
        initializer=report.text("initializer"),
        added=added if added is not None or not rows else len(rows),
        methods=dict(methods.most_common()) or counted,
        reasons=dict(reasons.most_common()),
        examples=tuple(_with_pieces(_spread(rows, ROW_EXAMPLES), read_lines(directory / "vocab.txt"))),
        seconds=report.number("seconds"),
        distilled=_distilled(report.node("distilled")),
        warnings=told(report.node("warnings")),
    )


def _distilled(node: Node) -> tuple[int, float, float] | None:
    batches, first, last = node.whole("batches"), node.number("first_loss"), node.number("last_loss")
    return None if batches is None or first is None or last is None else (batches, first, last)


def comparison(path: Path) -> Comparison | None:
    """What `extend grow --compare` measured; None when nothing was compared."""
    report = read_node(path)
    starts = tuple(
        ComparedStart(method, loss, node.number("probe_loss"), node.number("seconds"))
        for method, node in report.node("compare").items()
        if (loss := node.number("mlm_loss")) is not None
    )
    return Comparison(starts, report.whole("probe_steps") or 0) if starts else None


def _row(node: Node) -> NewRow:
    sources = []
    for pair in node.node("sources").elements():
        source, *weight = pair.elements()
        number = weight[0].as_number() if weight else None
        sources.append((leaf_text(source), 1.0 if number is None else number))
    fallback = node.text("fallback")
    return NewRow(
        piece=node.text("piece"),
        method=fallback or node.text("method"),
        sources=tuple(sources),
        reason=node.text("why") if fallback else "",
    )


def _with_pieces(rows: Iterable[NewRow], pieces: Sequence[str]) -> Iterator[NewRow]:
    """Sources by their pieces: a base id is a line number of the vocabulary, from zero."""

    def named(source: str) -> str:
        if not source.isascii() or not source.isdecimal():
            return source
        return pieces[int(source)] if int(source) < len(pieces) else f"id {source}"

    for row in rows:
        yield replace(row, sources=tuple((named(source), weight) for source, weight in row.sources))


def _spread(rows: Sequence[NewRow], count: int) -> list[NewRow]:
    """At most `count` rows spread evenly over all, and the first of each method and reason."""
    if len(rows) <= count:
        return list(rows)
    firsts: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        firsts.setdefault((row.method, row.reason), index)
    chosen = set(list(firsts.values())[: count // 2])
    spread = count - len(chosen)
    chosen |= {round(index * (len(rows) - 1) / (spread - 1)) for index in range(spread)}
    return [rows[index] for index in sorted(chosen)]
