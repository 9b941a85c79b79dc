"""The page's part on how the vocabulary was chosen: its size, its scores, what it was kept from changing."""

import unicodedata
from dataclasses import dataclass

from extend.report.curves import MarkedCurve, marked_curve
from extend.report.nouns import MixPoint, SizePoint, VocabularyStage
from extend.report.text import file_name, number, percent, shown, size, whole


@dataclass(frozen=True, slots=True)
class ShownPoint:
    """One row of a table, its cells as text; the chosen one is told apart."""

    cells: tuple[str, ...]
    chosen: bool


@dataclass(frozen=True, slots=True)
class VocabularyPart:
    """What the page shows of the choices; empty where a run measured nothing."""

    size_curves: tuple[MarkedCurve, ...]
    sizes: tuple[ShownPoint, ...]
    size_told: str
    frontier: MarkedCurve | None
    mixes: tuple[ShownPoint, ...]
    protected: tuple[ShownPoint, ...]
    protection_told: str
    repairs: str
    lost: str


def vocabulary_part(stage: VocabularyStage) -> VocabularyPart:
    """Text, tables and curves of the choices that `stage` holds."""
    chosen = stage.choice.chosen if stage.choice else None
    protection = stage.protection
    return VocabularyPart(
        size_curves=_size_curves(stage.sizes, chosen),
        sizes=tuple(_size_row(point, point.size == chosen) for point in stage.sizes),
        size_told=_size_told(stage),
        frontier=_frontier(stage.mixes, stage.mix),
        mixes=tuple(_mix_row(point, point.share == stage.mix) for point in stage.mixes),
        protected=tuple(
            ShownPoint(
                (
                    shown(file_name(text.name)),
                    whole(text.words),
                    percent(text.words_changed),
                    percent(text.words_newly_unknown),
                ),
                chosen=False,
            )
            for text in (protection.texts if protection else ())
        ),
        protection_told=_protection_told(stage),
        repairs=", ".join(
            f"{shown(name.replace('_', ' '), limit=60)} {whole(count)}"
            for name, count in stage.repairs.items()
        ),
        lost=", ".join(f"{_character(name)} {whole(count)} times" for name, count in stage.lost.items()),
    )


def _size_curves(sizes: tuple[SizePoint, ...], chosen: int | None) -> tuple[MarkedCurve, ...]:
    """Fertility by size, and UNK rate by size."""
    series = (
        ("Pieces a word", [(point.size, point.rates.fertility) for point in sizes], number),
        ("Words with [UNK]", [(point.size, _hundred(point.rates.unk_rate)) for point in sizes], _percent),
    )
    curves = []
    for title, measured, label in series:
        points = [(float(x), y) for x, y in measured if y is not None and x > 0]
        places = [x for x, _ in points]
        curves.append(
            marked_curve(
                points,
                title=title,
                chosen=places.index(chosen) if chosen in places else None,
                mark=whole(chosen),
                across=number,
                up=label,
                ticks_at_points=True,
            )
        )
    return tuple(curve for curve in curves if curve)


def _frontier(mixes: tuple[MixPoint, ...], chosen: float | None) -> MarkedCurve | None:
    """Fertility by drift, in the order of the shares."""
    measured = [(point.share, _hundred(point.drift), point.rates.fertility) for point in mixes]
    points = [(share, x, y) for share, x, y in measured if x is not None and y is not None]
    shares = [share for share, _, _ in points]
    return marked_curve(
        [(x, y) for _, x, y in points],
        title="Pieces a word by words of the base's languages cut otherwise",
        chosen=shares.index(chosen) if chosen in shares else None,
        mark="" if chosen is None else f"share {chosen:g}",
        across=_percent,
        up=number,
    )


def _size_row(point: SizePoint, chosen: bool) -> ShownPoint:
    return ShownPoint(
        (
            whole(point.size),
            number(point.rates.fertility, 2),
            percent(point.rates.unk_rate),
            whole(point.added_parameters),
            size(point.added_bytes),
        ),
        chosen,
    )


def _mix_row(point: MixPoint, chosen: bool) -> ShownPoint:
    cells = (f"{point.share:g}", number(point.rates.fertility, 2), percent(point.rates.unk_rate))
    return ShownPoint((*cells, percent(point.drift)), chosen)


def _size_told(stage: VocabularyStage) -> str:
    """How the size came about, and what other sizes would have meant."""
    choice, told = stage.choice, []
    if choice is None:
        return ""
    if choice.chosen is not None:
        how = "chosen by the curve" if choice.asked == "auto" else "asked for"
        why = f": {shown(choice.why, limit=300).rstrip('.')}" if choice.why else ""
        told.append(f"{whole(choice.chosen)} new pieces, {how}{why}.")
    taken = next((point for point in stage.sizes if point.size == choice.chosen), None)
    if taken:
        told.append(_beside_others(taken, stage.sizes))
    if taken and choice.asked == "auto":
        told.append(
            "The mark stands at the knee of the curve: to its right more pieces change little, "
            "and each still costs its row of parameters."
        )
    return " ".join(filter(None, told))


def _beside_others(taken: SizePoint, sizes: tuple[SizePoint, ...]) -> str:
    """The chosen size in numbers beside the smallest and the largest measured."""
    others = [point for point in dict.fromkeys((sizes[0], sizes[-1])) if point is not taken]
    if taken.rates.fertility is None or not others:
        return ""
    told = [f"{number(point.rates.fertility, 2)} with {whole(point.size)}" for point in others]
    cost = f" ({whole(taken.added_parameters)} parameters)" if taken.added_parameters is not None else ""
    return (
        f"A word of held-out text takes {number(taken.rates.fertility, 2)} pieces with them{cost}, "
        f"{' and '.join(told)}."
    )


def _protection_told(stage: VocabularyStage) -> str:
    protection = stage.protection
    if protection is None:
        return ""
    bound, given_up = protection.max_drift, protection.left_out
    told = "The words of protected text were to be cut as before"
    told += f", at most {percent(bound)} of them otherwise" if bound is not None else ""
    if given_up is not None:
        told += f"; {whole(given_up)} candidate{' was' if given_up == 1 else 's were'} left out for it"
    return f"{told}."


def _character(character: str) -> str:
    """`U+064E ARABIC FATHA`; the character itself may be invisible alone."""
    if len(character) != 1:
        return shown(character, limit=20)
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def _hundred(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _percent(value: float, digits: int) -> str:
    return f"{number(value, digits)} %"
