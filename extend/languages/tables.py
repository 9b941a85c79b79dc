"""The published lists, as they lie in this folder: their codes, and what those codes mean."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any

CATALOGUES: Mapping[str, str] = MappingProxyType(
    {
        "wikipedia": "wikipedia.toml",
        "wikiann": "wikiann.toml",
        "masakhaner-1": "masakhaner.toml",
        "masakhaner-2": "masakhaner.toml",
        "masakhaner-x": "masakhaner.toml",
        "uner": "uner.toml",
        "flores-200": "flores.toml",
        "flores-plus": "flores.toml",
    }
)
"""Lists of data by name, with the file each lies in."""
PRETRAINING: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("mbert-cased", "mbert-uncased", "cc100"), "pretraining.toml")
)
"""Lists of what released encoders read."""


@dataclass(frozen=True, slots=True)
class Published:
    """A list as its source has it.

    `means` has the codes that BCP 47 reads otherwise, or not at all, with the tag of what they stand for;
    `without` those for which there is no such tag, with the reason. `models` are the encoders, by their names
    on the Hub, that read the languages of the list.
    """

    title: str
    source: str
    codes: tuple[str, ...]
    means: Mapping[str, str]
    without: Mapping[str, str]
    models: tuple[str, ...]

    def tags(self) -> dict[str, str]:
        """The tag of each code that has one."""
        return {code: self.means.get(code, code) for code in self.codes if code not in self.without}


@functools.cache
def published(name: str) -> Published:
    """A list of CATALOGUES or PRETRAINING; read once."""
    file = {**CATALOGUES, **PRETRAINING}[name]
    table = _read(file)[name]
    return Published(
        title=table["title"],
        source=table["source"],
        codes=tuple(table["codes"].split()),
        means=MappingProxyType(table.get("means", {})),
        without=MappingProxyType(table.get("without", {})),
        models=tuple(table.get("models", ())),
    )


@functools.cache
def _read(file: str) -> dict[str, Any]:
    return tomllib.loads((files("extend.languages") / file).read_text(encoding="utf-8"))
