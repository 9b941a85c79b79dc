"""The review sheet in a real browser: what a reader chooses there comes out as veto.txt."""

import base64
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from extend.report.review import ReviewedPiece, ReviewSheet, WordExample, review_page
from tests.browser import Page, browse, find_browser
from tests.extend.test_report_review import UYGHUR, plain, sheet_of


def vetoed_in(text: str) -> list[str]:
    """The format, read independently: one piece a line, `# ` begins a comment."""
    return [line for line in text.split("\n") if line and line[:2] != "# "]


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Page]:
    if find_browser() is None:
        pytest.skip("no Chromium on this machine: the sheet's script is not run")
    with browse(tmp_path / "browser") as page:
        yield page


def show(tab: Page, tmp_path: Path, sheet: ReviewSheet) -> None:
    path = tmp_path / "review.html"
    path.write_bytes(review_page(sheet).encode("utf-8"))
    tab.open(path.as_uri())


def row(number: int, inside: str = "") -> str:
    return f"#rows > li:nth-child({number}) {inside}".strip()


def shown(tab: Page) -> list[str]:
    return list(tab.value("[...document.querySelectorAll('#rows .piece')].map((e) => e.textContent)"))


def counts(tab: Page) -> str:
    return " ".join(tab.value("document.getElementById('counts').textContent").split())


def download(tab: Page) -> str:
    tab.click("#download")
    return tab.downloaded("veto.txt").decode("utf-8")


def test_a_veto_is_remembered_and_downloaded_as_spelled(tab: Page, tmp_path: Path) -> None:
    show(tab, tmp_path, sheet_of())
    assert counts(tab) == "0 vetoed 0 approved 4 open"
    for number in (1, 4):
        tab.click(row(number, ".veto"))
    tab.click(row(2, ".approve"))
    assert counts(tab) == "2 vetoed 1 approved 1 open"
    text = download(tab)
    assert vetoed_in(text) == ["##نىڭ", "#"]
    assert text.startswith("# ")
    assert text.endswith("\n")
    show(tab, tmp_path, sheet_of())
    assert counts(tab) == "2 vetoed 1 approved 1 open"
    tab.click(row(1, ".veto"))
    tab.click(row(4, ".approve"))
    assert counts(tab) == "0 vetoed 2 approved 2 open"
    assert vetoed_in(download(tab)) == []
    tab.value("window.confirm = () => true")
    tab.click("#clear")
    show(tab, tmp_path, sheet_of())
    assert counts(tab) == "0 vetoed 0 approved 4 open"
    tab.click(row(1, ".veto"))
    show(tab, tmp_path, sheet_of(UYGHUR[:2]))
    assert counts(tab) == "0 vetoed 0 approved 2 open"
    assert {url.split(":")[0] for url in tab.requests} <= {"file", "blob"}


def test_an_old_file_is_read_back_and_its_other_pieces_stay_in_it(tab: Page, tmp_path: Path) -> None:
    show(tab, tmp_path, sheet_of(vetoed=("##نڭ",)))
    assert tab.value("document.querySelector('#earlier summary').textContent") == "Vetoed earlier (1)"
    old = tmp_path / "old.txt"
    old.write_bytes("\ufeff# a comment\r\n##گە\r\n\r\n#\r\n##gone\r\n".encode())
    tab.choose_file("#load", old)
    tab.until("!document.getElementById('notice').hidden")
    assert counts(tab) == "2 vetoed 0 approved 2 open"
    assert "2 vetoes read from old.txt" in tab.value("document.getElementById('notice').textContent")
    assert vetoed_in(download(tab)) == ["##نڭ", "##gone", "##گە", "#"]
    tab.value("document.querySelector('#earlier').open = true")
    tab.click("#earlier li button")
    assert vetoed_in(download(tab)) == ["##gone", "##گە", "#"]
    show(tab, tmp_path, sheet_of(vetoed=("##نڭ",)))
    assert vetoed_in(download(tab)) == ["##gone", "##گە", "#"]


def test_the_list_is_found_sorted_and_narrowed(tab: Page, tmp_path: Path) -> None:
    pieces = tuple(map(plain, ("##බ", "ක", "ab", "##AB", "ශ්\u200dරී"), (5, 9, 7, 7, 1)))
    show(tab, tmp_path, sheet_of(pieces, language="si", right_to_left=False))
    assert shown(tab)[:4] == ["ක", "ab", "AB", "බ"]
    tab.fill("#sort", "rare")
    assert shown(tab)[-1] == "ක"
    tab.fill("#sort", "alphabet")
    assert [text for text in shown(tab) if text in "කබ"] == ["ක", "බ"]
    tab.click("#filter")
    tab.type("aB")
    assert sorted(shown(tab)) == ["AB", "ab"]
    assert counts(tab) == "0 vetoed 0 approved 5 open 2 shown"
    tab.value("document.getElementById('filter').select()")
    tab.type("ශ්රී")  # without its joiner
    assert [text[:4] for text in shown(tab)] == ["ශ්\u200dර"]
    tab.click(row(1, ".veto"))
    tab.value("document.getElementById('filter').value = ''")
    tab.fill("#show", "veto")
    assert len(shown(tab)) == 1
    tab.fill("#show", "approve")
    assert tab.value("document.getElementById('empty').offsetHeight > 0")


def test_the_keyboard_alone_goes_through_the_pages(tab: Page, tmp_path: Path) -> None:
    pieces = tuple(plain(f"##{number}", 100 - number) for number in range(60))
    show(tab, tmp_path, sheet_of(pieces))
    tab.value("document.querySelector('#rows .veto').focus()")
    tab.press("ۋ", "KeyV")  # the key of V under another layout
    tab.press("ArrowDown", "ArrowDown")
    tab.press("a", "KeyA")
    assert vetoed_in(download(tab)) == ["##0"]
    assert counts(tab) == "1 vetoed 1 approved 58 open"
    tab.value(f"document.querySelector('{row(50, '.veto')}').focus()")
    tab.press("v", "KeyV")
    assert tab.value("document.getElementById('page').value") == "2"
    assert tab.value("document.activeElement.closest('li').querySelector('.piece').textContent") == "50"
    tab.press("ArrowUp", "ArrowUp")
    assert tab.value("document.activeElement.closest('li').className") == "veto"
    tab.press("v", "KeyV")
    assert counts(tab) == "1 vetoed 1 approved 58 open"


def test_thirty_thousand_pieces_are_fifty_rows_at_a_time(tab: Page, tmp_path: Path) -> None:
    pieces = tuple(plain(f"##p{number}", 1 + number % 7) for number in range(30_000))
    show(tab, tmp_path, sheet_of(pieces))
    assert len(shown(tab)) == 50
    tab.fill("#page", 600)
    assert len(shown(tab)) == 50
    assert tab.value("document.getElementById('next').disabled")
    tab.click("#filter")
    tab.type("p2999")
    assert sorted(shown(tab)) == sorted(["p2999", *(f"p2999{digit}" for digit in range(10))])
    assert tab.value("document.querySelectorAll('*').length") < 2000


def test_hostile_text_is_only_text(tab: Page, tmp_path: Path) -> None:
    evil = "<img/src=x/onerror=document.title='owned'></script><b>"
    word = WordExample(evil, 1, (evil, "[UNK]"), (evil,))
    piece = ReviewedPiece(evil, evil, False, 1, (word,))
    show(
        tab,
        tmp_path,
        sheet_of((piece,), name=evil, autonym=evil, base=evil, language='x"><b>', vetoed=(evil,)),
    )
    assert shown(tab) == [evil]
    assert tab.value("document.querySelectorAll('img, #rows b, h1 b').length") == 0
    assert "vocabulary review" in tab.value("document.title")
    tab.click(row(1, ".veto"))
    assert vetoed_in(download(tab)) == [evil]


def test_words_keep_direction_letters_and_marks(tab: Page, tmp_path: Path) -> None:
    show(tab, tmp_path, sheet_of())
    assert set(tab.value("[...document.querySelectorAll('#rows bdi')].map((e) => e.dir)")) == {"rtl"}
    assert tab.value(f"document.querySelector('{row(1, '.word')}').textContent") == "ئۆينىڭ"
    assert tab.value(f"document.querySelector('{row(1, 'mark')}').textContent") == "نىڭ"
    assert tab.value("[...document.querySelectorAll('#rows .unknown')].length") == 1
    gaps = (
        "(() => { const e = document.querySelector('%s'); const r = document.createRange();"
        " r.selectNodeContents(e); const t = r.getBoundingClientRect(), b = e.getBoundingClientRect();"
        " return [t.left - b.left, b.right - t.right]; })()"
    )
    left, right = tab.value(gaps % row(1, ".piece"))
    assert right > 4 > 1 > abs(left)  # the stroke of a right-to-left piece is at its right
    show(tab, tmp_path, sheet_of((plain("##ට"),), language="si", right_to_left=False))
    left, right = tab.value(gaps % row(1, ".piece"))
    assert left > 4 > 1 > abs(right)


def test_pieces_of_a_unigram_base_are_marked_in_their_words(tab: Page, tmp_path: Path) -> None:
    words = (
        WordExample("babab", 3, ("\u2581", "<unk>"), ("\u2581bab", "ab")),
        WordExample("ab", 2, ("\u2581", "<unk>"), ("\u2581", "ab")),
        WordExample("abXab", 1, ("\u2581", "<unk>"), ("\u2581ab", "<unk>", "ab")),  # the base cannot spell X
    )
    pieces = (
        ReviewedPiece("ab", "ab", True, 5, words),
        ReviewedPiece("\u2581bab", "bab", False, 3, words[:1]),
    )
    show(tab, tmp_path, sheet_of(pieces, language="rw", right_to_left=False, unknown="<unk>"))
    parts = "(e) => [...e.childNodes].map((part) => part.textContent)"
    marked = tab.value(f"[...document.querySelectorAll('#rows .word')].map({parts})")
    assert marked == [["bab", "ab"], ["ab"], ["abX", "ab"], ["bab", "ab"]]
    chips = tab.value("[...document.querySelectorAll('#rows .chip')].map((e) => e.textContent)")
    assert chips[:6] == ["\u2581", "cannot read", "bab", "ab", "\u2581", "cannot read"]


def test_signs_get_a_circle_and_invisible_characters_a_name(tab: Page, tmp_path: Path) -> None:
    words = (
        WordExample("ලංකාවේ", 3, ("[UNK]",), ("ලංකාව", "##ේ")),
        WordExample("ශ්\u200dරී\u202e", 1, ("[UNK]",), ("ශ්\u200dරී\u202e",)),
    )
    pieces = (
        ReviewedPiece("##ේ", "ේ", True, 9, words),
        plain("ශ්\u200dර"),
        plain("##\u200cم"),
        plain("a\u202eb"),
    )
    show(tab, tmp_path, sheet_of(pieces, language="si", right_to_left=False))
    assert shown(tab) == ["\u25ccේ", "ශ්\u200dරZWJ", "ZWNJم", "aRLOb"]
    assert tab.value(f"document.querySelector('{row(1, 'mark')}').textContent") == "වේ"
    assert tab.value(f"document.querySelectorAll('{row(1, '.word')}')[1].textContent") == "ශ්\u200dරීRLO"
    seen = tab.value("document.querySelector('main').innerText")
    assert not [c for c in seen if unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "PDF")]


def test_it_works_where_nothing_can_be_remembered(tab: Page) -> None:
    page = base64.b64encode(review_page(sheet_of()).encode()).decode()
    tab.open(f"data:text/html;charset=utf-8;base64,{page}")  # a place without localStorage
    assert "does not remember" in tab.value("document.getElementById('notice').textContent")
    tab.click(row(2, ".veto"))
    assert vetoed_in(download(tab)) == ["بىر"]


@pytest.mark.parametrize("width", [320, 390, 800, 1200])
def test_no_width_scrolls_sideways_and_both_themes_are_drawn(tab: Page, tmp_path: Path, width: int) -> None:
    long = WordExample("ئا" * 30, 1, tuple(f"##{'ئا' * 3}" for _ in range(12)), ("ئا" * 30,))
    show(tab, tmp_path, sheet_of((*UYGHUR, ReviewedPiece("ئا" * 30, "ئا" * 30, False, 1, (long,)))))
    papers = []
    for dark in (False, True):
        tab.look(width=width, height=800, dark=dark, phone=width < 500)
        assert tab.value("document.documentElement.scrollWidth") <= width
        edges = "[...document.querySelectorAll('#rows *')].map((e) => e.getBoundingClientRect().right)"
        assert max(tab.value(edges)) <= width
        papers.append(tab.value("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(250, 249, 245)", "rgb(18, 21, 23)"]
