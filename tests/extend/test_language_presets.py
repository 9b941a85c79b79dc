"""The configurations of the paper's languages: as they are generated, loadable, with sources that exist."""

from pathlib import Path

import pytest

from extend.config import load_settings
from extend.languages import catalogue, passport, published, resolve
from extend.presets import preset
from extend.recipe.starting import PAPER_LANGUAGES, paper_configuration
from extend.recipe.starting_text import free_sets

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
NEW = (
    "Akan",
    "Amharic",
    "Hausa",
    "Kinyarwanda",
    "Oromo",
    "Sinhala",
    "Somali",
    "Tigrinya",
    "Uyghur",
    "Wolof",
    "Zulu",
)
_RELEASED = """\
aka amh hau hin kin orm rus sin som tir uig wol zul
ara ben cmn fas hun ind spa swa tam tgl tha tur uzb vie yor"""
RELEASED = _RELEASED.split()
"""Codes of the extended models in `data.json` of ZihanWangKi/extend_bert."""
WITHOUT_SET = {"om", "ti"}
MASAKHANE = "$EXTEND_DATA/masakhane-ner/"
FOLDERS = {"MasakhaNER2.0/data": "masakhaner-2", "data": "masakhaner-1"}


def _path(code: str) -> Path:
    return CONFIGS / paper_configuration(code)[0]


def test_they_are_the_languages_of_the_released_models() -> None:
    known = {passport(resolve(code)).codes_of("wikipedia") for code in PAPER_LANGUAGES}
    assert len(set(PAPER_LANGUAGES)) == len(RELEASED) == 28
    assert known == {passport(resolve(code)).codes_of("wikipedia") for code in RELEASED}
    assert {resolve(name).code for name in NEW} == set(PAPER_LANGUAGES[:11])


def test_the_first_eleven_alone_were_unknown_to_multilingual_bert() -> None:
    base = load_settings(_path("ug")).base
    unseen = [code for code in PAPER_LANGUAGES if not passport(resolve(code)).seen[base]]
    assert tuple(unseen) == PAPER_LANGUAGES[:11]


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_generating_it_again_gives_the_same_bytes(code: str) -> None:
    name, text = paper_configuration(code)
    assert (CONFIGS / name).read_bytes() == text.encode("utf-8"), (
        f"extend init {code} --preset paper --out configs/{name} gives another text"
    )


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_it_loads_with_the_settings_of_the_paper(code: str) -> None:
    settings = load_settings(_path(code))
    assert settings.lang in {code, ""}
    for key, value in preset("paper").items():
        section, name = key.split(".")
        assert getattr(getattr(settings, section), name) == value, key
    assert (settings.vocab.size, settings.grow.init, settings.ner.paper) == (30_000, "paper", True)


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_its_corpus_is_a_wikipedia_of_the_language(code: str) -> None:
    sources = load_settings(_path(code)).corpus
    assert sources
    for source in sources:
        edition = source.removeprefix("hf:wikimedia/wikipedia:20231101.")
        assert edition in published("wikipedia").codes
        assert edition in passport(resolve(code)).codes_of("wikipedia")


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_its_ner_sets_have_the_language(code: str) -> None:
    data = load_settings(_path(code)).ner.data
    assert set(data) == (set() if code in WITHOUT_SET else {"en", code})
    for language, files in data.items():
        known = passport(resolve(language))
        for source in (files.train, files.dev, files.test):
            assert source is not None
            if source.startswith("hf:"):
                dataset, config, split = source.removeprefix("hf:").split(":")
                assert (dataset, known.codes["wikiann"]) == ("unimelb-nlp/wikiann", (config,))
                assert split in {"train", "validation", "test"}
            else:
                folder, name, file = source.removeprefix(MASAKHANE).rsplit("/", 2)
                assert name in known.codes_of(FOLDERS[folder])
                assert file in {"train.txt", "dev.txt", "test.txt"}


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_it_names_the_papers_data_the_free_ones_and_their_licences(code: str) -> None:
    text = _path(code).read_text(encoding="utf-8").replace("\n# ", " ")
    for word in ("LORELEI", "Linguistic Data Consortium", "CC BY-SA"):
        assert word in text
    assert ("No free NER set" if code in WITHOUT_SET else "licence") in text
    for name in ("wikiann", "masakhaner-2"):
        if passport(resolve(code)).codes_of(name):
            assert published(name).title in text


def test_the_document_lists_them_as_they_are() -> None:
    shown = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in shown if ".toml` |" in line]
    assert len(rows) == len(PAPER_LANGUAGES)
    for code, (name, file, read, editions, sets) in zip(PAPER_LANGUAGES, rows, strict=True):
        known = passport(resolve(code))
        assert (name, file) == (known.language.name, f"`{paper_configuration(code)[0]}`")
        assert read == ("yes" if known.seen[load_settings(_path(code)).base] else "no")
        assert editions.split(", ") == list(known.codes_of("wikipedia"))
        titles = [published(one).title for one in free_sets(known)]
        assert sets == (", ".join(titles) or "none known to us")


def test_every_set_but_the_two_without_has_entities_of_three_types() -> None:
    for code in PAPER_LANGUAGES:
        labels = load_settings(_path(code)).ner.labels
        assert labels == ([] if code in WITHOUT_SET else ["PER", "LOC", "ORG"])


def test_the_lists_leave_oromo_and_tigrinya_without_a_set() -> None:
    for code in WITHOUT_SET:
        language = resolve(code)
        for name in ("wikiann", "masakhaner-1", "masakhaner-2", "masakhaner-x", "uner"):
            one = catalogue(name)
            assert not one.own(language)
            assert not one.related(language)
