"""The language passport: what data sets, encoders and hubs call one language, and what to beware of."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from langcodes import Language as Tag
from langcodes.data_dicts import LANGUAGE_ALPHA3_BIBLIOGRAPHIC, LANGUAGE_REPLACEMENTS

from extend.errors import escaped
from extend.languages.catalogues import catalogue, known_bases, seen
from extend.languages.families import individuals, macrolanguage, scripts_of
from extend.languages.resolving import Language, resolve
from extend.languages.tables import CATALOGUES, PRETRAINING, published

_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class LanguageWarning:
    """Something to beware of: `name` is stable (`W-...`), `text` is for people."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Passport:
    """What one language is called, and where.

    Attributes:
        language: the resolution: code, BCP 47 tag, names, direction.
        iso639_1: two letters, None where there are none.
        iso639_2: the terminological and, where another, the bibliographical code of a language that has an
            `iso639_1`; of others our data do not say.
        iso639_3: the macrolanguage's where the language is one.
        script: ISO 15924, None when unknown.
        scripts: all that are customary, its own first.
        rarer_scripts: those that CLDR calls secondary.
        macrolanguage: the code of the one it belongs to.
        individuals: the codes of those that belong to it.
        codes: its codes by list of CATALOGUES, of lists that have it; several where a list has several sets.
        related: by list that has not it but its macrolanguage, or languages of it, their codes.
        seen: by encoder of `known_bases`, whether it read the language in pretraining.
        card_language: the `language` of a Hub card, empty for what the Hub has no code for.
        warnings: what to beware of, in the order of the checks.
    """

    language: Language
    iso639_1: str | None
    iso639_2: tuple[str, ...]
    iso639_3: str
    script: str | None
    scripts: tuple[str, ...]
    rarer_scripts: tuple[str, ...]
    macrolanguage: str | None
    individuals: tuple[str, ...]
    codes: Mapping[str, tuple[str, ...]]
    related: Mapping[str, tuple[str, ...]]
    seen: Mapping[str, bool]
    card_language: str
    warnings: tuple[LanguageWarning, ...]

    def codes_of(self, catalogue: str) -> tuple[str, ...]:
        """The codes to ask a list for: the language's own, else those that stand for it, else none."""
        return self.codes.get(catalogue) or self.related.get(catalogue, ())

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        own = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("language", "warnings")
        }
        return {
            **dataclasses.asdict(self.language),
            **{name: dict(value) if isinstance(value, Mapping) else value for name, value in own.items()},
            "warnings": [dataclasses.asdict(warning) for warning in self.warnings],
        }

    def facts(self) -> list[tuple[str, str]]:
        """Label and text of every fact there is, for people; one line each."""
        language = self.language
        codes = [language.iso639_3, *(code for code in (self.iso639_1, *self.iso639_2) if code)]
        listed = {**self.related, **self.codes}
        found = [
            ("language", f"{language.name} ({language.autonym})"),
            ("BCP 47", language.bcp47),
            ("ISO 639", ", ".join(sorted(set(codes), key=lambda code: (len(code), code)))),
            ("script", _script_text(self)),
            ("macrolanguage", self.macrolanguage or ""),
            ("individual languages", _some(self.individuals)),
            *(
                (published(name).title, " ".join(listed[name]) if name in listed else "has none")
                for name in CATALOGUES
            ),
            ("read by", "; ".join(self._readers()) or "none of the encoders known to us"),
        ]
        return [(label, text) for label, text in found if text]

    def _readers(self) -> list[str]:
        lists = {name: published(name) for name in PRETRAINING}
        return [one.title for one in lists.values() if any(self.seen[model] for model in one.models)]


def passport(language: Language, *, given: str = "") -> Passport:
    """Everything that is known of what a language is called.

    `given` is what somebody typed for it: only the warnings depend on it (`in` is Indonesian's old code).
    """
    tag = Tag.get(language.bcp47, normalize=False)
    assert tag.language is not None
    own = tag.language
    written = scripts_of(own)
    lists = {name: catalogue(name) for name in CATALOGUES}
    codes = {name: found for name, one in lists.items() if (found := one.own(language))}
    related = {
        name: found for name, one in lists.items() if name not in codes and (found := one.related(language))
    }
    made = Passport(
        language=language,
        iso639_1=own if len(own) == 2 else None,
        iso639_2=_iso639_2(own, language.iso639_3),
        iso639_3=language.iso639_3,
        script=tag.script,
        scripts=tuple(dict.fromkeys(filter(None, (tag.script, *written.customary)))),
        rarer_scripts=tuple(one for one in written.rarer if one != tag.script),
        macrolanguage=macrolanguage(own),
        individuals=individuals(own),
        codes=MappingProxyType(codes),
        related=MappingProxyType(related),
        seen=MappingProxyType({base: bool(seen(base, language)) for base in known_bases()}),
        card_language=card_language(language),
        warnings=(),
    )
    return dataclasses.replace(made, warnings=tuple(_warnings(made, given.strip())))


def card_language(language: Language) -> str:
    """The `language` of a Hub card: its ISO 639-1 code, else ISO 639-3; empty for local-use codes.

    The Hub takes no other value. Script and variety go to its `language_bcp47`, and a language without a code
    into the text of the card.
    """
    return "" if language.is_local else language.bcp47.split("-")[0]


def _iso639_2(own: str, alpha3: str) -> tuple[str, ...]:
    """Every language of ISO 639-1 is in ISO 639-2; of the others, our data do not say."""
    if len(own) != 2:
        return ()
    return tuple(dict.fromkeys((alpha3, LANGUAGE_ALPHA3_BIBLIOGRAPHIC.get(own, alpha3))))


def _script_text(one: Passport) -> str:
    direction = ", right to left" if one.language.right_to_left else ""
    also, rarely = ", ".join(one.scripts[1:]), ", ".join(one.rarer_scripts)
    told = (f"{one.script or 'unknown'}{direction}", also and f"also {also}", rarely and f"rarely {rarely}")
    return "; ".join(filter(None, told))


def _some(codes: tuple[str, ...]) -> str:
    rest = len(codes) - _MOST_NAMED
    return ", ".join(codes[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _warnings(one: Passport, given: str) -> list[LanguageWarning]:
    texts = {
        "W-LANGUAGE-LOCAL": _local(one),
        "W-LANGUAGE-MACRO": _macro(one),
        "W-LANGUAGE-FILED": _filed(one),
        "W-LANGUAGE-SCRIPTS": _several_scripts(one),
        "W-LANGUAGE-OLD-CODE": _old_code(one, given),
        "W-LANGUAGE-TWO-MEANINGS": _two_meanings(one, given),
    }
    return [LanguageWarning(name, text) for name, text in texts.items() if text]


def _local(one: Passport) -> str:
    code = one.language.code
    return (
        f"{code} is a code for local use: no list knows it, and a Hub card cannot name it as its language"
        if one.language.is_local
        else ""
    )


def _macro(one: Passport) -> str:
    if not one.individuals:
        return ""
    return (
        f"{one.language.code} is a macrolanguage (of {_some(one.individuals)}); make sure that text and test "
        "sets are of the same one"
    )


def _filed(one: Passport) -> str:
    if not one.related:
        return ""
    told = "; ".join(f"{published(name).title} has {', '.join(codes)}" for name, codes in one.related.items())
    return f"not every list has {one.language.code} itself: {told}"


def _several_scripts(one: Passport) -> str:
    if len(one.scripts) < 2:
        return ""
    return (
        f"{one.language.name} is written in {', '.join(one.scripts)}; {one.language.bcp47} is taken, "
        "and an encoder reads the same words in another script as other words"
    )


def _old_code(one: Passport, given: str) -> str:
    code, replaced = given.lower().replace("_", "-"), LANGUAGE_REPLACEMENTS.get(given.lower())
    known = {one.iso639_3, *one.iso639_2, *one.language.bcp47.split("-")}
    if replaced is None or code in known:
        return ""
    return (
        f"{escaped(given)} is an old or other code; it is read as {one.language.code} ({one.language.name})"
    )


def _two_meanings(one: Passport, given: str) -> str:
    """A code that ISO 639 and a list of data use for different languages, as `als`."""
    typed = {given.lower(), one.language.code}
    for name in CATALOGUES:
        for code, tag in published(name).means.items():
            if code in typed and resolve(code) != resolve(tag):
                other = resolve(tag)
                return (
                    f"{code} is {resolve(code).name} in ISO 639, and {other.name} ({other.code}) in "
                    f"{published(name).title}; {one.language.name} is taken"
                )
    return ""
