"""What the certificate finds: assertions that held, failed or were not applicable, and what is said of each.

The eight assertions each caught a real failure of some published extension.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from extend.errors import CheckpointError, escaped

ASSERTIONS: Mapping[int, str] = {
    1: "ids",
    2: "special ids",
    3: "added tokens",
    4: "reload",
    5: "old rows",
    6: "held-out words",
    7: "case and accents",
    8: "drift",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at under an assertion. `holds` is None where there was nothing to look at."""

    number: int
    name: str
    holds: bool | None
    detail: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def finding(number: int, holds: bool | None, detail: str, *, name: str = "") -> Finding:
    """A finding under assertion `number`, with the assertion's own name unless it has another."""
    return Finding(number, name or ASSERTIONS[number], holds, detail)


def required(findings: Iterable[Finding]) -> list[str]:
    """The names of what held, each once. Raises CheckpointError E-CERTIFICATE at the first that did not."""
    held: dict[str, None] = {}
    for found in findings:
        if found.holds is False:
            raise failure(found)
        if found.holds:
            held[found.name] = None
    return list(held)


def raise_failed(certificate: Mapping[str, Any]) -> None:
    """Raise CheckpointError E-CERTIFICATE for the first failed assertion of what `certify_folder` gave."""
    for entry in certificate["assertions"]:
        if entry["holds"] is False:
            raise failure(Finding(**entry))


def failure(found: Finding) -> CheckpointError:
    """The refusal of a folder for one assertion that failed."""
    return CheckpointError(
        f"assertion {found.number} ({found.name}) of the certificate does not hold: {found.detail}",
        name="E-CERTIFICATE",
        why="the folder would not do what it says",
    )


def shown(texts: Iterable[str], *, most: int = 3) -> str:
    """The first of `texts`, each escaped and cut, for a line of detail."""
    found = list(texts)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(escaped(text, limit=40) for text in found[:most]) + more
