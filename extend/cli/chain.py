"""The chain: vocab, grow, pretrain, and the whole of it in one command."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from extend.cli import blending, growing, pretraining, vocabulary
from extend.cli.command import Call, Result, command
from extend.cli.output import every_value, facts, table, with_interval
from extend.cli.runs import open_run, with_config

_PANEL = "The chain"


def _encoders_text(result: Result) -> Iterable[RenderableType]:
    if "stage" in result:
        yield from every_value(result)
        return
    columns = [
        "encoder",
        "[UNK] rate",
        "pieces a word",
        "MLM loss",
        "zero-shot F1",
        "supervised F1",
        "source F1",
    ]
    rows = [
        [
            name,
            *(one.get(key) for key in ("unk_rate", "fertility", "mlm_loss")),
            *(_score(one, protocol) for protocol in ("zero_shot", "supervised", "source")),
        ]
        for name, one in result["encoders"].items()
    ]
    yield table(columns, rows)
    yield from facts(result, "seconds")
    yield from (f"wrote {path}" for path in result["files"])


def _score(one: Mapping[str, Any], protocol: str) -> str | None:
    mean, ends = one.get(f"{protocol}_f1"), one.get(f"{protocol}_ci95")
    return with_interval(mean, ends) if mean is not None else None


def register(app: typer.Typer) -> None:
    """Put this group's commands into the application."""
    command(
        app,
        "quickstart",
        panel="Start here",
        render=_encoders_text,
        example="extend quickstart",
        on_run=False,
    )(quickstart)
    vocabulary.register(app, panel=_PANEL)
    growing.register(app, panel=_PANEL)
    pretraining.register(app, panel=_PANEL)
    blending.register(app, panel=_PANEL)
    command(
        app,
        "run",
        panel=_PANEL,
        render=every_value,
        example="extend run configs/si.toml --set pretrain.steps=2000",
    )(run)


def run(
    call: Call,
    *,
    configuration: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="Settings of the whole run.")],
) -> Result:
    """Run the whole chain that a configuration file describes."""
    opened = open_run(with_config(call, configuration), {"seed": call.talk.seed})
    from extend import recipe

    return recipe.check(opened, "run") if call.talk.dry_run else recipe.run_all(opened, call.display)


def quickstart(
    call: Call,
    *,
    directory: Annotated[Path, typer.Option("--run", metavar="DIR", help="Run folder.")] = Path(
        "runs/quickstart"
    ),
) -> Result:
    """The whole chain on a made world of small languages: no data, no account, minutes."""
    from extend import quickstart as story

    call.directory = directory
    seed = 1 if call.talk.seed is None else call.talk.seed
    if call.talk.dry_run:
        return story.check(directory, seed)
    return story.quickstart(directory, seed, call.display)
