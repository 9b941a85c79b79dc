"""Grown encoder to trained encoder, by one process or by many."""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from extend import store
from extend.errors import PathError
from extend.hub import load_pretraining_model, save_model
from extend.pretrain import (
    Hooks,
    Outcome,
    Team,
    autocast_dtype,
    check_agreement,
    deterministic_kernels,
    device_name,
    is_reproducible,
    joined,
    signals_noted,
    train,
)
from extend.pretrain.signals import Signals
from extend.recipe.adapting import publish_adapter_
from extend.recipe.corpora import corpus_patterns
from extend.recipe.data import (
    batches,
    data_fingerprint,
    epochs_of,
    language_weights,
    tokenise_corpora,
)
from extend.recipe.growing import grow, growth_settings
from extend.recipe.metrics import Metrics
from extend.recipe.run import OnProgress, Run, silent, versions
from extend.recipe.trackers import Trackers, open_trackers
from extend.recipe.training import (
    check_training,
    default_settings,
    loop_settings,
    stages_of,
    step_options,
    training_settings,
)
from extend.recipe.watching import Watch, open_watch
from extend.tokenizer import TOKENIZER_FILES, load_tokenizer, special_ids, tokenizer_settings
from extend.types import Progress

__all__ = [
    "STAGE",
    "Plan",
    "check_training",
    "held",
    "pretrain",
    "read_report",
    "stages_of",
    "together",
    "train_model",
    "trained_already",
    "training_settings",
]

STAGE = "pretrain"
_TOKEN = ".ranks.tmp-"
_TOKEN_SECONDS = 10.0
_EPOCHS_WORTH = 4.0
_COMPILING_SECONDS = 900.0
"""Processes that compile their first step are not ready together."""


@dataclass(frozen=True)
class Plan:
    """What a model is trained on: files by language, read by the tokenizer of `tokenizer_folder`.

    `first_new` is the first added row, for what trains new rows alone; `settings` are what the weights
    depend on. With `accept_data_change` text that is no longer what it was is taken as it is now.
    """

    corpora: Mapping[str, Sequence[str]]
    tokenizer_folder: Path
    first_new: int | None
    settings: Mapping[str, Any]
    accept_data_change: bool = False


def pretrain(
    run: Run, on_progress: OnProgress = silent, *, accept_data_change: bool = False
) -> dict[str, Any]:
    """Continue the grown encoder's training on the run's corpus (and replayed text); publish `model/`.

    Grows first if needed; resumes what was interrupted; done already, it returns the report again. Started
    by torchrun or accelerate in several processes, the first of them alone grows, tokenises, writes and
    tells its progress. With `accept_data_change` an interrupted run goes on with text that has changed.
    Returns the content of pretrain/report.json.
    """
    check_training(run)
    corpora = {run.language.code: corpus_patterns(run), **run.settings.pretrain.replay}
    with together(run) as team:
        growth = team.once(lambda: grow(run, on_progress))
        settings = {**growth_settings(run), **training_settings(run, corpora)}
        with held(run, team):
            done = team.once(lambda: trained_already(run, settings))
            if done is not None:
                return done
            team.once(run.save_settings)
            model = load_pretraining_model(run.grown)
            first_new = model.config.vocab_size - int(growth["added"])
            plan = Plan(corpora, run.grown, first_new, settings, accept_data_change)
            return train_model(run, model, plan, team=team, on_progress=on_progress)


def read_report(run: Run) -> dict[str, Any]:
    """The content of pretrain/report.json."""
    report: dict[str, Any] = store.read_json(run.pretraining / "report.json")
    return report


def trained_already(run: Run, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The report of a run that was trained with these settings, or with as many steps or more; else None.

    Settings that the release which trained it did not know count as their defaults. Raises CheckpointError
    when it was trained with others.
    """
    done = run.stages().get(STAGE)
    if done is None:
        return None
    theirs, defaults = done["settings"], default_settings()
    asked = {key: value for key, value in settings.items() if key in theirs or value != defaults.get(key)}
    if int(theirs.get("steps", 0)) >= int(settings["steps"]):
        asked["steps"] = theirs["steps"]
    return read_report(run) if run.finished(STAGE, asked) else None


@contextmanager
def together(run: Run) -> Iterator[Team]:
    """The processes that were started to train this run, met and agreed; one process is a team of itself.

    Raises UsageError when they were started with other settings or library versions, PathError when they do
    not see the same run folder, NetworkError when they do not find each other.
    """
    seconds = _COMPILING_SECONDS if run.settings.pretrain.compile else None
    with joined(seconds=seconds) as team:
        settings = {
            f"{section}.{key}" if isinstance(values, dict) else section: entry
            for section, values in run.settings.model_dump(mode="json").items()
            for key, entry in (values.items() if isinstance(values, dict) else [("", values)])
        }
        check_agreement(team, {**settings, **versions(), "device": team.device.type})
        team.once(run.check_folder)
        _check_shared(run, team)
        yield team


@contextmanager
def held(run: Run, team: Team) -> Iterator[None]:
    """Hold the run folder for the whole team: the first process takes the lock."""
    with ExitStack() as stack:
        team.once(lambda: stack.enter_context(run.held()))
        yield


def _check_shared(run: Run, team: Team) -> None:
    """Raises PathError when a process does not see a file that the first one wrote into the run folder.

    The file goes when the folder is held: it is named as what a kill leaves.
    """
    if team.size == 1:
        return
    name = team.gather(f"{_TOKEN}{secrets.token_hex(8)}")[0]
    token = run.directory / name
    team.once(lambda: store.write_text(token, "seen by every process that trains here\n"))
    until = time.monotonic() + _TOKEN_SECONDS
    while not token.is_file() and time.monotonic() < until:
        time.sleep(0.1)
    blind = [rank for rank, sees in enumerate(team.gather(token.is_file())) if not sees]
    if blind:
        raise PathError(
            f"process {blind[0]} does not see the run folder {run.directory} of process 0",
            name="E-RANKS-FOLDER",
            done="nothing was changed",
            next="give a folder on a file system that every machine shares, by the same path",
        )


def train_model(
    run: Run,
    model: PreTrainedModel,
    plan: Plan,
    *,
    team: Team,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Train `model` as planned and publish it as `model/`. Returns the report."""
    wanted, first_new, accept = run.settings.pretrain, plan.first_new, plan.accept_data_change
    tokenizer, told = load_tokenizer(plan.tokenizer_folder), on_progress if team.leads else silent
    special = special_ids(tokenizer, tokenizer_settings(plan.tokenizer_folder))
    texts = team.leading_first(
        lambda: tokenise_corpora(run, plan.corpora, tokenizer, told, special=special, accept_change=accept)
    )
    data = data_fingerprint(texts)
    check_agreement(team, {"data": data})
    weights = language_weights(texts, wanted, replayed=list(wanted.replay))
    epochs = epochs_of(texts, weights, wanted)
    _tell_repeats(epochs, told)
    batch_at = batches(texts, weights, wanted, seed=run.settings.pretrain_seed)
    stages = stages_of(run, first_new)
    with ExitStack() as stack:
        stack.enter_context(deterministic_kernels(wanted.deterministic))
        trackers = open_trackers(run, plan.settings) if team.leads else Trackers(())
        stack.callback(trackers.finish)
        metrics = Metrics(run.pretraining, told, trackers=trackers, writes=team.leads)
        model.to(team.device)
        options = step_options(run, model, texts, first_new=first_new)
        loop = loop_settings(
            run, team, stages, plan.settings, data=data, options=options, accept_data_change=accept
        )
        watch = team.leading_first(
            lambda: open_watch(
                run,
                texts,
                plan.corpora,
                tokenizer=tokenizer,
                first_new=first_new,
                stages=stages,
                metrics=metrics,
            )
        )
        team.once(lambda: watch.begin(model))
        with signals_noted() as noted:
            checkpoints, hooks = run.pretraining / "checkpoints", _hooks(watch, noted, metrics)
            outcome = train(model, batch_at, loop, hooks, checkpoints=checkpoints, team=team)
        facts = {**_facts(run, team, outcome), "epochs": epochs}
        return team.once(lambda: _finish(run, model, watch, outcome, plan, facts=facts))


def _tell_repeats(epochs: Mapping[str, Mapping[str, float]], on_progress: OnProgress) -> None:
    """Text read again teaches nearly as new text does about four times, as measured on generative models
    (Muennighoff et al. 2023, arXiv 2305.16264)."""
    for language, one in epochs.items():
        if one["epochs"] > _EPOCHS_WORTH:
            text = f"the text of {language} will be read {one['epochs']:.0f} times, each time shuffled anew"
            on_progress(Progress("W-REPEATS", 0, 0, text))


def _hooks(watch: Watch, noted: Signals, metrics: Metrics) -> Hooks:
    """What the loop tells and asks: metrics, evaluations, spikes, signals."""
    return Hooks(
        on_step=metrics.step,
        on_evaluate=watch.evaluate,
        should_stop=noted,
        judge=watch.spikes.judge,
        on_left_out=watch.spikes.left_out,
        on_resumed=watch.resumed,
        on_rewound=watch.rewound,
        remember=watch.spikes.remember,
        recall=watch.spikes.recall,
        saving=noted.shielded,
    )


def _finish(
    run: Run,
    model: PreTrainedModel,
    watch: Watch,
    outcome: Outcome,
    plan: Plan,
    *,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Measure, publish and record what was trained."""
    watch.close(outcome.step, model)
    if run.settings.pretrain.adapt == "lora":
        publish_adapter_(run, model, plan.tokenizer_folder)
    publish_model(run.model, model.to("cpu"), plan.tokenizer_folder)
    warnings = outcome.resumption.warnings
    report = watch.metrics.report(outcome.resumed_from, watch.closing(), warnings=warnings, **facts)
    store.write_json(run.pretraining / "report.json", report)
    run.record(STAGE, plan.settings, {"model": run.model}, **facts)
    return report


def _facts(run: Run, team: Team, outcome: Outcome) -> dict[str, Any]:
    """How it was trained: what the numbers depend on beside the settings."""
    wanted, dtype = run.settings.pretrain, autocast_dtype(run.settings.pretrain.precision, team.device)
    return {
        "ended": outcome.ended,
        "left_out": outcome.left_out,
        "processes": team.size,
        "devices": team.gather(device_name(team.device)),
        "precision": "fp32" if dtype is None else "bf16",
        "micro_batch": wanted.micro_batch or wanted.batch_size // team.size,
        "reproducible": is_reproducible(team.device, deterministic=wanted.deterministic),
    }


def publish_model(target: Path, model: PreTrainedModel, tokenizer_folder: Path) -> None:
    """Weights, configuration and tokenizer in one folder, which AutoModel and AutoTokenizer load."""
    with store.publish_directory(target) as folder:
        save_model(model, folder)
        store.copy_files(tokenizer_folder, folder, TOKENIZER_FILES)
