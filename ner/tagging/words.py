"""Plain text to words, with the place of each.

BERT's rule (Devlin et al. 2019, `BasicTokenizer`), which is what a WordPiece encoder's own pre-tokenizer
does: words end at white space, a punctuation mark or a symbol of ASCII is a word, and so is a CJK character.
It is used for every encoder: other pre-tokenizers cut for pieces and not for words (SentencePiece leaves
punctuation on words, byte-level ones part vowel signs from letters), and taggers are trained on words.
"""

import re
import unicodedata
from itertools import chain

_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""The blocks BERT sets apart; kana and Hangul are not among them."""
_ASCII_SYMBOLS = frozenset(chain(range(33, 48), range(58, 65), range(91, 97), range(123, 127)))
_WORD = re.compile(r"w(?:[wh]*w)?|p")


class _Classes(dict[int, str]):
    """By code point: `s`pace, `h`idden, a word by itself (`p`), part of a `w`ord; found when first asked."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _class_of(code)
        return found


def _class_of(code: int) -> str:
    character = chr(code)
    if character.isspace():
        return "s"
    category = unicodedata.category(character)
    if category[0] == "C" or code == 0xFFFD:
        return "h"
    if code in _ASCII_SYMBOLS or category[0] == "P" or any(first <= code <= last for first, last in _CJK):
        return "p"
    return "w"


_CLASSES = _Classes()


def word_bounds(text: str) -> tuple[tuple[int, int], ...]:
    """Where the words of `text` begin and end, in characters (code points), in order.

    Characters that are not shown (controls, zero-width ones, U+FFFD) are of a word only between two that are.
    """
    return tuple(match.span() for match in _WORD.finditer(text.translate(_CLASSES)))
