"""errors.html: examples of every kind of error, one self-contained page for words of any direction."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from extend.errors import escaped
from ner.mistakes import KINDS
from ner.report.errors import Record
from ner.screen import languages_of

EXAMPLES = 12
"""Of each kind, spread over the set."""

KINDS_TOLD = {
    "type": "another type",
    "boundary": "other bounds",
    "missed": "missed",
    "spurious": "found where none is",
}
_HERE = Path(__file__).parent
_JOINERS = re.compile("([\u200c\u200d])")


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring words of one role: `gold`, `predicted`, `both` or plain context."""

    text: str
    role: str


@dataclass(frozen=True, slots=True)
class Example:
    """One error as the page shows it; `pieces` are those of each word, in the word's `direction`."""

    sentence: int
    segments: tuple[Segment, ...]
    gold: str
    predicted: str
    confidence: float | None
    unk: bool
    direction: str
    pieces: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The errors of one kind: how many there are, and some of them."""

    title: str
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One encoder on one language."""

    encoder: str
    language: str
    seed: int | None
    f1: float
    ci95: Sequence[float]
    groups: tuple[Group, ...]


def errors_page(results: Mapping[str, Any], records: Sequence[Record]) -> str:
    """The page. Nothing is fetched; every text of a file is escaped and isolated in its own direction."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((_HERE / "errors.css").read_bytes().decode("utf-8"))
    parts = [
        _part(results, encoder, language, records)
        for language in languages_of(results)
        for encoder, cells in results["encoders"].items()
        if language in cells
    ]
    page = environment.get_template("errors.html")
    return page.render(style=style, protocol=results["protocol"], parts=parts, shown_of_a_kind=EXAMPLES)


def _part(results: Mapping[str, Any], encoder: str, language: str, records: Sequence[Record]) -> Part:
    cell = results["encoders"][encoder][language]
    mine = [one for one in records if (one["encoder"], one["test"]) == (encoder, language)]
    counts = Counter(one["kind"] for one in mine)
    groups = tuple(
        Group(KINDS_TOLD[kind], counts[kind], tuple(_example(one) for one in _spread(mine, kind)))
        for kind in KINDS
    )
    seed = cell["seeds"][0] if cell.get("seeds") else None
    return Part(encoder, language, seed, cell["f1_mean"], cell["ci95"], groups)


def _spread(records: Sequence[Record], kind: str) -> list[Record]:
    some = [one for one in records if one["kind"] == kind]
    if len(some) <= EXAMPLES:
        return some
    return [some[index * len(some) // EXAMPLES] for index in range(EXAMPLES)]


def _example(record: Record) -> Example:
    gold, predicted = record["gold"], record["predicted"]
    return Example(
        sentence=record["sentence"],
        segments=tuple(_segments(record)),
        gold=gold["label"] if gold else "",
        predicted=predicted["label"] if predicted else "",
        confidence=record["confidence"],
        unk=record["unk"],
        direction=direction("".join(record["words"])),
        pieces=tuple(tuple(map(shown, word)) for word in record["pieces"] or ()),
    )


def _segments(record: Record) -> list[Segment]:
    spans = [record[side] for side in ("gold", "predicted") if record[side]]
    start = min(span["start"] for span in spans)
    rows = [(word, "") for word in record["before"]]
    for place, word in enumerate(record["words"], start=start):
        inside = [
            side
            for side in ("gold", "predicted")
            if record[side] and record[side]["start"] <= place < record[side]["end"]
        ]
        rows.append((word, "both" if len(inside) == 2 else "".join(inside)))
    rows += [(word, "") for word in record["after"]]
    segments: list[Segment] = []
    for word, role in rows:
        if segments and segments[-1].role == role:
            segments[-1] = Segment(f"{segments[-1].text} {shown(word)}", role)
        else:
            segments.append(Segment(shown(word), role))
    return segments


def direction(text: str) -> str:
    """`rtl` or `ltr`, by the first letter that has a direction."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return "rtl" if next((kind for kind in kinds if kind in ("L", "R", "AL")), "L") != "L" else "ltr"


def shown(text: str) -> str:
    """A word safe to show: controls and bidi marks spelled out, the joiners of a script left between letters;
    a piece that begins with a mark gets the dotted circle that carries it."""
    parts = _JOINERS.split(text[:80])
    whole = "".join(
        part if index % 2 and parts[index - 1] and parts[index + 1] else escaped(part, limit=400)
        for index, part in enumerate(parts)
    )
    bare = whole.removeprefix("##")
    if bare and unicodedata.category(bare[0])[0] == "M":
        whole = f"{whole[: len(whole) - len(bare)]}\u25cc{bare}"
    return whole if len(text) <= 80 else f"{whole}…"
