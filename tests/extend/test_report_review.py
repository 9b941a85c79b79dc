"""The review sheet as text: its data cannot break out, its policy holds, its words are the right ones."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.report.nouns import TextRates
from extend.report.review import ReviewedPiece, ReviewSheet, WordExample, review_page, review_pieces
from extend.types import Subword
from tests.extend.test_report_page import Outline

UYGHUR = (
    ReviewedPiece(
        "##نىڭ",
        "نىڭ",
        True,
        1662,
        (
            WordExample("ئۆينىڭ", 13, ("ئ", "##ۆ", "##ين", "##ى", "##ڭ"), ("ئۆي", "##نىڭ")),
            WordExample("بوۋاينىڭ", 14, ("[UNK]",), ("بوۋاي", "##نىڭ")),
        ),
    ),
    ReviewedPiece("بىر", "بىر", False, 1415, (WordExample("بىر", 9, ("ب", "##ى", "##ر"), ("بىر",)),)),
    ReviewedPiece("##گە", "گە", True, 700, ()),
    ReviewedPiece("#", "#", False, 3, ()),
)


def sheet_of(pieces: tuple[ReviewedPiece, ...] = UYGHUR, **others: Any) -> ReviewSheet:
    told: dict[str, Any] = {
        "language": "ug",
        "name": "Uyghur",
        "autonym": "ئۇيغۇرچە",
        "base": "example/base-multilingual",
        "right_to_left": True,
        "pieces": pieces,
        "added": len(pieces),
        "before": TextRates(2.45, 0.386),
        "after": TextRates(1.63, 0.0),
    }
    return ReviewSheet(**told | others)


def plain(spelled: str, count: int = 1) -> ReviewedPiece:
    continues = spelled.startswith("##") and len(spelled) > 2
    return ReviewedPiece(spelled, spelled[2:] if continues else spelled, continues, count, ())


class Blocks(Outline):
    """Also the text of every style and script element."""

    def __init__(self, page: str) -> None:
        self.blocks: list[tuple[str, str]] = []
        super().__init__(page)

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        if self.open and self.open[-1] in ("style", "script"):
            self.blocks.append((self.open[-1], data))


def test_the_page_is_well_formed_and_asks_no_network() -> None:
    page = review_page(sheet_of())
    outline = Blocks(page)
    assert not {"link", "img", "iframe", "object", "embed", "form"} & set(outline.tags)
    assert not {name for _, name, _ in outline.attributes} & {"src", "href", "action", "style", "srcset"}
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:|innerHTML|insertAdjacent|document\.write|eval\(", page)
    assert "width=device-width" in page
    assert "prefers-color-scheme: dark" in page


def test_the_policy_allows_this_style_and_this_script_alone() -> None:
    outline = Blocks(review_page(sheet_of()))
    (style,) = [text for tag, text in outline.blocks if tag == "style"]
    _, script = [text for tag, text in outline.blocks if tag == "script"]
    policy = next(value for tag, name, value in outline.attributes if name == "content" and "src" in value)
    for directive, source in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_the_page_tells_the_sheets_numbers() -> None:
    text = Outline(review_page(sheet_of(added=9000))).text
    for told in ("ئۇيغۇرچە", "Uyghur", "example/base-multilingual", "9,000", "4 are on this page"):
        assert told in text
    for told in ("38.6 % → 0.0 %", "2.45 → 1.63"):
        assert told.replace(" ", "") in text.replace(" ", "")
    unmeasured = Outline(review_page(sheet_of(before=TextRates(), after=TextRates(), autonym=None))).text
    assert "— →" in unmeasured.replace("—→", "— →")


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\u2028",
    "&lt;",
    "\u202eevil",
    "\ud800",
    "]]>",
]


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.text(min_size=1, max_size=20) | st.sampled_from(HOSTILE), min_size=1, max_size=5),
    name=st.text(max_size=20) | st.sampled_from(HOSTILE),
)
def test_the_data_comes_back_whole_and_stays_inside_its_block(words: list[str], name: str) -> None:
    examples = tuple(WordExample(word, 1, (word,), (word, "##x")) for word in words)
    page = review_page(sheet_of((ReviewedPiece("x", words[0], False, 1, examples),), name=name, base=name))
    outline = Blocks(page)
    assert outline.tags.count("script") == 2
    data, _ = [text for tag, text in outline.blocks if tag == "script"]
    assert not re.search("[<>&\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", data)
    told = json.loads(data)
    (piece,) = told["pieces"]
    assert piece[:4] == ["x", words[0], 0, 1]
    assert [told["words"][place] for place in piece[4]] == [
        [word, 1, [word], [word, "##x"]] for word in words
    ]
    assert all(line.startswith("# ") and "\n" not in line for line in told["comments"])


def test_a_word_of_many_pieces_is_written_once_and_the_sheet_has_its_own_name() -> None:
    word = WordExample("ئۆينىڭ", 13, ("[UNK]",), ("ئۆي", "##نىڭ"))
    pieces = tuple(ReviewedPiece(spelled, "x", False, 1, (word,)) for spelled in ("ئۆي", "##نىڭ"))
    assert review_page(sheet_of(pieces)).count("ئۆينىڭ") == 1
    names = [
        re.findall(r'"id":"([0-9a-f]{16})"', review_page(sheet)) for sheet in (sheet_of(), sheet_of(pieces))
    ]
    assert names[0] == re.findall(r'"id":"([0-9a-f]{16})"', review_page(sheet_of()))
    assert names[0] != names[1]


@pytest.mark.parametrize("piece", ["", "# x", "a\nb", "a\u2028b", " a", "a\u00a0", "a\x00", "\ud800"])
def test_a_piece_that_veto_txt_cannot_hold_is_refused(piece: str) -> None:
    with pytest.raises(ValueError, match="stands on one line"):
        ReviewedPiece(piece, "x", False, 1, ())
    with pytest.raises(ValueError, match="stands on one line"):
        sheet_of(vetoed=(piece,))


@settings(max_examples=100, deadline=None)
@given(
    words=st.dictionaries(st.text("abc", min_size=1, max_size=6), st.integers(1, 50), max_size=12),
    added=st.sets(st.sampled_from(["a", "##a", "ab", "##ab", "##c", "q"])),
)
def test_examples_are_the_most_frequent_words_of_each_piece(words: dict[str, int], added: set[str]) -> None:
    def after(word: str) -> list[str]:
        pieces = re.findall("ab|.", word)
        return [piece if index == 0 else f"##{piece}" for index, piece in enumerate(pieces)]

    def before(word: str) -> list[str]:
        return [word]

    order = sorted(added)
    spelled = {piece: Subword(piece.removeprefix("##"), piece.startswith("##")) for piece in order}
    reviewed = review_pieces(words, spelled, before=before, after=after, examples=2)
    assert [piece.piece for piece in reviewed] == order
    for piece in reviewed:
        using = [word for word in words if piece.piece in after(word)]
        assert piece.count == sum(words[word] * after(word).count(piece.piece) for word in words)
        assert [(example.word, example.count) for example in piece.examples] == [
            (word, words[word]) for word in sorted(using, key=lambda word: (-words[word], word))[:2]
        ]
        assert all(list(example.after) == after(example.word) for example in piece.examples)
