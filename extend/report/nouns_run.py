"""What a run's files say of the run as a whole, frozen: its language, its making, where it was published."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class Language:
    """The run's new language: its code (a BCP 47 tag), and names when the run recorded them."""

    code: str
    name: str = ""
    autonym: str = ""

    @property
    def told(self) -> str:
        """Its English name, or its code where no name was recorded."""
        return self.name or self.code

    @property
    def tag(self) -> str:
        """The code where it may stand as a `lang` attribute, else nothing."""
        return self.code if _TAG.fullmatch(self.code) else ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the run: enough to make it again."""

    base: str = ""
    base_revision: str = ""
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    @property
    def hub_base(self) -> str:
        """The base's hub name, or nothing: only a base with a commit came from a hub."""
        return self.base if self.base_revision and _HUB_NAME.fullmatch(self.base) else ""

    @property
    def shown_base(self) -> str:
        """The base as a reader may see it: a hub name whole, of a local folder the run or last name only."""
        folder = Path(self.base)
        inside_a_run = folder.name in ("model", "grown") and folder.parent.name
        return self.hub_base or (folder.parent.name if inside_a_run else folder.name)


@dataclass(frozen=True, slots=True)
class Published:
    """`pushed.json`: the repository, the one commit, when (as the file has it), and how many bytes went."""

    repository: str
    commit: str = ""
    time: str = ""
    size: float | None = None
