"""`extend pretrain`: continue masked-language-model training, or train a base from nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import typer
from rich.console import RenderableType

from extend.cli.command import Call, Result, command
from extend.cli.output import every_value
from extend.cli.runs import open_run, per_language

_TRAINING, _KEEPING, _WATCHING = "Training", "Keeping the old languages", "Watching"


def register(app: typer.Typer, *, panel: str) -> None:
    """Put the command into the application."""
    command(
        app,
        "pretrain",
        panel=panel,
        render=_shown,
        example="extend pretrain --lang ug --steps 2000 --replay en=en.txt",
    )(pretrain)


def _option(help_: str, panel: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_, rich_help_panel=panel, **more)


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained, on how much, how fast."""

    steps: Annotated[int | None, _option("Optimizer steps in all.", _TRAINING, min=0)] = None
    new_rows_steps: Annotated[
        int | None, _option("First steps, which train the new rows alone.", _TRAINING, min=0)
    ] = None
    train: Annotated[
        Literal["all", "embeddings", "new-rows"] | None,
        _option("What the other steps train.  [default: all]", _TRAINING),
    ] = None
    batch_size: Annotated[int | None, _option("Samples a step, over all processes.", _TRAINING, min=1)] = None
    micro_batch: Annotated[
        int | None, _option("Samples a forward pass: less memory, same result.", _TRAINING, min=1)
    ] = None
    length: Annotated[int | None, _option("Tokens a block.", _TRAINING, min=8)] = None
    packing: Annotated[
        Literal["blocks", "documents"] | None,
        _option("Text to the brim, or documents apart in attention.  [default: blocks]", _TRAINING),
    ] = None
    learning_rate: Annotated[float | None, _option("Highest learning rate.", _TRAINING, min=0.0)] = None
    mask_rate: Annotated[float | None, _option("Share of masked tokens.", _TRAINING, min=0.0, max=1.0)] = None
    softmax: Annotated[
        Literal["full", "active"] | None,
        _option("Over all ids, or over those that occur in the text.  [default: full]", _TRAINING),
    ] = None
    nsp: Annotated[
        bool | None, _option("Next-sentence prediction beside MLM.", _TRAINING, "--nsp/--no-nsp")
    ] = None
    compile: Annotated[bool | None, _option("torch.compile the step.", _TRAINING, "--compile")] = None
    deterministic: Annotated[
        bool | None, _option("Only kernels that give the same bits again.", _TRAINING, "--deterministic")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Against forgetting."""

    replay: Annotated[
        list[str] | None,
        _option("Text of a language the base knows, mixed in; repeatable.", _KEEPING, metavar="LANG=PATH"),
    ] = None
    replay_share: Annotated[float | None, _option("Share of replayed blocks.", _KEEPING, min=0, max=1)] = None
    distil_weight: Annotated[
        float | None,
        _option("Weight of the KL divergence to the base on replayed text.", _KEEPING, "--distil", min=0.0),
    ] = None
    l2_to_base: Annotated[
        float | None, _option("Pull of old weights towards the base's.", _KEEPING, min=0.0)
    ] = None
    adapt: Annotated[
        Literal["none", "lora"] | None,
        _option("lora: adapters beside a frozen encoder.  [default: none]", _KEEPING),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Watching:
    """What is measured on the way, and what ends a run."""

    eval_every: Annotated[int | None, _option("Steps between held-out evaluations.", _WATCHING, min=0)] = None
    watch: Annotated[
        list[str] | None,
        _option("Text of a language to protect: measured only; repeatable.", _WATCHING, metavar="LANG=PATH"),
    ] = None
    max_forgetting: Annotated[
        float | None,
        _option(
            "Stop when a watched or replayed language loses more.",
            _WATCHING,
            "--stop-on-forgetting",
            metavar="NATS",
            min=0.0,
        ),
    ] = None
    patience: Annotated[
        int | None, _option("Evaluations without gain before stopping.", _WATCHING, min=0)
    ] = None
    on_spike: Annotated[
        Literal["warn", "skip", "rewind", "stop"] | None,
        _option("When the loss jumps.  [default: warn]", _WATCHING),
    ] = None
    report_to: Annotated[
        list[str] | None,
        _option("tensorboard, trackio or wandb get the metrics too; repeatable.", _WATCHING),
    ] = None
    save_every: Annotated[int | None, _option("Steps between checkpoints.", _WATCHING, min=1)] = None


def _shown(result: Result) -> Iterable[RenderableType]:
    """What came out; what happened on the way is in pretrain/events.jsonl and on stderr."""
    yield from every_value({name: value for name, value in result.items() if name not in _TOLD})
    if result.get("events"):
        yield f"events: {len(result['events'])}, see pretrain/events.jsonl"


_TOLD = {"events", "warnings"}
_PER_LANGUAGE = {"replay": "--replay", "watch": "--watch"}


def pretrain(
    call: Call,
    *,
    training: Training,
    keeping: Keeping,
    watching: Watching,
    preset_name: Annotated[
        str | None, typer.Option("--preset", help="Settings that belong together: paper.")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train a base, or the bilingual baseline, from nothing.")
    ] = False,
    accept_data_change: Annotated[
        bool,
        typer.Option("--accept-data-change", help="Go on with text that has changed; kept on record."),
    ] = False,
) -> Result:
    """Continue masked-language-model training on the corpus; the same command again resumes."""
    settings = {**chosen(preset_name, training, keeping, watching), "pretrain.seed": call.talk.seed}
    opened = open_run(call, settings, scratch=from_scratch)
    from extend import recipe

    if call.talk.dry_run:
        return recipe.check(opened, "scratch" if from_scratch else "pretrain")
    train = recipe.train_from_scratch if from_scratch else recipe.pretrain
    return train(opened, call.display, accept_data_change=accept_data_change)


def chosen(preset_name: str | None, *groups: Training | Keeping | Watching) -> dict[str, Any]:
    """Dotted settings: those of the preset, and over them what the options say."""
    from extend.presets import preset

    settings = dict(preset(preset_name)) if preset_name else {}
    for group in groups:
        settings |= _given(group)
    return settings


def _given(group: Training | Keeping | Watching) -> dict[str, Any]:
    """The settings that these options set; what was not given is left out."""
    found: dict[str, Any] = {}
    for option in fields(group):
        value = getattr(group, option.name)
        if option.name in _PER_LANGUAGE:
            texts = per_language(value, option=_PER_LANGUAGE[option.name])
            found |= {f"pretrain.{option.name}.{code}": paths for code, paths in texts.items()}
        elif value is not None:
            found[f"pretrain.{option.name}"] = value
    return found
