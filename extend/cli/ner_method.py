"""What ner-eval is told of encoders and heads."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from extend.errors import UsageError, escaped

_ENCODERS, _HEADS = "Encoders", "Heads"


def _option(help: str, panel: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


@dataclass(frozen=True, kw_only=True)
class NerMethod:
    """Which encoders are judged and how; see docs/ner.md."""

    few_shot: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Train on the source and N sentences of the target; repeatable."),
    ] = None
    paper: Annotated[
        bool | None, _option("The released configuration of EXTEND to the letter (slow).", _HEADS, "--paper")
    ] = None
    encoder: Annotated[
        list[str] | None,
        _option("One more encoder, folder or hub name; repeatable.", _ENCODERS, metavar="NAME=FOLDER"),
    ] = None
    mode: Annotated[
        Literal["frozen", "finetune"] | None,
        _option("Train heads on the encoder as it is, or both.  [default: frozen]", _ENCODERS),
    ] = None
    encoder_layers: Annotated[
        Literal["last", "mean", "mix"] | None,
        _option("Last layer, mean, or a trained mix of all.  [default: last]", _ENCODERS, "--layers"),
    ] = None
    pooling: Annotated[
        Literal["first", "mean"] | None,
        _option("Vector of a word: its first piece, or the mean.  [default: first]", _ENCODERS),
    ] = None
    cache: Annotated[
        str | None,
        _option("Where word vectors are kept; off: nowhere.  [default: the run]", _ENCODERS, metavar="DIR"),
    ] = None
    head: Annotated[
        Literal["bilstm-crf", "bilstm-softmax", "linear"] | None,
        _option("What is trained on the vectors.  [default: bilstm-crf]", _HEADS),
    ] = None
    scheme: Annotated[
        Literal["IOB2", "BIOUL"] | None,
        _option("Tags inside the head.  [default: IOB2]", _HEADS, case_sensitive=False),
    ] = None
    constrain: Annotated[
        Literal["train", "decode", "none"] | None,
        _option("Where illegal tag sequences are forbidden.  [default: train, which is both]", _HEADS),
    ] = None
    select: Annotated[
        Literal["source-dev", "oracle", "last", "averaged"] | None,
        _option("The weights that are scored; the others are told beside.  [default: source-dev]", _HEADS),
    ] = None

    def settings(self) -> dict[str, Any]:
        """The settings that these options stand for; None where one was not given."""
        return {
            **{f"ner.{name}": getattr(self, name) or None for name in _SAME},
            "ner.select": _first(self.select) if self.select else None,
            **_encoders(self.encoder or ()),
        }


_SAME = ("few_shot", "paper", "mode", "encoder_layers", "pooling", "cache", "head", "scheme", "constrain")
_SELECTIONS = {
    "source-dev": "source-dev",
    "oracle": "target-dev oracle",
    "last": "last",
    "averaged": "averaged",
}


def _first(selection: str) -> list[str]:
    """All ways of selection, this one first: it is scored, the others are told beside."""
    return [_SELECTIONS[selection], *(one for name, one in _SELECTIONS.items() if name != selection)]


def _encoders(given: list[str] | tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, place = text.partition("=")
        if not (name and equals and place) or "." in name:
            raise UsageError(
                f"--encoder takes NAME=FOLDER, got {escaped(text)}",
                name="E-USAGE",
                why="a name has no dot",
            )
        found[f"ner.encoders.{name}"] = place
    return found
