"""Every failure a user can meet: one message form, one exit code a kind. Standard library only.

Exit codes: 0 done, 1 a bug in extend, 2 wrong usage or configuration, 3 bad input data, 4 path missing or
not usable, 5 no space, 6 network or hub, 7 run folder busy, 8 no usable or a non-matching checkpoint,
9 training diverged, 10 out of memory, 11 refused for security, 12 a worker died, 130 SIGINT, 143 SIGTERM.
"""

import unicodedata


def escaped(text: str, *, limit: int = 80) -> str:
    """Text from a file or a user, safe to print: controls, bidi marks and line breaks escaped, then cut."""
    shown = "".join(map(_visible, text[: limit + 1]))
    return shown if len(text) <= limit and len(shown) <= limit else shown[: limit - 1] + "…"


def _visible(character: str) -> str:
    hidden = unicodedata.category(character)[0] in "CZ" and character != " "
    return character.encode("unicode_escape").decode() if hidden else character


def _one_line(text: str) -> str:
    return "".join(map(_visible, text.replace("\n", " ")))


class ExtendError(Exception):
    """A failure that is told, not traced. `what` names the thing and the place; the rest is optional.

    Args:
        what: one line, what went wrong and where (`file:line` when there is one).
        name: the stable identifier, `E-...`.
        why: the cause. done: what was kept or skipped. next: one command or setting to try.
    """

    exit_code = 1

    def __init__(self, what: str, *, name: str, why: str = "", done: str = "", next: str = "") -> None:
        super().__init__(what)
        self.what, self.name, self.why, self.done, self.next = what, name, why, done, next

    def message(self, command: str) -> str:
        """The form every error takes on stderr; the first line has at most 200 characters.

        What a path or a file's text brought along (line breaks, terminal controls, bidi marks) is escaped.
        """
        first = f"extend {command}: error[{self.name}]: {_one_line(self.what)}"
        first = first if len(first) <= 200 else first[:199] + "…"
        details = (("why", self.why), ("done", self.done), ("next", self.next))
        return "\n".join([first, *(f"  {label}: {_one_line(text)}" for label, text in details if text)])

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "exit_code": self.exit_code,
            "what": self.what,
            "why": self.why,
            "done": self.done,
            "next": self.next,
        }


class UsageError(ExtendError):
    """Wrong usage or configuration."""

    exit_code = 2


class DataError(ExtendError):
    """Bad input data."""

    exit_code = 3


class PathError(ExtendError):
    """A path is missing, not readable or not writable."""

    exit_code = 4


class SpaceError(ExtendError):
    """No space or no quota left."""

    exit_code = 5


class NetworkError(ExtendError):
    """The network or the hub failed."""

    exit_code = 6


class BusyError(ExtendError):
    """Another process works in this run folder."""

    exit_code = 7


class CheckpointError(ExtendError):
    """No usable checkpoint, or one of another configuration."""

    exit_code = 8


class DivergedError(ExtendError):
    """Training produced a loss or gradient that is not finite."""

    exit_code = 9


class OutOfMemoryError(ExtendError):
    """The machine has too little memory for this setting."""

    exit_code = 10


class RefusedError(ExtendError):
    """Refused for security."""

    exit_code = 11


class WorkerError(ExtendError):
    """A worker process died."""

    exit_code = 12


class InterruptedRun(ExtendError):
    """Ctrl-C: the state was saved first."""

    exit_code = 130


class TerminatedRun(ExtendError):
    """SIGTERM: the state was saved first."""

    exit_code = 143
