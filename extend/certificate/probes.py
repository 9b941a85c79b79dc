"""Texts that a reloaded tokenizer must cut as the written one does: fixed ones, and words of its pieces."""

import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

CASE_PROBE = "Hello Ünïcode ọ̀"
PROBES = (
    CASE_PROBE,
    "The quick brown fox, 1984: 3.14%!",
    "Съешь ещё этих мягких булок",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "نص عربي قصير",
    "می\u200cخواهم بدانم",
    "שלום עולם",
    "हिन्दी में एक वाक्य",
    "தமிழ் மொழி",
    "ภาษาไทย",
    "中文和日本語のテスト",
    "한국어 문장",
    "ქართული ენა",
    "emoji 👩\u200d👩\u200d👧 🇰🇿 ✓",
    "e\u0301 n\u0303 (decomposed)",
    "literal ##ing and ▁word and Ġword",
    "a [MASK] written out, [UNK] too",
    "a <mask> written out, <unk> and </s> too",
    "x" * 600,
    "tabs\tand\u00a0blanks\u3000and\u2028separators",
    "   ",
    "",
)
_MARKS = ("##", "▁", "Ġ")
_WORDS_A_LINE = 12


def probes_for(
    pieces: Sequence[str], *, special: Iterable[str] = (), texts: Sequence[str] = ()
) -> tuple[str, ...]:
    """The fixed probes, the special tokens written out, a line in each script of `pieces`, then `texts`."""
    written_out = " and ".join(dict.fromkeys(special))
    lines = (
        " ".join(_spread(words, _WORDS_A_LINE)) for _, words in sorted(made_words(pieces).items()) if words
    )
    return (*PROBES, *([f"x {written_out} y"] if written_out else []), *lines, *texts)


def made_words(pieces: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Words made of `pieces`, by script: pieces in id order, set together two and two.

    A script is named by the first word of a letter's Unicode name (LATIN, CJK, HANGUL). Digits, marks and
    pieces without a letter make no word.
    """
    parts: dict[str, list[str]] = {}
    for piece in pieces:
        text = piece
        for mark in _MARKS:
            text = text.removeprefix(mark)
        if text.isalpha():
            parts.setdefault(unicodedata.name(text[0], "UNNAMED").split(" ")[0], []).append(text)
    return {script: ["".join(pair) for pair in _pairs(found)] for script, found in parts.items()}


def sample_words(pieces: Sequence[str], *, most: int = 1000) -> list[str]:
    """At most `most` of the made words, evenly spread over every script in turn."""
    by_script = [_spread(words, most) for _, words in sorted(made_words(pieces).items())]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_script))
    return list(itertools.islice((word for word in turns if word), most))


def _pairs(parts: Sequence[str]) -> Iterable[tuple[str, ...]]:
    half = (len(parts) + 1) // 2
    return itertools.zip_longest(parts[:half], parts[half:], fillvalue="")


def _spread(words: Sequence[str], most: int) -> Sequence[str]:
    step = max(1, -(-len(words) // most))
    return words[::step]
