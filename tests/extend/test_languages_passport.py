"""The passport: every published code is a language and comes back, and what misleads is warned of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.languages import (
    CATALOGUES,
    PRETRAINING,
    Passport,
    card_language,
    catalogue,
    known_bases,
    passport,
    published,
    resolve,
    seen,
)

LISTS = (*CATALOGUES, *PRETRAINING)
MBERT, XLMR = "google-bert/bert-base-multilingual-cased", "FacebookAI/xlm-roberta-base"


def _of(text: str) -> Passport:
    return passport(resolve(text), given=text)


def _warned(text: str) -> dict[str, str]:
    return {warning.name: warning.text for warning in _of(text).warnings}


@pytest.mark.parametrize("name", LISTS)
def test_every_code_of_a_list_is_a_language_and_comes_back_from_it(name: str) -> None:
    table, found = published(name), catalogue(name)
    assert set(found.languages) == set(table.codes) - set(table.without)
    for code, language in found.languages.items():
        assert code in found.own(language)
        assert found.codes[language.bcp47] == found.own(language)


@pytest.mark.parametrize("name", LISTS)
def test_no_code_stands_twice_and_no_two_languages_have_one(name: str) -> None:
    table, found = published(name), catalogue(name)
    assert len(set(table.codes)) == len(table.codes)
    assert {*table.means, *table.without} <= set(table.codes)
    listed = [code for codes in found.codes.values() for code in codes]
    assert sorted(listed) == sorted(found.languages)


@pytest.mark.parametrize("name", [name for name in LISTS if name != "uner"])
def test_only_a_collection_of_sets_has_several_codes_for_a_language(name: str) -> None:
    assert all(len(codes) == 1 for codes in catalogue(name).codes.values())


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("wikiann", 176),
        ("masakhaner-1", 10),
        ("masakhaner-2", 20),
        ("masakhaner-x", 20),
        ("uner", 30),
        ("flores-200", 204),
        ("mbert-cased", 104),
        ("mbert-uncased", 102),
        ("cc100", 100),
    ],
)
def test_lists_have_as_many_codes_as_their_publishers_say(name: str, codes: int) -> None:
    assert len(published(name).codes) == codes


@given(st.sampled_from([(name, code) for name in CATALOGUES for code in catalogue(name).languages]))
def test_a_published_code_leads_to_a_passport_that_has_it(listed: tuple[str, str]) -> None:
    name, code = listed
    language = catalogue(name).languages[code]
    assert code in passport(language).codes[name]
    assert code in passport(language).codes_of(name)


@pytest.mark.parametrize(
    "names",
    [
        ("ug", "uig", "ug-Arab", "uig_Arab", "Uyghur", "Uighur", "ئۇيغۇرچە"),
        ("id", "in", "ind", "Indonesian"),
        ("he", "iw", "heb", "Hebrew"),
        ("sr-Latn", "sh", "srp_Latn"),
        ("tw", "twi", "Twi"),
        ("yue", "zh-yue", "Cantonese"),
        ("tl", "tgl", "tgl_Latn", "Tagalog"),
        ("sgs", "bat-smg", "Samogitian"),
        ("fa", "fas", "per", "Farsi"),
    ],
)
def test_every_alias_has_the_same_passport(names: tuple[str, ...]) -> None:
    first, *others = (passport(resolve(name)) for name in names)
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("text", "name", "codes"),
    [
        ("ug", "flores-200", ("uig_Arab",)),
        ("ug", "wikiann", ("ug",)),
        ("yo", "masakhaner-2", ("yor",)),
        ("yo", "masakhaner-x", ("yo",)),
        ("gsw", "wikiann", ("als",)),
        ("sh", "wikipedia", ("sh",)),
        ("en", "uner", ("en_ewt", "en_pud")),
        ("zh-Hant", "flores-200", ("zho_Hant",)),
        ("zh-Hant", "uner", ("zh_gsd", "zh_pud")),
        ("ace-Arab", "flores-plus", ("ace_Arab",)),
    ],
)
def test_a_language_has_its_own_codes(text: str, name: str, codes: tuple[str, ...]) -> None:
    assert _of(text).codes[name] == codes
    assert name not in _of(text).related


@pytest.mark.parametrize(
    ("text", "name", "codes"),
    [
        ("sw", "flores-200", ("swh_Latn",)),
        ("swh", "wikiann", ("sw",)),
        ("om", "flores-200", ("gaz_Latn",)),
        ("gaz", "wikipedia", ("om",)),
        ("ak", "wikipedia", ("fat", "tw")),
        ("ak", "masakhaner-2", ("twi",)),
        ("zh", "flores-plus", ("cmn_Hans",)),
        ("zh-Hant", "flores-plus", ("cmn_Hant",)),
        ("nb", "wikiann", ("no",)),
        ("tl", "flores-plus", ("fil_Latn",)),
        ("fil", "wikiann", ("tl",)),
    ],
)
def test_what_a_list_files_under_another_code_is_found_and_told(
    text: str, name: str, codes: tuple[str, ...]
) -> None:
    one = _of(text)
    assert name not in one.codes
    assert one.related[name] == one.codes_of(name) == codes
    assert f"{published(name).title} has {', '.join(codes)}" in _warned(text)["W-LANGUAGE-FILED"]


def test_another_script_is_another_language_to_lists_and_encoders() -> None:
    latin = _of("ug-Latn")
    assert not latin.codes
    assert not latin.related
    assert (latin.script, latin.scripts) == ("Latn", ("Latn", "Arab", "Cyrl"))
    assert (seen(XLMR, resolve("ug")), seen(XLMR, resolve("ug-Latn"))) == (True, False)


@pytest.mark.parametrize(
    ("text", "mbert", "xlmr"),
    [
        ("en", True, True),
        ("sw", True, True),
        ("swh", True, True),
        ("zh-Hant", True, True),
        ("nb", True, True),
        ("ug", False, True),
        ("si", False, True),
        ("am", False, True),
        ("om", False, True),
        ("yo", True, False),
        ("rw", False, False),
        ("ti", False, False),
        ("ak", False, False),
        ("th", True, True),
        ("qaa", False, False),
    ],
)
def test_what_encoders_read(text: str, mbert: bool, xlmr: bool) -> None:
    language = resolve(text)
    assert (seen(MBERT, language), seen(XLMR, language)) == (mbert, xlmr)


def test_thai_and_mongolian_came_with_the_cased_release() -> None:
    for text in ("th", "mn"):
        assert seen("bert-base-multilingual-uncased", resolve(text)) is False


def test_an_encoder_is_known_by_name_by_folder_and_not_at_all() -> None:
    language = resolve("yo")
    assert seen("bert-base-multilingual-cased", language) is True
    assert seen("models/bert-base-multilingual-cased/", language) is True
    assert seen("somebody/else", language) is None
    assert seen("", language) is None
    assert set(_of("yo").seen) == set(known_bases())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ug", "ug"),
        ("uig", "ug"),
        ("sr-Latn", "sr"),
        ("yue", "yue"),
        ("bat-smg", "sgs"),
        ("simple", "en"),
        ("fil", "fil"),
        ("qaa", ""),
    ],
)
def test_the_card_names_what_the_hub_has_a_code_for(text: str, code: str) -> None:
    assert card_language(resolve(text)) == _of(text).card_language == code


def test_the_warnings_say_what_misleads() -> None:
    assert "of swc, swh" in _warned("sw")["W-LANGUAGE-MACRO"]
    assert "Arab, Cyrl" in _warned("ug")["W-LANGUAGE-SCRIPTS"]
    assert "read as id (Indonesian)" in _warned("in")["W-LANGUAGE-OLD-CODE"]
    assert "read as sr-Latn" in _warned("sh")["W-LANGUAGE-OLD-CODE"]
    assert "Swiss German (gsw) in Wikipedia" in _warned("als")["W-LANGUAGE-TWO-MEANINGS"]
    assert "no list knows it" in _warned("qaa")["W-LANGUAGE-LOCAL"]
    assert _warned("ti") == _warned("tir") == _warned("Tigrinya") == {}


def test_an_old_code_is_the_only_thing_that_depends_on_what_was_typed() -> None:
    old, new = _of("in"), _of("id")
    assert old.as_json() | {"warnings": []} == new.as_json() | {"warnings": []}
    assert "W-LANGUAGE-OLD-CODE" not in _warned("id")


def test_the_facts_of_a_macrolanguage() -> None:
    one = _of("sw")
    assert (one.iso639_1, one.iso639_2, one.iso639_3) == ("sw", ("swa",), "swa")
    assert (one.macrolanguage, one.individuals) == (None, ("swc", "swh"))
    assert _of("swh").macrolanguage == "sw"
    assert _of("fa").iso639_2 == ("fas", "per")
    assert ("ISO 639", "zh, chi, zho") in _of("zh").facts()
    assert ("script", "Arab, right to left; also Cyrl; rarely Latn") in _of("ug").facts()


def test_a_passport_is_json() -> None:
    told = json.loads(json.dumps(_of("ak").as_json()))
    assert told["code"] == "ak"
    assert told["codes"]["flores-200"] == ["aka_Latn"]
    assert [warning["name"] for warning in told["warnings"]] == ["W-LANGUAGE-MACRO", "W-LANGUAGE-FILED"]
