"""What ner-eval is told of its data, and what it says of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from extend.cli.command import Result
from extend.cli.output import table
from extend.cli.runs import per_language
from extend.errors import UsageError, escaped

_PANEL = "Data"
_Files = list[str] | None


def _option(help: str, *names: str, metavar: str) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=_PANEL)


@dataclass(frozen=True, kw_only=True)
class NerFiles:
    """The sets, how they are read, and which entity types count."""

    train: Annotated[_Files, _option("Training file or hf:DATASET; repeatable.", metavar="LANG=PATH")] = None
    dev: Annotated[_Files, _option("Selection file or hf:DATASET; repeatable.", metavar="LANG=PATH")] = None
    test: Annotated[_Files, _option("Test file or hf:DATASET; repeatable.", metavar="LANG=PATH")] = None
    data_format: Annotated[
        _Files,
        _option(
            "How a language's files are read: conll, conll:WORD:TAG (column numbers), conll-comments, "
            "conllu, jsonl, parquet, uner, wikiann; repeatable.  [default: as the content shows]",
            metavar="LANG=FORMAT",
        ),
    ] = None
    labels: Annotated[
        str | None, _option("Entity types that count.  [default: all]", metavar="PER,LOC,ORG")
    ] = None
    label_map: Annotated[
        _Files, _option("Another name for an entity type, O for none; repeatable.", "--map", metavar="OTH=O")
    ] = None

    def settings(self) -> dict[str, Any]:
        """The settings that these options stand for; None where one was not given."""
        files = {"train": self.train, "dev": self.dev, "test": self.test, "format": self.data_format}
        return {
            "ner.labels": None if self.labels is None else [one for one in self.labels.split(",") if one],
            "ner.map": _pairs(self.label_map) or None,
            **{
                f"ner.data.{code}.{split}": values[-1]
                for split, given in files.items()
                for code, values in per_language(given, option=_SPELLED[split]).items()
            },
        }


_SPELLED = {"train": "--train", "dev": "--dev", "test": "--test", "format": "--data-format"}


def _pairs(given: _Files) -> dict[str, str]:
    pairs = {}
    for value in given or ():
        old, equals, new = value.partition("=")
        if not (old and equals and new):
            raise UsageError(
                f"--map {escaped(value)} is not OLD=NEW",
                name="E-USAGE",
                next="write --map GPE=LOC, or --map OTH=O for none",
            )
        pairs[old] = new
    return pairs


def data_text(results: Result) -> Iterable[RenderableType]:
    """A line a set: how much there is, how it was read, and what of the test sets was seen before.

    What results of an older release do not hold is left out.
    """
    rows = [
        [
            f"{language} {split}",
            *(f"{one[name]:,}" if name in one else "" for name in ("sentences", "words", "entities")),
            _read_as(one),
            one.get("repaired", ""),
            _seen(results.get("leaks", {}).get(language)) if split == "test" else "",
        ]
        for language, splits in results.get("data", {}).items()
        for split, one in splits.items()
    ]
    if rows:
        yield table(["data", "sentences", "words", "entities", "read as", "repaired", "seen before"], rows)


def _read_as(one: Result) -> str:
    renamed = [f"{old}={new}" for old, new in one.get("label_map", {}).items()]
    form = f"{one.get('format', '')}{one.get('compression', '')}"
    return " ".join(part for part in (form, one.get("scheme", ""), *renamed) if part)


def _seen(leaked: Result | None) -> str:
    """Of a test set: its sentences in training data and in text, and its entities in training data."""
    if leaked is None:
        return ""
    entities, text = leaked["entities"], leaked["pretraining"]
    told = [f"{leaked['sentences_in_train']:,} sentences in train"]
    if text is not None:
        told.append(f"{text['sentences']:,} in text" + ("" if text["complete"] else " (its beginning)"))
    if entities["mentions"]:
        told.append(f"{entities['mentions_in_train'] / entities['mentions']:.0%} of entities in train")
    return ", ".join(told)
