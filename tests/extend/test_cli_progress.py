"""What is seen while a command works: lines where nobody watches, a bar on a terminal."""

import contextlib
import io
import os
import pty
import re
import threading

import pytest

from extend.cli.command import follows_another
from extend.cli.output import figure, table
from extend.cli.progress import Display, clock
from extend.types import Progress


def _lines(display_every: float, *reports: Progress) -> list[str]:
    stream = io.StringIO()
    with Display(stream, every=display_every) as display:
        for report in reports:
            display(report)
    return stream.getvalue().splitlines()


def test_without_a_terminal_every_stage_has_its_first_and_last_line() -> None:
    reports = [Progress("vocab", done, 500) for done in range(501)] + [
        Progress("grow", 0, 2),
        Progress("grow", 2, 2),
    ]
    assert _lines(60, *reports) == ["vocab: 0 of 500", "vocab: 500 of 500", "grow: 0 of 2", "grow: 2 of 2"]


def test_a_line_has_the_text_the_details_and_the_time_left() -> None:
    details = {"loss": 5.12345, "tokens_per_second": 27012.4, "seconds_left": 3723.0}
    assert _lines(0, Progress("pretrain", 200, 2000, "all", details)) == [
        "pretrain: 200 of 2,000 · all · loss 5.123 · 27,012 tokens/s · 1:02:03 left"
    ]


def test_held_out_losses_of_the_languages_stand_beside_the_loss() -> None:
    details = {"loss": 5.12345, "held-out ka": 4.25, "held-out en": 3.0}
    assert _lines(0, Progress("pretrain", 200, 2000, "all", details)) == [
        "pretrain: 200 of 2,000 · all · loss 5.123 · held-out ka 4.25 · held-out en 3"
    ]


def test_between_two_lines_lie_thirty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 1000, 10))
    monkeypatch.setattr("extend.cli.progress.time.monotonic", lambda: float(next(moments)))
    stream = io.StringIO()
    with Display(stream) as display:
        for step in range(7):
            display(Progress("pretrain", step, 100))
    steps = [line.split(" ")[1] for line in stream.getvalue().splitlines()]
    assert steps == ["0", "3", "6"]


def test_a_warning_is_said_at_once_and_five_times_at_most() -> None:
    steps = [Progress("pretrain", 0, 500), *[Progress("W-SPIKE", 0, 0, f"jump {n}") for n in range(8)]]
    told = _lines(60, *steps, Progress("base: W-METRICS", 0, 0, "disk full"), Progress("pretrain", 500, 500))
    assert told[:6] == [
        "pretrain: 0 of 500",
        *(f"warning[W-SPIKE]: jump {n}" for n in range(4)),
        "warning[W-SPIKE]: jump 4; more of these are only counted",
    ]
    assert told[6:] == ["base: warning[W-METRICS]: disk full", "pretrain: 500 of 500"]


def test_one_of_several_processes_does_the_talking(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with Display(stream, every=0, quiet=True) as display:
        display(Progress("pretrain", 1, 2))
        display(Progress("W-SPIKE", 0, 0, "a jump"))
        display.say("language: Uyghur")
    assert stream.getvalue() == ""
    for world, rank, follows in (("2", "1", True), ("2", "0", False), ("1", "0", False), ("", "", False)):
        monkeypatch.setenv("WORLD_SIZE", world)
        monkeypatch.setenv("RANK", rank)
        assert follows_another() is follows


def test_time_left_is_reckoned_where_a_stage_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([100.0, 130.0])
    monkeypatch.setattr("extend.cli.progress.time.monotonic", lambda: next(moments))
    lines = _lines(0, Progress("ner-eval", 0, 10), Progress("ner-eval", 3, 10))
    assert lines == ["ner-eval: 0 of 10", "ner-eval: 3 of 10 · 1:10 left"]


def test_a_stage_of_unknown_length_counts_up() -> None:
    assert _lines(0, Progress("count", 12345, 0, "lines")) == ["count: 12,345 · lines"]


def _drain(descriptor: int, seen: list[bytes]) -> None:
    """What a terminal gets, until its other end is closed (which Linux tells as an error)."""
    with contextlib.suppress(OSError):
        while data := os.read(descriptor, 1 << 16):
            seen.append(data)


def test_on_a_terminal_there_is_a_bar_that_leaves_the_cursor_visible() -> None:
    parent, child = pty.openpty()
    seen: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(parent, seen))
    reader.start()
    with os.fdopen(child, "w", encoding="utf-8") as stream:
        assert stream.isatty()
        with Display(stream) as display:
            display.say("language: ug")
            for step in range(21):
                display(Progress("pretrain", step, 20, details={"loss": 4.5}))
            display.say("a word between")
    reader.join()
    os.close(parent)
    shown = b"".join(seen).decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "20/20" in plain
    assert "loss 4.5" in plain
    assert "language: ug" in plain
    assert "a word between" in plain
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36000, "10:00:00")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "—"),
        (1234567, "1,234,567"),
        (0.01234, "0.0123"),
        (5.13547, "5.135"),
        (93.456, "93.5"),
        (True, "True"),
        ("x", "x"),
    ],
)
def test_a_figure_is_for_reading_and_a_missing_one_is_a_dash(value: object, shown: str) -> None:
    assert figure(value) == shown


def test_a_table_is_not_marked_up_by_what_stands_in_it() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, markup=False)
    console.print(table(["encoder", "[UNK] rate"], [["[bold]base[/bold]", 0.5]]))
    assert isinstance(console.file, io.StringIO)
    assert "[bold]base[/bold]" in console.file.getvalue()
    assert "[UNK] rate" in console.file.getvalue()
