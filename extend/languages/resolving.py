"""Language codes, names and autonyms to one resolution, which is always shown to the user.

Accepted: `ug`, `uig`, `ug-Arab`, `uig_Arab`, `Uyghur`, `ئۇيغۇرچە`, and `qaa`..`qtz`, which ISO 639 reserves
for local use. A name must be a name of the language as somebody writes it: guesses are offered, not taken.
Codes that only Wikipedia writes (`bat-smg`, `simple`) are read as it means them.
"""

import difflib
import functools
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from langcodes import Language as Tag
from langcodes.data_dicts import LIKELY_SUBTAGS
from langcodes.tag_parser import LanguageTagError
from language_data import name_data, names
from language_data.util import data_filename

from extend.errors import UsageError, escaped
from extend.languages.tables import published

_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_LOCAL_USE = re.compile(r"q[a-t][a-z]")
_NOT_ONE_LANGUAGE = {"und", "mul", "mis", "zxx"}
_KEPT = {"tl": "tl", "tgl": "tl"}
"""CLDR reads Tagalog as Filipino (fil); they are two languages to ISO 639, and the data say tl."""
_RIGHT_TO_LEFT = (
    "Adlm Arab Aran Armi Avst Chrs Elym Hatr Hebr Hung Khar Lydi Mand Mani Mend Merc Mero Narb Nbat Nkoo "
    "Orkh Ougr Palm Phli Phlp Phnx Prti Rohg Samr Sarb Sogd Sogo Syrc Syre Syrj Syrn Thaa Yezi"
)


@dataclass(frozen=True, slots=True)
class Language:
    """One language.

    `code` is the shortest BCP 47 tag that means the same (`ug`): it names the run folder. `bcp47` has the
    script where it is known (`ug-Arab`). `iso639_3` is the macrolanguage's code where `code` is one (`sw` is
    `swa`). `name` is English. A local-use code is its own name and has no script until data show one.
    """

    code: str
    iso639_3: str
    bcp47: str
    name: str
    autonym: str
    right_to_left: bool

    @property
    def is_local(self) -> bool:
        return _LOCAL_USE.fullmatch(self.code[:3]) is not None

    def told(self) -> str:
        """`ug = Uyghur (ئۇيغۇرچە), ug-Arab, ISO 639-3 uig, written right to left`."""
        name = self.name if self.autonym == self.name else f"{self.name} ({self.autonym})"
        direction = ", written right to left" if self.right_to_left else ""
        return f"{self.code} = {name}, {self.bcp47}, ISO 639-3 {self.iso639_3}{direction}"


def resolve(text: str) -> Language:
    """The language that a code, an English name or an autonym stands for.

    Raises UsageError E-LANGUAGE, with close matches, for what no language is called.
    """
    wanted = unicodedata.normalize("NFC", text).strip()
    named_like_a_code = wanted.istitle() and len(wanted) <= 3
    by_code, by_name = _by_code(wanted), _by_name(wanted)
    tag = (by_name or by_code) if named_like_a_code else (by_code or by_name)
    tag = tag or _by_code(published("wikipedia").means.get(wanted.lower(), ""))
    if tag is None:
        raise _unknown(wanted)
    return _described(tag)


def _by_code(text: str) -> Tag | None:
    if not _CODE.fullmatch(text):
        return None
    first = re.split("[-_]", text)[0].lower()
    try:
        tag = Tag.get(text.replace("_", "-"), normalize=first not in _KEPT)
    except LanguageTagError:
        return None
    if tag.language in _KEPT:
        tag = tag.update_dict({"language": _KEPT[tag.language]})
    subtags = {tag.language, tag.script, tag.territory}
    plain = tag.language is not None and not (tag.extensions or tag.private or tag.extlangs)
    return tag if plain and tag.is_valid() and not subtags & _NOT_ONE_LANGUAGE else None


def _by_name(text: str) -> Tag | None:
    for spelling in (text, _without_marks(text)):
        known = names.normalize_name(spelling)
        if known and known.isprintable() and known in _trie():
            return _by_code(names.get_trie_value(_trie(), known))
    return None


@functools.cache
def _trie() -> Any:
    return names.load_trie(data_filename("trie/und/name_to_language.marisa"))


def _without_marks(text: str) -> str:
    """`Yorùbá` is listed as `yoruba`."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(part for part in parts if unicodedata.category(part) != "Mn")


def _described(tag: Tag) -> Language:
    assert tag.language is not None
    short = _shortest(tag)
    full = _likely(tag)
    script = tag.script or (full.script if full else None)
    parts = [tag.language, script, short.territory, *(tag.variants or [])]
    bare = Tag.make(language=tag.language)
    local = _LOCAL_USE.fullmatch(tag.language) is not None
    return Language(
        code=short.to_tag(),
        iso639_3=bare.to_alpha3(),
        bcp47="-".join(part for part in parts if part),
        name=tag.language if local else short.display_name("en"),
        autonym=tag.language if local else bare.autonym(),
        right_to_left=script is not None and script in _RIGHT_TO_LEFT,
    )


def _shortest(tag: Tag) -> Tag:
    """Without the script and territory that the rest implies: `ug-Arab` is `ug`, `sr-Latn` stays."""
    full = _likely(tag)
    for kept in ({}, {"territory": tag.territory}, {"script": tag.script}):
        short = Tag.make(language=tag.language, variants=tag.variants, **kept)
        if full is not None and _likely(short) == full:
            return short
    return tag


def _likely(tag: Tag) -> Tag | None:
    """Script and territory filled in where CLDR knows the language or its macrolanguage.

    For any other it would answer with those of American English.
    """
    for known in (tag, tag.prefer_macrolanguage()):
        if known.language in LIKELY_SUBTAGS:
            return known.maximize()
    return None


@functools.cache
def _english_names() -> dict[str, str]:
    names_by_code = name_data.CODE_TO_NAMES.items()
    codes = {called["en"]: code for code, called in names_by_code if "en" in called and code.islower()}
    return {name: code for name, code in codes.items() if _by_code(code)}


def _unknown(text: str) -> UsageError:
    codes = _english_names()
    close = difflib.get_close_matches(text[:80].title(), codes, n=3, cutoff=0.7)
    offered = ", ".join(f"{codes[name]} ({name})" for name in close)
    return UsageError(
        f"no language is known as {escaped(text) or 'nothing'}"
        + (f"; did you mean {offered}?" if close else ""),
        name="E-LANGUAGE",
        next="give a code (ug, uig), a tag (ug-Arab), a name (Uyghur), or a local-use code qaa to qtz",
    )
