"""The Unicode lint: each planted fault is found and nothing else, clean text has none, mending mends."""

import random
import unicodedata
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from extend.survey import CHECKS, Finding, lint_words, unicode_lint
from extend.survey.characters import check_of, eye_form, in_one_script, is_mixed

CLEAN = {
    "Latn": ["kitabu", "mwalimu", "shule", "nyumba", "safari", "rafiki", "jua", "mvua", "bahari", "mlima"],
    "Arab": ["كىتاب", "مەكتەپ", "دوستۇم", "بۈگۈن", "ھاۋا", "سوغۇق"],
    "Cyrl": ["кітап", "мектеп", "бүгін", "суық", "қала", "ағаш"],
    "Sinh": ["පොත", "පාසල", "ගස", "ගඟ", "කන්ද", "මල"],
    "Ethi": ["መጽሐፍ", "ትምህርት", "ዛፍ", "ወንዝ"],
    "Deva": ["किताब", "पाठशाला", "पेड़", "नदी"],
}
ANY = st.dictionaries(
    st.text(
        st.one_of(st.characters(codec="utf-8"), st.sampled_from("aа\u0301e\u0640\u200cكکيی'’oо")),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 5),
    max_size=12,
)


def found(words: list[str], normalize: Callable[[str], str] | None = None) -> dict[str, Finding]:
    return {finding.name: finding for finding in unicode_lint([" ".join(words)], normalize)}


def uncased(text: str) -> str:
    return str(normalizers.BertNormalizer(lowercase=True, strip_accents=True).normalize_str(text))


@pytest.mark.parametrize("script", CLEAN)
def test_clean_text_has_no_finding(script):
    assert found(CLEAN[script] * 3) == {}


PLANTED = {
    "tatweel": ("Arab", lambda word: word[:1] + "\u0640" + word[1:]),
    "joiners": ("Sinh", lambda word: word[:1] + "\u200d" + word[1:]),
    "soft_hyphen": ("Latn", lambda word: word[:2] + "\u00ad" + word[2:]),
    "bom": ("Cyrl", lambda word: "\ufeff" + word),
    "replacement": ("Ethi", lambda word: word[:-1] + "\ufffd"),
    "private_use": ("Latn", lambda word: word + "\ue123"),
    "invisible": ("Latn", lambda word: word + "\u200b"),
    "presentation_forms": ("Latn", lambda word: word.replace("f", "ﬁ").replace("m", "ｍ")),
    "confusables": ("Cyrl", lambda word: word.replace("а", "a").replace("і", "i")),
    "mixed_script": ("Latn", lambda word: word + "жд"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_and_no_other(name):
    script, plant = PLANTED[name]
    clean = CLEAN[script]
    spoilt = [word for word in map(plant, clean) if word not in clean]
    assert spoilt
    lint = found(clean * 4 + spoilt * 2)
    assert list(lint) == [name]
    finding = lint[name]
    assert (finding.words, finding.distinct) == (2 * len(spoilt), len(spoilt))
    assert finding.share == pytest.approx(2 * len(spoilt) / (4 * len(clean) + 2 * len(spoilt)))
    assert dict(finding.affected) == dict.fromkeys(spoilt, 2)
    mended = {finding.mended.get(word) for word in spoilt}
    if name in ("replacement", "private_use", "mixed_script"):
        assert mended == {None}
    elif name != "presentation_forms":
        assert mended <= set(clean)


def test_the_same_word_composed_and_not():
    lint = found(["ọ̀nà"] * 3 + [unicodedata.normalize("NFD", "ọ̀nà")] * 2 + ["ilé"])
    assert list(lint) == ["mixed_normalization", "not_nfc"]
    mixed = lint["mixed_normalization"]
    assert (mixed.words, mixed.distinct) == (2, 1)
    (composed,) = mixed.mended.values()
    assert composed == "ọ̀nà"
    assert lint["not_nfc"].words == 2 + 3 * (not unicodedata.is_normalized("NFC", "ọ̀nà"))
    apart = found([unicodedata.normalize("NFD", "ilé")])
    assert list(apart) == ["not_nfc"], "one spelling alone is no mixture"


def test_letters_that_look_the_same_within_a_script():
    lint = found(["کتاب"] * 3 + ["كتاب", "w’umuntu", "w’umuntu", "w'umuntu", "'ha", "ha'"])
    assert list(lint) == ["lookalike_letters"]
    assert lint["lookalike_letters"].mended == {"كتاب": "کتاب", "w'umuntu": "w’umuntu"}
    assert lint["lookalike_letters"].characters == (
        ("U+0027 apostrophe", 1),
        ("U+0643 arabic letter kaf", 1),
    )


def test_marks_that_the_base_takes_away():
    words = ["ọ̀nà", "ilé", "Baba", "ona"]
    assert "lost_marks" not in found(words)
    assert "lost_marks" not in found(words, lambda text: text.lower())
    finding = found(words, uncased)["lost_marks"]
    assert finding.words == 2
    assert {name for name, _ in finding.characters} == {
        "U+0300 combining grave accent",
        "U+0301 combining acute accent",
        "U+0323 combining dot below",
    }


def test_a_normalizer_that_composes_or_splits_loses_nothing():
    words = ["ọ̀nà", unicodedata.normalize("NFD", "ilé")]
    for form in ("NFC", "NFD"):
        assert "lost_marks" not in found(words, lambda text, form=form: unicodedata.normalize(form, text))


def test_examples_are_escaped():
    (finding,) = unicode_lint(["ab\u202ecd"])
    assert finding.examples == (("ab\\u202ecd", "abcd"),)
    assert finding.characters == (("U+202E right-to-left override", 1),)


def test_joiners_of_emoji_and_signs_of_numbers_are_none():
    assert found(["👩\u200d👧", "\u0600١٢"]) == {}


@pytest.mark.parametrize("word", ["Google-дің", "日本のカメラ", "한국어日", "x²", "2-сынып", "l'été"])
def test_words_that_mix_no_stretch_of_letters(word):
    assert not is_mixed(word)


@pytest.mark.parametrize(
    ("word", "scripts", "mended"),
    [
        ("кaзaк", "Cyrl Latn", "казак"),
        ("Mосква", "Latn Cyrl", "Москва"),
        ("раypal", "Cyrl Latn", "paypal"),
        ("аh", "Latn Cyrl", "ah"),
        ("аh", "Cyrl Latn", "аһ"),
        ("Αthens", "Grek Latn", "Athens"),
        ("кepi-bоx", "Cyrl Latn", "кері-box"),
        ("тоlko", "Cyrl Latn", "тоlko"),
        ("кaзaк", "Arab", "кaзaк"),
    ],
)
def test_letters_are_brought_to_the_first_script_that_can_be(word, scripts, mended):
    assert in_one_script(word, scripts.split()) == mended


class TestAnything:
    @given(ANY)
    def test_counts_are_bounded_and_the_order_does_not_matter(self, words):
        lint = lint_words(words, uncased)
        shuffled = list(words.items())
        random.Random(1).shuffle(shuffled)
        assert lint_words(dict(shuffled), uncased) == lint
        assert [finding.name for finding in lint] == [
            name for name in CHECKS if name in {f.name for f in lint}
        ]
        for finding in lint:
            assert 0 < finding.words <= sum(words.values())
            assert finding.distinct == len(finding.affected)
            assert finding.words == sum(finding.affected.values())
            assert len(finding.examples) <= 5

    @given(ANY)
    def test_what_is_mended_is_no_longer_found(self, words):
        for finding in lint_words(words):
            mended: Counter[str] = Counter()
            composed = finding.name == "lookalike_letters"
            for word, count in words.items():
                word = unicodedata.normalize("NFC", word) if composed else word
                if word in finding.affected and word not in finding.mended:
                    continue
                mended[finding.mended.get(word, word)] += count
            assert finding.name not in {again.name for again in lint_words(mended)}

    @given(ANY)
    def test_spellings_of_one_word_are_those_of_the_plain_definition(self, words):
        lint = {finding.name: finding for finding in lint_words(words)}
        pairs = {
            word
            for word in words
            for other in words
            if word != other and unicodedata.normalize("NFC", word) == unicodedata.normalize("NFC", other)
        }
        mixed = lint.get("mixed_normalization")
        assert bool(pairs) == (mixed is not None)
        if mixed is not None:
            assert set(mixed.affected) < pairs
            assert {mixed.mended[word] for word in mixed.affected} == pairs - set(mixed.affected)

    @given(st.text())
    def test_the_form_for_the_eye_is_final(self, text):
        assert eye_form(eye_form(text)) == eye_form(text)

    @given(st.characters())
    def test_a_letter_in_use_is_no_fault(self, character):
        name = check_of(character)
        assert name in {*CHECKS, ""}
        if unicodedata.category(character) in ("Lu", "Ll", "Nd", "Po") and not name:
            return
        if unicodedata.category(character) == "Lo" and not unicodedata.decomposition(character):
            assert name == ""
