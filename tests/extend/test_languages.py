import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extend.errors import UsageError
from extend.languages import resolve


@pytest.mark.parametrize(
    "text", ["ug", "UG", "uig", "ug-Arab", "uig-Arab", "uig_Arab", "Uyghur", "uyghur", "Uighur", "ئۇيغۇرچە"]
)
def test_every_way_to_write_uyghur_is_one_language(text: str) -> None:
    language = resolve(text)
    assert (language.code, language.iso639_3, language.bcp47) == ("ug", "uig", "ug-Arab")
    assert (language.name, language.autonym, language.right_to_left) == ("Uyghur", "ئۇيغۇرچە", True)


@pytest.mark.parametrize(
    ("text", "code", "iso639_3", "bcp47"),
    [
        ("si", "si", "sin", "si-Sinh"),
        ("සිංහල", "si", "sin", "si-Sinh"),
        ("no", "no", "nor", "no-Latn"),  # `no` is a language, not a boolean
        ("in", "id", "ind", "id-Latn"),  # withdrawn in 1989
        ("sh", "sr-Latn", "srp", "sr-Latn"),
        ("sr", "sr", "srp", "sr-Cyrl"),
        ("zh-yue", "yue", "yue", "yue-Hant"),
        ("sw", "sw", "swa", "sw-Latn"),  # a macrolanguage
        ("swh", "swh", "swh", "swh-Latn"),  # the individual language is not renamed
        ("twi", "tw", "twi", "tw-Latn"),
        ("Ga", "gaa", "gaa", "gaa-Latn"),  # a name, though `ga` is Irish
        ("ga", "ga", "gle", "ga-Latn"),
        ("Ug", "ug", "uig", "ug-Arab"),
        ("Yorùbá", "yo", "yor", "yo-Latn"),
        ("Yoru\u0300ba\u0301", "yo", "yor", "yo-Latn"),
        ("ug-Latn", "ug-Latn", "uig", "ug-Latn"),
        ("zh-TW", "zh-TW", "zho", "zh-Hant-TW"),
        ("pt-BR", "pt", "por", "pt-Latn"),
        ("tl", "tl", "tgl", "tl-Latn"),  # CLDR would read Filipino
        ("tgl_Latn", "tl", "tgl", "tl-Latn"),
        ("Tagalog", "tl", "tgl", "tl-Latn"),
        ("Filipino", "fil", "fil", "fil-Latn"),
        ("bat-smg", "sgs", "sgs", "sgs-Latn"),  # Wikipedia's own codes
        ("Simple", "en-simple", "eng", "en-Latn-simple"),
        ("zh-classical", "lzh", "lzh", "lzh-Hans"),
    ],
)
def test_codes_and_names(text: str, code: str, iso639_3: str, bcp47: str) -> None:
    language = resolve(text)
    assert (language.code, language.iso639_3, language.bcp47) == (code, iso639_3, bcp47)


def test_another_script_changes_the_direction() -> None:
    assert resolve("ug").right_to_left
    assert not resolve("ug-Latn").right_to_left


@pytest.mark.parametrize("code", ["qaa", "qad", "qtz"])
def test_local_use_codes_are_languages(code: str) -> None:
    language = resolve(code)
    assert language.is_local
    assert (language.code, language.bcp47, language.name) == (code, code, code)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "xx",
        "qua-",
        "qzz",
        "und",
        "mul",
        "zxx",
        "x-foo",
        "../x",
        "ug/..",
        "ug-Xxxx",
        "en-u-co-phonebk",
        "Klingonish",
        "-ug",
    ],
)
def test_what_is_no_language_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        resolve(text)
    assert refusal.value.exit_code == 2
    assert refusal.value.name == "E-LANGUAGE"


@pytest.mark.parametrize(
    ("text", "offered"), [("Uyghr", "ug (Uyghur)"), ("Sinhla", "si (Sinhala)"), ("Klingonish", "tlh")]
)
def test_close_names_are_offered_not_taken(text: str, offered: str) -> None:
    with pytest.raises(UsageError, match="did you mean") as refusal:
        resolve(text)
    assert offered in refusal.value.what


def test_the_resolution_is_told_on_one_line() -> None:
    assert resolve("uig").told() == "ug = Uyghur (ئۇيغۇرچە), ug-Arab, ISO 639-3 uig, written right to left"
    assert resolve("English").told() == "en = English, en-Latn, ISO 639-3 eng"


@given(st.from_regex(r"[a-z]{2,3}(-[A-Z][a-z]{3})?", fullmatch=True))
def test_a_resolution_resolves_to_itself(text: str) -> None:
    try:
        language = resolve(text)
    except UsageError:
        return
    assert resolve(language.code) == language
    assert resolve(language.bcp47) == language


@given(st.text(max_size=30))
@example("\x00")  # the name table has control characters as separators
def test_any_text_is_a_language_safe_as_a_folder_name_or_is_refused(text: str) -> None:
    try:
        code = resolve(text).code
    except UsageError as refusal:
        shown = refusal.message("vocab")
    else:
        shown = code
        assert code.replace("-", "").isalnum()
        assert code.isascii()
    assert "\u202e" not in shown
    assert len(shown.splitlines()[0]) <= 200
