"""`extend`: the list of commands and the one place where a process begins and ends."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NoReturn

import typer

from extend import __version__
from extend.cli import chain, deltas, environment, evaluation, planning, publish, settings, tagging
from extend.cli.failures import tell
from extend.cli.output import close_quietly
from extend.errors import TerminatedRun, UsageError, escaped

_EXAMPLES = """
**Examples**

`extend quickstart` · the whole chain on a made world, in minutes

`extend vocab --lang ug --corpus ug.txt.gz`, then `grow`, `pretrain`, `ner-eval`, `report`

`extend run configs/si.toml --set pretrain.steps=2000` · the whole chain for a real language

`extend push USER/NAME --dry-run` · what would be published
"""

app = typer.Typer(
    name="extend",
    help="Bring a new language to a multilingual encoder, with proof at each step.",
    epilog=_EXAMPLES,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"extend {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Every command takes `--help`, `--format json`, `--dry-run`, `--offline`, `--seed` and `--debug`."""


for group in (chain, planning, evaluation, tagging, deltas, publish, settings, environment):
    group.register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code of `extend.errors`."""
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    _speak_any_script()
    _share_the_cores()
    try:
        with _told_to_stop():
            return int(app(arguments, prog_name="extend", standalone_mode=False) or 0)
    except typer.TyperException as error:
        return tell(_wrong_usage(error), command=_command(arguments), json_too=_wants_json(arguments))
    except (typer.Abort, KeyboardInterrupt):
        return tell(KeyboardInterrupt(), command=_command(arguments), json_too=_wants_json(arguments))
    except (
        SystemExit
    ) as leaving:  # Typer's way out: after completion, or when the reader of the help went away
        if isinstance(leaving.__context__, OSError):
            return close_quietly()
        return int(leaving.code or 0)


def _share_the_cores() -> None:
    """Threads that wait for one another sleep instead of spinning: read when torch is imported.

    Spinning halves the speed, or worse, as soon as anything else runs on the machine; sleeping costs a
    twentieth when nothing does. The arithmetic is the same.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _speak_any_script() -> None:
    """A terminal or pipe that cannot show a character gets its escape, never a crash."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _told_to_stop() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like any other failure, so that nothing half-written stays."""

    def stop(number: int, frame: Any) -> NoReturn:
        raise TerminatedRun(
            f"stopped by {signal.Signals(number).name}",
            name="E-TERMINATED",
            done="what was published before stays as it was",
            next="the same command continues",
        )

    before = {}
    with contextlib.suppress(ValueError):  # not in the main thread: an embedding program handles signals
        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wrong_usage(error: typer.TyperException) -> UsageError:
    what = error.format_message().rstrip(".").replace("\n", " ")
    return UsageError(
        escaped(what[:1].lower() + what[1:], limit=160),
        name="E-USAGE",
        next="add --help to see what is known",
    )


def _command(arguments: Sequence[str]) -> str:
    known = {command.name for command in app.registered_commands}
    return next((argument for argument in arguments if argument in known), "")


def _wants_json(arguments: Sequence[str]) -> bool:
    """Read from the raw arguments, since they could not be parsed."""
    joined = " ".join(arguments)
    return "--format json" in joined or "--format=json" in joined
