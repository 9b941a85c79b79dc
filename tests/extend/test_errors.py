import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend import errors
from extend.errors import ExtendError, escaped

CODES = {
    "ExtendError": 1,
    "UsageError": 2,
    "DataError": 3,
    "PathError": 4,
    "SpaceError": 5,
    "NetworkError": 6,
    "BusyError": 7,
    "CheckpointError": 8,
    "DivergedError": 9,
    "OutOfMemoryError": 10,
    "RefusedError": 11,
    "WorkerError": 12,
    "InterruptedRun": 130,
    "TerminatedRun": 143,
}


def _classes() -> dict[str, type[ExtendError]]:
    return {
        name: kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ExtendError)
    }


def test_every_exit_code_has_one_class() -> None:
    assert {name: kind.exit_code for name, kind in _classes().items()} == CODES


def test_every_exit_code_is_in_the_module_documentation() -> None:
    assert errors.__doc__ is not None
    documented = {int(word) for word in errors.__doc__.replace(",", " ").split() if word.isdigit()}
    assert documented == {0, *CODES.values()}


@pytest.mark.parametrize("name", CODES)
def test_the_message_form(name: str) -> None:
    error = _classes()[name](
        "no text in corpus.txt:3",
        name="E-TEST",
        why="it is empty",
        done="nothing was written",
        next="give another",
    )
    assert error.message("vocab") == (
        "extend vocab: error[E-TEST]: no text in corpus.txt:3\n"
        "  why: it is empty\n"
        "  done: nothing was written\n"
        "  next: give another"
    )
    assert error.as_json() == {
        "name": "E-TEST",
        "exit_code": CODES[name],
        "what": "no text in corpus.txt:3",
        "why": "it is empty",
        "done": "nothing was written",
        "next": "give another",
    }


def test_what_is_not_known_is_left_out() -> None:
    assert ExtendError("gone", name="E-TEST").message("grow") == "extend grow: error[E-TEST]: gone"


def test_a_path_cannot_steer_the_terminal() -> None:
    error = ExtendError("no \x1b[2Jfile \u202e.txt\nextend: done", name="E-TEST", why="a\x07b", next="c\rd")
    shown = error.message("vocab")
    assert shown.splitlines() == [
        "extend vocab: error[E-TEST]: no \\x1b[2Jfile \\u202e.txt extend: done",
        "  why: a\\x07b",
        "  next: c\\rd",
    ]
    assert all(line.isprintable() for line in shown.splitlines())


@given(st.text(max_size=400))
def test_the_first_line_is_one_line_of_at_most_200_characters(what: str) -> None:
    first, *rest = ExtendError(what, name="E-TEST", next="x").message("ner-compare").split("\n")
    assert len(first) <= 200
    assert rest == ["  next: x"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("a\u202eb", "a\\u202eb"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("ئۇيغۇرچە සිංහල", "ئۇيغۇرچە සිංහල"),
        ("\u2028\u00a0\ufeff", "\\u2028\\xa0\\ufeff"),
        ("\ud800", "\\ud800"),
    ],
)
def test_text_from_outside_is_shown_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text(max_size=300), st.integers(2, 100))
def test_escaped_text_is_short_printable_and_encodable(text: str, limit: int) -> None:
    shown = escaped(text, limit=limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    json.dumps(shown).encode("ascii")
    shown.encode("utf-8")
