"""The run's settings to the parts of training: stages, objectives, what a checkpoint must agree with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.config import PretrainSettings
from extend.errors import UsageError
from extend.pretrain import (
    LoopSettings,
    Stage,
    StepOptions,
    Team,
    autocast_dtype,
    check_shares,
    set_dropout_,
)
from extend.pretrain.adapters import adapted, adapter_parameters, check_peft
from extend.pretrain.keeping import BaseDistillation, Keeper, PullToBase, frozen
from extend.pretrain.objectives import AbstractObjective, objective_of
from extend.pretrain.schedule import Trained
from extend.recipe.data import Corpora, active_ids
from extend.recipe.run import Run
from extend.recipe.trackers import check_trackers
from extend.recipe.watching import check_watch

ALONE = "new-rows"
"""The stage that trains the new rows and nothing else."""

FREE = frozenset(
    {
        "bad_steps",
        "eval_every",
        "keep",
        "log_every",
        "max_forgetting",
        "micro_batch",
        "on_spike",
        "patience",
        "processes",
        "report_to",
        "save_every",
        "seed",
        "watch",
        "watchdog",
    }
)
"""Settings that a resumed run may change. `seed` is resolved elsewhere; another `micro_batch` moves sums by
rounding alone; what was decided about bad steps and spikes is in the checkpoint."""


def training_settings(run: Run, corpora: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the trained weights depend on, and a checkpoint must agree with."""
    chosen = {key: value for key, value in run.settings.pretrain.model_dump().items() if key not in FREE}
    return {**chosen, "seed": run.settings.pretrain_seed, "corpora": {k: list(v) for k, v in corpora.items()}}


def default_settings() -> dict[str, Any]:
    """What a setting was in runs made before it existed."""
    return {key: value for key, value in PretrainSettings().model_dump().items() if key not in FREE}


def check_training(run: Run, *, grown: bool = True) -> None:
    """Raises UsageError, before anything is read, for settings that cannot be trained with.

    `grown` says that the model will have new rows.
    """
    wanted = run.settings.pretrain
    check_shares(wanted.batch_size)
    check_trackers(wanted.report_to)
    check_watch(run.settings, run.language.code)
    stages_of(run, first_new=0 if grown else None)
    if wanted.adapt != "lora":
        return
    check_peft()
    if wanted.l2_to_base and trained_of(wanted) == "new-rows":
        raise UsageError(
            "pretrain.l2_to_base has nothing to pull: adapters and new rows alone are trained",
            name="E-CONFIG",
            next="leave it out, or set pretrain.train = 'embeddings'",
        )


def trained_of(wanted: PretrainSettings) -> Trained:
    """What the main stage trains: with adapters the encoder stays, so that `all` means the new rows."""
    return "new-rows" if wanted.adapt == "lora" and wanted.train == "all" else wanted.train


def stages_of(run: Run, first_new: int | None) -> tuple[Stage, ...]:
    """New rows first, as long as `new_rows_steps` says, then what `train` says."""
    wanted = run.settings.pretrain
    alone = wanted.new_rows_steps if first_new is not None else 0
    if alone > wanted.steps:
        raise UsageError(
            f"pretrain.new_rows_steps ({alone}) is more than pretrain.steps ({wanted.steps})",
            name="E-CONFIG",
            why="steps counts all steps, those for the new rows among them",
        )
    rate, warmup = wanted.new_rows_learning_rate, wanted.new_rows_warmup_steps
    trained = trained_of(wanted)
    main = f"{trained}+lora" if wanted.adapt == "lora" else trained
    steps, main_rate, main_warmup = wanted.steps - alone, wanted.learning_rate, wanted.warmup_steps
    stages = (
        Stage(ALONE, alone, rate, warmup, "new-rows", first_new),
        Stage(main, steps, main_rate, main_warmup, trained, first_new),
    )
    return tuple(stage for stage in stages if stage.steps)


def step_options(run: Run, model: PreTrainedModel, texts: Corpora, *, first_new: int | None) -> StepOptions:
    """How steps are made, and by which objectives; `model` gets the dropout and the adapters asked for.

    What is kept of the old languages is compared with the model as it is now, before any training.
    """
    wanted = run.settings.pretrain
    old = len(architecture_of(model).embedding(model)) if first_new is None else first_new
    with_adapters = wanted.adapt == "lora"
    moves_old = trained_of(wanted) != "new-rows" or with_adapters
    base = frozen(model) if moves_old and (wanted.distil_weight or wanted.l2_to_base) else None
    active = _active_ids(texts) if wanted.softmax == "active" else None
    keepers: tuple[Keeper, ...] = ()
    if base and wanted.distil_weight:
        weight, temperature = wanted.distil_weight, wanted.distil_temperature
        keepers = (BaseDistillation(base, old=old, weight=weight, temperature=temperature, ids=active),)
    strength = wanted.l2_to_base
    pulls = (PullToBase(base, strength=strength, old=old, ids=active),) if base and strength else ()
    if wanted.dropout is not None:
        set_dropout_(model, wanted.dropout)
    if with_adapters:
        adapted(model, rank=wanted.lora_rank, alpha=wanted.lora_alpha, seed=run.settings.pretrain_seed)

    def objective(model: PreTrainedModel, stage: Stage) -> AbstractObjective:
        alone = stage.name == ALONE
        return objective_of(
            model,
            stage.trains,
            first_new=stage.first_new,
            active=active,
            keepers=() if alone else keepers,
            more=adapter_parameters(model) if with_adapters and not alone else None,
        )

    return StepOptions(wanted.micro_batch, wanted.compile, pulls, objective)


def _active_ids(texts: Corpora) -> Tensor:
    """Ids, ascending, that occur in the training text, and those of special tokens."""
    special = np.fromiter(texts.special.unmaskable, dtype=np.int64)
    return torch.from_numpy(np.union1d(active_ids(texts), special))


def loop_settings(
    run: Run, team: Team, stages: tuple[Stage, ...], settings: Mapping[str, Any], **more: Any
) -> LoopSettings:
    """The loop's settings from the run's; `more` are those that only the loaded model and data give."""
    wanted = run.settings.pretrain
    return LoopSettings(
        stages=stages,
        seed=run.settings.pretrain_seed,
        batch_size=wanted.batch_size,
        configuration=settings,
        weight_decay=wanted.weight_decay,
        clip=wanted.clip,
        dtype=autocast_dtype(wanted.precision, team.device),
        defaults=default_settings(),
        save_every=wanted.save_every,
        keep=wanted.keep,
        log_every=wanted.log_every,
        evaluate_every=wanted.eval_every,
        bad_steps=wanted.bad_steps,
        may_rewind=wanted.on_spike == "rewind",
        watchdog=float(wanted.watchdog),
        **more,
    )
