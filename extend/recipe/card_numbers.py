"""The numbers of a card beside the same numbers measured again, each with a verdict.

A score has an interval and holds inside it. A tokenizer's rates have none and must be the same; a loss may
differ by one step of the last digit that the card shows, since processors round otherwise.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["same", "within", "outside", "moved", "not measured"]
RATE, LOSS, SCORE = 1e-4, 1e-2, 0.05
"""Of a rate, less than is shown; a step of a loss in nats; half a step of an F1 in percent."""

_RATES = ("unk_rate", "fertility")


@dataclass(frozen=True, slots=True)
class Number:
    """One number of the card: where it stands, what it was, with which interval, and what it is now.

    `verdict` is `same` in the digits shown, `within` its interval, `outside` of it (or another, where it
    must be the same), `moved` for one without interval that may, `not measured` for what was not run again.
    """

    place: str
    encoder: str
    language: str
    name: str
    card: float | None
    interval: tuple[float, float] | None
    now: float | None
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def counted(numbers: Sequence[Number]) -> dict[str, int]:
    """How many numbers have each verdict."""
    verdicts: tuple[Verdict, ...] = ("same", "within", "outside", "moved", "not measured")
    return {name: sum(number.verdict == name for number in numbers) for name in verdicts}


def held_out_numbers(card: Mapping[str, Any], now: Mapping[str, Any] | None) -> Iterator[Number]:
    """`encoders.json` then and now; `now` is None when the text was not at hand."""
    for encoder, values in card.items():
        found = (now or {}).get(encoder, {})
        for name in (*_RATES, "mlm_loss"):
            if values.get(name) is not None:
                step = LOSS if name == "mlm_loss" else RATE
                yield _exact(("held-out text", encoder, "", name), values[name], found.get(name), step)


def score_numbers(protocol: str, card: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Number]:
    """The cells and differences of one protocol, `card` as recorded and `now` as results.json has them."""
    place = f"NER {protocol}"
    for encoder, languages in card["encoders"].items():
        for language, cell in languages.items():
            found = now["encoders"].get(encoder, {}).get(language, {})
            yield from _cell((place, encoder, language), cell, found)
    for language, encoders in card.get("differences", {}).items():
        for encoder, one in encoders.items():
            found = now["differences"].get(language, {}).get(encoder, {})
            name = f"F1 over {one['against']}"
            yield _within((place, encoder, language, name), one["f1"], _pair(one), found.get("f1"))


def _cell(where: tuple[str, str, str], cell: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Number]:
    yield _within((*where, "F1"), cell["f1_mean"], _pair(cell), found.get("f1_mean"))
    for name in _RATES:
        if name in cell:
            yield _exact((*where, name), cell[name], found.get(name), RATE)
    if "strict_f1_mean" in cell:
        yield _free((*where, "strict F1"), cell["strict_f1_mean"], found.get("strict_f1_mean"))
    if "f1_std" in cell:
        yield _free((*where, "F1 deviation"), cell["f1_std"], found.get("f1_std"))
    for seed, was, value in _side_by_side(cell, found):
        yield _free((*where, f"F1 of seed {seed}"), was, value)
    for label, kind in cell.get("per_type", {}).items():
        again = found.get("per_type", {}).get(label, {})
        for name in ("precision", "recall", "f1"):
            yield _free((*where, f"{label} {name}"), kind[name], again.get(name))


def _side_by_side(
    cell: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[tuple[int, float, float | None]]:
    scores, again = cell.get("f1", []), found.get("f1", [])
    for index, was in enumerate(scores):
        seeds = cell.get("seeds", range(1, len(scores) + 1))
        yield seeds[index], was, again[index] if index < len(again) else None


def _pair(cell: Mapping[str, Any]) -> tuple[float, float] | None:
    ends = cell.get("ci95")
    return (float(ends[0]), float(ends[1])) if ends else None


def _within(
    where: tuple[str, str, str, str], card: float, interval: tuple[float, float] | None, now: float | None
) -> Number:
    if now is None:
        return Number(*where, card, interval, None, "not measured")
    if _near(card, now, SCORE):
        return Number(*where, card, interval, now, "same")
    low, high = interval or (-math.inf, math.inf)
    inside = low - SCORE <= now <= high + SCORE
    verdict: Verdict = "moved" if interval is None else "within" if inside else "outside"
    return Number(*where, card, interval, now, verdict)


def _exact(where: tuple[str, str, str, str], card: float, now: float | None, step: float) -> Number:
    verdict: Verdict = "not measured" if now is None else "same" if _near(card, now, step) else "outside"
    return Number(*where, card, None, now, verdict)


def _free(where: tuple[str, str, str, str], card: float, now: float | None) -> Number:
    verdict: Verdict = "not measured" if now is None else "same" if _near(card, now, SCORE) else "moved"
    return Number(*where, card, None, now, verdict)


def _near(card: float, now: float, step: float) -> bool:
    return abs(card - now) <= step + 1e-9
