"""`vocab/` of a run to a `VocabularyStage`. Runs of older versions lack some parts: those are empty."""

from pathlib import Path

from extend.report.gather_ner import rates
from extend.report.nouns import (
    Example,
    MixPoint,
    ProtectedText,
    Protection,
    SizeChoice,
    SizePoint,
    VocabularyStage,
)
from extend.report.reading import Node, read_lines, read_node, told


def vocabulary_stage(directory: Path) -> VocabularyStage | None:
    """What `extend vocab` left in `directory`; None when it has no report.json.

    Raises CheckpointError (`file: key`) for a value of the wrong kind.
    """
    report = read_node(directory / "report.json")
    if not report:
        return None
    mixes, mix = _mixes(report.node("frontier"))
    return VocabularyStage(
        counts=report.numeric_leaves(),
        corpus_sha256=report.node("corpus").text("sha256"),
        held_out={name: rates(node) for name, node in report.node("held_out").items()},
        pieces=tuple(read_lines(directory / "added.txt")),
        examples=tuple(
            Example(node.text("word"), node.whole("count"), node.texts("before"), node.texts("after"))
            for node in read_node(directory / "examples.json").elements()
        ),
        sizes=_sizes(report.node("sizes")),
        choice=_choice(report.node("size")),
        mixes=mixes,
        mix=_chosen_mix(report.node("score_mix"), mix),
        protection=_protection(report.node("protected")),
        repairs=_repairs(report.node("repairs") or report.node("corpus").node("repairs")),
        certificate=report.node("certificate").texts("held"),
        lost=_repairs(report.node("lost_characters").node("most")),
        warnings=told(report.node("warnings")),
    )


def _sizes(node: Node) -> tuple[SizePoint, ...]:
    points = [
        SizePoint(size, rates(point), point.number("added_parameters"), point.number("added_bytes"))
        for point in node.elements()
        if (size := point.whole("size")) is not None
    ]
    return tuple(sorted(points, key=lambda point: point.size))


def _choice(node: Node) -> SizeChoice | None:
    """`asked` is `auto` or a number."""
    if not node:
        return None
    asked = node.node("asked")
    told = asked.as_text() if isinstance(asked.value, str) else f"{asked.as_number() or 0:.0f}"
    return SizeChoice(told, node.whole("chosen"), node.text("why"))


def _mixes(node: Node) -> tuple[tuple[MixPoint, ...], float | None]:
    """The points by share, and the share of the one marked `chosen`, if one is."""
    points, chosen = [], None
    for point in node.elements():
        if (share := point.number("share")) is None:
            continue
        points.append(MixPoint(share, rates(point), point.number("drift")))
        if point.node("chosen").value is True:
            chosen = share
    return tuple(sorted(points, key=lambda point: point.share)), chosen


def _chosen_mix(node: Node, marked: float | None) -> float | None:
    """A share, or a table that holds it as `chosen`; without either the marked point's."""
    told = node.number("chosen") if isinstance(node.value, dict) else node.as_number()
    return marked if told is None else told


def _protection(node: Node) -> Protection | None:
    if not node:
        return None
    texts = tuple(
        ProtectedText(
            text.text("name"),
            text.whole("words"),
            text.number("words_changed"),
            text.number("words_newly_unk"),
        )
        for text in node.node("files").elements()
    )
    return Protection(texts, node.number("max_drift"), node.whole("left_out"))


def _repairs(node: Node) -> dict[str, int]:
    """What was mended at least once, the most frequent first."""
    counts = {name: round(count) for name, count in node.numeric_leaves().items() if name and count > 0}
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
