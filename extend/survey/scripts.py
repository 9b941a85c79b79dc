"""The script of a character, by ISO 15924 code, told from its Unicode name.

Python's `unicodedata` has no Script property. The first word of a letter's name is its script for every
script below; letters of others have none. What scripts share (digits, punctuation, marks) has none either.
"""

import functools
import unicodedata
from collections import Counter
from collections.abc import Mapping

_CODES = dict(
    line.split()
    for line in """
    ADLAM Adlm|ARABIC Arab|ARMENIAN Armn|BALINESE Bali|BAMUM Bamu|BATAK Batk|BENGALI Beng|BOPOMOFO Bopo
    BUGINESE Bugi|BUHID Buhd|CANADIAN Cans|CHAKMA Cakm|CHAM Cham|CHEROKEE Cher|CJK Hani|COPTIC Copt
    CYRILLIC Cyrl|DEVANAGARI Deva|ETHIOPIC Ethi|GEORGIAN Geor|GLAGOLITIC Glag|GREEK Grek|GUJARATI Gujr
    GURMUKHI Guru|HANGUL Hang|HANIFI Rohg|HANUNOO Hano|HEBREW Hebr|HIRAGANA Hira|JAVANESE Java
    KANNADA Knda|KATAKANA Kana|KAYAH Kali|KHMER Khmr|LAO Laoo|LATIN Latn|LEPCHA Lepc|LIMBU Limb|LISU Lisu
    MALAYALAM Mlym|MANDAIC Mand|MEETEI Mtei|MENDE Mend|MODI Modi|MONGOLIAN Mong|MRO Mroo|MYANMAR Mymr
    NEWA Newa|NKO Nkoo|NYIAKENG Hmnp|OL Olck|ORIYA Orya|OSAGE Osge|PHAGS-PA Phag|REJANG Rjng
    SAMARITAN Samr|SAURASHTRA Saur|SHARADA Shrd|SINHALA Sinh|SORA Sora|SUNDANESE Sund|SYLOTI Sylo
    SYRIAC Syrc|TAGALOG Tglg|TAGBANWA Tagb|TAI_LE Tale|TAI_THAM Lana|TAI_VIET Tavt|TAKRI Takr|TAMIL Taml
    TELUGU Telu|THAANA Thaa|THAI Thai|TIBETAN Tibt|TIFINAGH Tfng|TIRHUTA Tirh|VAI Vaii|WANCHO Wcho
    WARANG Wara|YI Yiii
    """.replace("\n", "|").split("|")
    if line.strip()
)
_WIDTHS = ("FULLWIDTH ", "HALFWIDTH ")
NO_SCRIPT = "Zyyy"


@functools.lru_cache(maxsize=1 << 16)
def script_of(character: str) -> str:
    """`Latn`, `Arab`, ... of a letter; `Zyyy` for what many scripts share and for what has no name."""
    if unicodedata.category(character)[0] != "L":
        return NO_SCRIPT
    name = unicodedata.name(character, "")
    for width in _WIDTHS:
        name = name.removeprefix(width)
    first, *rest = name.split(" ")
    return _CODES.get(first) or _CODES.get("_".join([first, *rest[:1]]), NO_SCRIPT)


def letter_scripts(word: str) -> dict[str, int]:
    """How many letters of each script a word has; what scripts share is left out."""
    found: dict[str, int] = {}
    for character in word:
        script = script_of(character)
        if script != NO_SCRIPT:
            found[script] = found.get(script, 0) + 1
    return found


def script_shares(words: Mapping[str, int]) -> dict[str, float]:
    """Of all letters of counted words the share of each script, the most frequent first."""
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for script, number in letter_scripts(word).items():
            letters[script] += number * count
    total = letters.total()
    return {
        script: number / total
        for script, number in sorted(letters.items(), key=lambda entry: (-entry[1], entry[0]))
    }
