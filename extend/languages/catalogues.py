"""The published lists as languages: from a code to its language, and from a language to its codes."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from extend.languages.families import relatives
from extend.languages.resolving import Language, resolve
from extend.languages.tables import PRETRAINING, published


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One list: its languages by code, and its codes by BCP 47 tag with script."""

    title: str
    source: str
    languages: Mapping[str, Language]
    codes: Mapping[str, tuple[str, ...]]

    def own(self, language: Language) -> tuple[str, ...]:
        """The codes of exactly this language, in its script, in the order of the list."""
        return self.codes.get(language.bcp47, ())

    def related(self, language: Language) -> tuple[str, ...]:
        """The codes of what stands for it in the list: its macrolanguage, or the languages in it.

        So `sw` finds FLORES's `swh_Latn`, and `swh` finds Wikipedia's `sw`.
        """
        return tuple(code for tag in relatives(language.bcp47) for code in self.codes.get(tag, ()))


@functools.cache
def catalogue(name: str) -> Catalogue:
    """A list of CATALOGUES or PRETRAINING with every code resolved."""
    table = published(name)
    languages = {code: resolve(tag) for code, tag in table.tags().items()}
    codes: dict[str, tuple[str, ...]] = {}
    for code, language in languages.items():
        codes[language.bcp47] = (*codes.get(language.bcp47, ()), code)
    return Catalogue(table.title, table.source, MappingProxyType(languages), MappingProxyType(codes))


def seen(base: str, language: Language) -> bool | None:
    """Whether an encoder read text of `language` in pretraining; None when what it read is not known.

    `base` is a name on the Hub (`google-bert/bert-base-multilingual-cased`, also without its owner) or a
    folder of that name. A list that has the macrolanguage, or the chief language of one, counts; the script
    must be the same: Uyghur in Latin letters was not seen where Uyghur in Arabic letters was.
    """
    wanted = base.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    for name in PRETRAINING:
        if wanted in {model.rpartition("/")[2].lower() for model in published(name).models}:
            found = catalogue(name)
            return bool(found.own(language) or found.related(language))
    return None


def known_bases() -> tuple[str, ...]:
    """The encoders, by their names on the Hub, of which `seen` knows what they read."""
    return tuple(model for name in PRETRAINING for model in published(name).models)
