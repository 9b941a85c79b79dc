"""Macrolanguages and their individual languages (ISO 639-3), and the scripts that CLDR calls customary."""

import functools
import re
from dataclasses import dataclass

from langcodes.data_dicts import LANGUAGE_REPLACEMENTS, MACROLANGUAGES, NORMALIZED_MACROLANGUAGES
from language_data.util import data_filename

_CHIEF = {member: macro for member, macro in NORMALIZED_MACROLANGUAGES.items() if member != "bh"}
_STANDS_FOR = {**_CHIEF, "nb": "no", "fil": "tl"}
"""Individual language to the macrolanguage under whose code its text is usually filed (CLDR's aliases of
reason "macrolanguage"); besides, Bokmål is filed under Norwegian, and Filipino is the standard of Tagalog."""
_SERBO_CROATIAN = "sh"
_ELEMENT = re.compile(r'<language type="([a-z]{2,3})" scripts="([A-Za-z ]+)"([^>]*)>')


def relatives(tag: str) -> tuple[str, ...]:
    """Tags, in the same script, under which a list may file a language instead.

    `sw-Latn` to `swh-Latn`, and back; `ak-Latn` to `fat-Latn` and `tw-Latn`.
    """
    language, _, rest = tag.partition("-")
    macro = _STANDS_FOR.get(language)
    members = sorted(member for member, of in _STANDS_FOR.items() if of == language)
    return tuple("-".join(filter(None, (other, rest))) for other in (macro, *members) if other)


def macrolanguage(code: str) -> str | None:
    """The macrolanguage that an individual language belongs to (`swh` to `sw`)."""
    macro: str | None = MACROLANGUAGES.get(code)
    return None if macro == _SERBO_CROATIAN else macro


def individuals(code: str) -> tuple[str, ...]:
    """The individual languages of a macrolanguage (`sw` to `swc`, `swh`), none for any other."""
    members = (member for member, macro in MACROLANGUAGES.items() if macro == code)
    withdrawn = {code for code in LANGUAGE_REPLACEMENTS if len(code) == 2}  # `in` stands beside `id`
    return tuple(sorted(set(members) - withdrawn))


@dataclass(frozen=True, slots=True)
class Scripts:
    """ISO 15924 codes of the scripts that a language is customarily written in, and of rarer ones."""

    customary: tuple[str, ...] = ()
    rarer: tuple[str, ...] = ()


def scripts_of(code: str) -> Scripts:
    """What CLDR's supplemental data say of a language; nothing where they are silent."""
    return _scripts().get(code, Scripts())


@functools.cache
def _scripts() -> dict[str, Scripts]:
    with open(data_filename("supplementalData.xml"), encoding="utf-8") as file:
        elements = _ELEMENT.findall(file.read())
    found: dict[str, Scripts] = {}
    for code, names, attributes in elements:
        before, listed = found.get(code, Scripts()), tuple(names.split())
        if "secondary" in attributes:
            found[code] = Scripts(before.customary, (*before.rarer, *listed))
        else:
            found[code] = Scripts((*before.customary, *listed), before.rarer)
    return found
