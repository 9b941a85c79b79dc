"""NER results of a run, `ner/NAME/results.json`, to nouns."""

from collections.abc import Iterator
from pathlib import Path

from extend.report.nouns import (
    Difference,
    GroupAverage,
    NerScore,
    NerStage,
    StratumScore,
    TextRates,
    TypeScore,
)
from extend.report.reading import Node, read_node, told


def ner_stages(directory: Path) -> Iterator[NerStage]:
    """What `ner/NAME/results.json` says, zero-shot first, then supervised, then others by name."""
    found = {path.parent.name: path for path in directory.glob("*/results.json")}
    order = ("zero-shot", "supervised")
    for name in sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name)):
        results = read_node(found[name])
        data = results.node("data")
        yield NerStage(
            name=name,
            protocol=results.text("protocol") or name,
            source=results.text("source"),
            labels=results.texts("labels"),
            scores=tuple(
                _score(encoder, language, node)
                for encoder, languages in results.node("encoders").items()
                for language, node in languages.items()
            ),
            differences=tuple(_differences(results.node("differences"))),
            warnings=told(results.node("warnings")),
            data=data.numeric_leaves() if data else {},
            fingerprints=dict(sums(data)) if data else {},
            seconds=results.number("seconds"),
            groups=tuple(_group(group, node) for group, node in results.node("groups").items()),
        )


def _interval(node: Node, key: str) -> tuple[float, float] | None:
    bounds = node.numbers(key)
    return (bounds[0], bounds[1]) if len(bounds) == 2 else None


def _score(encoder: str, language: str, node: Node) -> NerScore:
    collapsed = node.node("collapsed")
    return NerScore(
        encoder=encoder,
        language=language,
        f1_mean=node.number("f1_mean"),
        f1_std=node.number("f1_std"),
        f1=node.numbers("f1"),
        interval=_interval(node, "ci95"),
        strict_f1_mean=node.number("strict_f1_mean"),
        illegal=node.number("illegal"),
        rates=rates(node),
        collapsed=len(list(collapsed.elements())) if isinstance(collapsed.value, list) else _whole(collapsed),
        mistakes={kind: round(count) for kind, count in node.node("errors").numeric_leaves().items() if kind},
        types=tuple(
            TypeScore(
                label,
                kind.number("precision"),
                kind.number("recall"),
                kind.number("f1"),
                kind.whole("support"),
            )
            for label, kind in node.node("per_type").items()
        ),
        median=node.number("f1_median"),
        lenient={
            name.removesuffix("_f1_mean"): mean
            for name, mean in node.node("lenient").numeric_leaves().items()
            if name.endswith("_f1_mean")
        },
        strata=tuple(
            StratumScore(name, one.number("f1_mean"), _interval(one, "ci95"), one.whole("support"))
            for name, one in node.node("strata").items()
        ),
    )


def _group(name: str, node: Node) -> GroupAverage:
    means = (
        (encoder, one.number("f1_mean"), _interval(one, "ci95"))
        for encoder, one in node.node("encoders").items()
    )
    return GroupAverage(name, node.texts("languages"), tuple(means))


def _whole(node: Node) -> int | None:
    if isinstance(node.value, bool):
        return int(node.value)
    number = node.as_number()
    return None if number is None else round(number)


def _differences(node: Node) -> Iterator[Difference]:
    """`{LANGUAGE: {ENCODER: {"against", "f1": points, "ci95", "p_holm", "identical"}}}`."""
    for language, encoders in node.items():
        for encoder, gap in encoders.items():
            if (points := gap.number("f1")) is not None:
                yield Difference(
                    language=language,
                    encoder=encoder,
                    against=gap.text("against") or "base",
                    points=points,
                    interval=_interval(gap, "ci95"),
                    p=gap.number("p_holm"),
                    identical=gap.node("identical").value is True,
                )


def sums(node: Node) -> Iterator[tuple[str, str]]:
    """Every sha256 below `node` with the dotted name of what it is of."""
    for name, text in node.text_leaves().items():
        if len(text) == 64 and set(text) <= set("0123456789abcdef"):
            yield name.removesuffix(".sha256").replace(".sha256.", "."), text


def rates(node: Node) -> TextRates:
    """`fertility` and `unk_rate`, as stages and NER results name them."""
    return TextRates(node.number("fertility"), node.number("unk_rate"))
