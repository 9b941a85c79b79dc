"""`vocab/review.html`: the new pieces for a speaker to approve or veto, in one page that needs no network.

The pieces and words travel in a block of JSON and the page's script makes fifty rows at a time of it, so that
30,000 pieces stay quick. Nothing of a file is ever markup: the block cannot be left early, the script sets
text only, and the page's policy runs that one script alone, by its hash.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from extend.report import text
from extend.report.nouns import TextRates
from extend.types import Subword, WordCounts

EXAMPLES = 3
NOT_MEASURED = TextRates()
_HERE = Path(__file__).parent
_LINE_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPED_IN_JSON = re.compile(
    "[<>&\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class WordExample:
    """A word of the corpus, how often it stands there, and its pieces as spelled by base and extension."""

    word: str
    count: int
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReviewedPiece:
    """A new piece: `piece` as the vocabulary spells it (`##چە`), `text` its letters alone.

    `continues` says that it joins the letters before it; `count` is how often the corpus is spelled with it.
    Raises ValueError for a piece that would not stand on one line of veto.txt, or would read as a comment.
    """

    piece: str
    text: str
    continues: bool
    count: int
    examples: tuple[WordExample, ...]

    def __post_init__(self) -> None:
        refuse_unwritable(self.piece)


@dataclass(frozen=True)
class ReviewSheet:
    """What a speaker is shown. `language` is a BCP 47 tag, `name` its English name, `base` as people say it.

    `added` counts all new pieces (`pieces` may be the first of them only); `before` and `after` are the rates
    on held-out text. `unknown` is the base's unknown piece. `vetoed` are pieces vetoed earlier, which are no
    candidates any more: the downloaded file goes on naming them, else they would come back.
    """

    language: str
    name: str
    autonym: str | None
    base: str
    right_to_left: bool
    pieces: tuple[ReviewedPiece, ...]
    added: int
    before: TextRates = NOT_MEASURED
    after: TextRates = NOT_MEASURED
    unknown: str = "[UNK]"
    vetoed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for piece in self.vetoed:
            refuse_unwritable(piece)


def refuse_unwritable(piece: str) -> None:
    """Raise ValueError unless `piece` is written to veto.txt, one a line, and read back the same."""
    if not piece or piece != piece.strip() or piece.startswith("# ") or _LINE_BREAKS.search(piece):
        raise ValueError(f"a reviewed piece stands on one line and is no comment, got {piece!r}")


def review_pieces(
    words: WordCounts,
    added: Mapping[str, Subword],
    *,
    before: Callable[[str], Sequence[str]],
    after: Callable[[str], Sequence[str]],
    examples: int = EXAMPLES,
) -> tuple[ReviewedPiece, ...]:
    """Every piece of `added` (as spelled, with what it stands for) with its `examples` most frequent words.

    `before` and `after` cut a word with the base and with the extension. A word's count goes to a piece as
    often as the word is spelled with it. The order is that of `added`; a piece no word uses has count 0.
    """
    counts: Counter[str] = Counter()
    found: dict[str, list[WordExample]] = {piece: [] for piece in added}
    for word, count in sorted(words.items(), key=lambda entry: (-entry[1], entry[0])):
        cut = tuple(after(word))
        new = {piece: times for piece, times in Counter(cut).items() if piece in found}
        counts.update({piece: times * count for piece, times in new.items()})
        if wanting := [piece for piece in new if len(found[piece]) < examples]:
            example = WordExample(word, count, tuple(before(word)), cut)
            for piece in wanting:
                found[piece].append(example)
    return tuple(
        ReviewedPiece(piece, subword.text, subword.continues, counts[piece], tuple(found[piece]))
        for piece, subword in added.items()
    )


def review_page(sheet: ReviewSheet) -> str:
    """The whole page: no request leaves it, light and dark, every word in its own direction."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        shown=text.shown, number=text.number, whole=text.whole, percent=text.percent, direction=text.direction
    )
    style, script = (_source(name) for name in ("review.css", "review.js"))
    return environment.get_template("review.html").render(
        sheet=sheet,
        title=sheet.autonym or sheet.name or sheet.language,
        style=style,
        script=script,
        style_hash=_policy_hash(style),
        script_hash=_policy_hash(script),
        data=Markup(_json(_data(sheet))),
    )


def _source(name: str) -> Markup:
    return Markup((_HERE / name).read_bytes().decode("utf-8"))


def _policy_hash(source: str) -> str:
    """The source as Content-Security-Policy names it (W3C CSP 3, section 2.3.1, hash-source)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def _data(sheet: ReviewSheet) -> dict[str, Any]:
    """The page's data: words once, pieces with the places of their words."""
    places: dict[WordExample, int] = {}
    pieces = [
        [
            piece.piece,
            piece.text,
            int(piece.continues),
            piece.count,
            [places.setdefault(example, len(places)) for example in piece.examples],
        ]
        for piece in sheet.pieces
    ]
    told = {
        "language": sheet.language,
        "direction": "rtl" if sheet.right_to_left else "ltr",
        "unknown": sheet.unknown,
        "comments": _comments(sheet),
        "vetoed": list(dict.fromkeys(sheet.vetoed)),
        "words": [list(asdict(example).values()) for example in places],
        "pieces": pieces,
    }
    return {"id": hashlib.sha256(_json(told).encode()).hexdigest()[:16], **told}


def _comments(sheet: ReviewSheet) -> list[str]:
    """The first lines of veto.txt; a line that starts with `#` and a blank is a comment."""
    language = " ".join(part for part in (text.shown(sheet.name), f"({text.shown(sheet.language)})") if part)
    return [
        f"# Vetoed pieces, one a line as spelled: {language}, base {text.shown(sheet.base, limit=120)}",
        "# Use: extend vocab --veto veto.txt",
    ]


def _json(value: object) -> str:
    """JSON that a script element holds: no tag, comment, line separator or hidden control stands in it."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _ESCAPED_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", plain)
