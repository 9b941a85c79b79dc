"""Which characters are a fault, or worth knowing of, wherever they stand; and which look like others."""

import functools
import re
import unicodedata
from collections.abc import Sequence

from extend.survey.scripts import letter_scripts, script_of

TATWEEL, JOINERS, SOFT_HYPHEN, BOM, REPLACEMENT = "\u0640", "\u200c\u200d", "\u00ad", "\ufeff", "\ufffd"
_NUMBER_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
"""Format characters that are written: Arabic and Syriac signs around numbers."""
_SHAPES = ("<initial>", "<medial>", "<final>", "<isolated>")
_LIGATURES = range(0xFB00, 0xFB50)
_PHRASES = range(0xFDF0, 0xFE00)
"""Whole words and symbols in one character, as U+FDFA: written so on purpose."""


@functools.lru_cache(maxsize=1 << 16)
def check_of(character: str) -> str:
    """The name of the check that a character alone decides; empty for one that is none's."""
    if character in JOINERS:
        return "joiners"
    named = {TATWEEL: "tatweel", SOFT_HYPHEN: "soft_hyphen", BOM: "bom", REPLACEMENT: "replacement"}
    if character in named:
        return named[character]
    category = unicodedata.category(character)
    if category in ("Co", "Cn", "Cs"):
        return "private_use"
    if category in ("Cc", "Cf") and character not in _NUMBER_SIGNS:
        return "invisible"
    return "presentation_forms" if _is_presentation_form(character, category) else ""


def _is_presentation_form(character: str, category: str) -> bool:
    point = ord(character)
    if point in _PHRASES:
        return False
    tag = unicodedata.decomposition(character).partition(" ")[0]
    wide = tag in ("<wide>", "<narrow>") and category[0] in "LN"
    return (
        wide
        or tag in _SHAPES
        or (point in _LIGATURES and unicodedata.normalize("NFKC", character) != character)
    )


def character_name(character: str) -> str:
    """`U+0640 arabic tatweel`; the number alone for what has no name."""
    name = unicodedata.name(character, "").lower()
    return f"U+{ord(character):04X} {name}".rstrip()


_LATIN_CYRILLIC = (
    "AА BВ CС EЕ HН IІ JЈ KК MМ OО PР SЅ TТ XХ YУ aа cс eе hһ iі jј oо pр sѕ xх yу äӓ öӧ æӕ ëё ïї ÏЇ ËЁ əә ƏӘ"
)
_LATIN_GREEK = "AΑ BΒ EΕ ZΖ HΗ IΙ KΚ MΜ NΝ OΟ PΡ TΤ YΥ XΧ oο"


def _lookalikes() -> dict[tuple[str, str], str]:
    """By letter and script the letter of that script which looks the same."""
    cyrillic = {pair[0]: pair[1] for pair in _LATIN_CYRILLIC.split()}
    greek = {pair[0]: pair[1] for pair in _LATIN_GREEK.split()}
    same: dict[tuple[str, str], str] = {}
    for latin in cyrillic.keys() | greek.keys():
        letters = {"Latn": latin, "Cyrl": cyrillic.get(latin), "Grek": greek.get(latin)}
        for letter in letters.values():
            same |= {(letter, script): other for script, other in letters.items() if letter and other}
    return same


_LOOKALIKES = _lookalikes()
_EAST_ASIAN = frozenset({"Hani", "Hira", "Kana", "Hang", "Bopo"})
_LETTERS = re.compile(r"[^\W\d_]+(?:[\u0300-\u036f]+[^\W\d_]+)*")


def is_mixed(word: str) -> bool:
    """Whether a stretch of letters in the word is of several scripts; those of East Asia go together."""
    return _scripts(word) > 1 and any(_scripts(stretch) > 1 for stretch in _LETTERS.findall(word))


def _scripts(stretch: str) -> int:
    found = letter_scripts(stretch).keys()
    return len(found - _EAST_ASIAN) + bool(found & _EAST_ASIAN)


def in_one_script(word: str, scripts: Sequence[str]) -> str:
    """The word with each mixed stretch in one script, letters that look like others replaced by them.

    The first of `scripts` that it can be in is taken. The word as it is when some stretch stays mixed.
    """
    mended = _LETTERS.sub(lambda found: _in_its_script(found.group(), scripts), word)
    return word if is_mixed(mended) else mended


def _in_its_script(stretch: str, scripts: Sequence[str]) -> str:
    found = letter_scripts(stretch)
    for script in (one for one in scripts if one in found):
        mended = "".join(
            letter if script_of(letter) == script else _LOOKALIKES.get((letter, script), letter)
            for letter in stretch
        )
        if _scripts(mended) == 1:
            return mended
    return stretch


_SAME_TO_THE_EYE = str.maketrans(
    {
        "\u06a9": "\u0643", "\u06aa": "\u0643",  # kaf
        "\u06cc": "\u064a",  # yeh
        "\u06c1": "\u0647",  # heh
        "\u0219": "\u015f", "\u021b": "\u0163", "\u0218": "\u015e", "\u021a": "\u0162",  # comma, cedilla
        "\u01dd": "\u0259", "\u018e": "\u018f",  # schwa
    }
)  # fmt: skip
_APOSTROPHES = re.compile(r"(?<=[^\W\d_])['\u2018\u2019\u02bb\u02bc\u02b9\u2032`\u00b4](?=[^\W\d_])")


def eye_form(word: str) -> str:
    """What spellings share that look the same: one kaf, yeh and heh of the Arabic script, one comma or
    cedilla below, one schwa, one apostrophe between letters; composed as NFC."""
    return _APOSTROPHES.sub("'", unicodedata.normalize("NFC", word).translate(_SAME_TO_THE_EYE))
