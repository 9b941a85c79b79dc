"""Grown encoder to trained encoder; and, from nothing, a base to start with."""

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from extend import store
from extend.errors import UsageError
from extend.hub import load_pretraining_model, save_model
from extend.pretrain import (
    Hooks,
    LoopSettings,
    Stage,
    autocast_dtype,
    device_of_choice,
    held_out_loss,
    latest_checkpoint,
    train,
)
from extend.recipe.corpora import corpus_patterns
from extend.recipe.data import Corpora, batches, language_weights, masking_rule, tokenise_corpora
from extend.recipe.growing import grow, growth_settings
from extend.recipe.metrics import Metrics
from extend.recipe.run import OnProgress, Run, silent
from extend.tokenizer import TOKENIZER_FILES, load_tokenizer

STAGE = "pretrain"
_FREE = {"save_every", "keep", "log_every", "eval_every", "seed"}


def training_settings(run: Run, corpora: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the trained weights depend on, and a checkpoint must agree with."""
    chosen = {key: value for key, value in run.settings.pretrain.model_dump().items() if key not in _FREE}
    return {**chosen, "seed": run.settings.pretrain_seed, "corpora": {k: list(v) for k, v in corpora.items()}}


def pretrain(run: Run, on_progress: OnProgress = silent) -> dict[str, Any]:
    """Continue the grown encoder's training on the run's corpus (and replayed text); publish `model/`.

    Grows first if needed; resumes what was interrupted; done already, it returns the report again.
    Returns the content of pretrain/report.json.
    """
    growth = grow(run, on_progress)
    corpora = {run.language.code: corpus_patterns(run), **run.settings.pretrain.replay}
    settings = {**growth_settings(run), **training_settings(run, corpora)}
    with run.held():
        if run.finished(STAGE, settings):
            return read_report(run)
        run.save_settings()
        model = load_pretraining_model(run.grown)
        first_new = model.config.vocab_size - int(growth["added"])
        return train_model(
            run,
            model,
            corpora,
            tokenizer_folder=run.grown,
            first_new=first_new,
            settings=settings,
            on_progress=on_progress,
        )


def read_report(run: Run) -> dict[str, Any]:
    """The content of pretrain/report.json."""
    report: dict[str, Any] = store.read_json(run.pretraining / "report.json")
    return report


def train_model(
    run: Run,
    model: PreTrainedModel,
    corpora: Mapping[str, Sequence[str]],
    *,
    tokenizer_folder: Path,
    first_new: int | None,
    settings: Mapping[str, Any],
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Train `model` on `corpora` (files by language) and publish it as `model/`. Returns the report.

    `first_new` is the first added row, for the stage that trains new rows alone.
    """
    wanted, device = run.settings.pretrain, device_of_choice()
    texts = tokenise_corpora(run, corpora, load_tokenizer(tokenizer_folder), on_progress)
    weights = language_weights(texts, wanted, replayed=list(wanted.replay))
    loop = LoopSettings(
        stages=stages_of(run, first_new),
        seed=run.settings.pretrain_seed,
        configuration=settings,
        weight_decay=wanted.weight_decay,
        clip=wanted.clip,
        save_every=wanted.save_every,
        keep=wanted.keep,
        log_every=wanted.log_every,
        evaluate_every=wanted.eval_every,
        dtype=autocast_dtype(wanted.precision, device),
    )
    metrics = Metrics(run.pretraining, on_progress)
    saved = latest_checkpoint(run.pretraining / "checkpoints")
    metrics.cut(saved.step if saved else 0)
    model.to(device)
    with signals_noted() as noted:
        hooks = Hooks(
            metrics.step,
            lambda step, trained: metrics.evaluated(step, held_out(run, trained, texts)),
            lambda: noted[0] if noted else None,
        )
        batch_at = batches(texts, weights, wanted, seed=run.settings.pretrain_seed)
        resumed_from = train(model, batch_at, loop, hooks, checkpoints=run.pretraining / "checkpoints")
    model.to("cpu")
    publish_model(run.model, model, tokenizer_folder)
    report = metrics.report(held_out(run, model, texts), resumed_from)
    store.write_json(run.pretraining / "report.json", report)
    run.record(STAGE, settings, {"model": run.model})
    return report


def stages_of(run: Run, first_new: int | None) -> tuple[Stage, ...]:
    """New rows first, as long as `new_rows_steps` says, then all weights."""
    wanted = run.settings.pretrain
    alone = wanted.new_rows_steps if first_new is not None else 0
    if alone > wanted.steps:
        raise UsageError(
            f"pretrain.new_rows_steps ({alone}) is more than pretrain.steps ({wanted.steps})",
            name="E-CONFIG",
            why="steps counts all steps, those for the new rows among them",
        )
    stages = (
        Stage(
            "new-rows",
            alone,
            wanted.new_rows_learning_rate,
            wanted.new_rows_warmup_steps,
            "new-rows",
            first_new,
        ),
        Stage(
            wanted.train,
            wanted.steps - alone,
            wanted.learning_rate,
            wanted.warmup_steps,
            wanted.train,
            first_new,
        ),
    )
    return tuple(stage for stage in stages if stage.steps)


def publish_model(target: Path, model: PreTrainedModel, tokenizer_folder: Path) -> None:
    """Weights, configuration and tokenizer in one folder, which AutoModel and AutoTokenizer load."""
    with store.publish_directory(target) as folder:
        save_model(model, folder)
        store.copy_files(tokenizer_folder, folder, TOKENIZER_FILES)


def held_out(run: Run, model: PreTrainedModel, texts: Corpora) -> dict[str, dict[str, float]]:
    """Held-out MLM loss by language; a language whose held-out text is shorter than a block is left out."""
    wanted, device = run.settings.pretrain, next(model.parameters()).device
    return {
        language: {
            "mlm_loss": held_out_loss(
                model,
                stream,
                length=wanted.length,
                special=texts.special,
                rule=masking_rule(wanted),
                dtype=autocast_dtype(wanted.precision, device),
            )
        }
        for language, stream in texts.held_out.items()
        if len(stream.ids) >= wanted.length - 1
    }


@contextmanager
def signals_noted() -> Iterator[list[int]]:
    """A list that fills when SIGTERM or SIGINT arrives, so that a step can end before the run does."""
    noted: list[int] = []
    wanted = (signal.SIGTERM, signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.signal(number, lambda received, _: noted.append(received)) for number in wanted}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
