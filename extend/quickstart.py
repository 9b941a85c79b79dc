"""The whole chain on a made world, in minutes on two cores: no data, no account, no hub.

World -> a small base encoder trained on its three base languages -> the new language brought to it
(vocabulary, grown rows, new rows trained alone) -> a bilingual baseline trained from nothing -> NER,
zero-shot and supervised -> report. Every step is the one the commands run; only the settings are ours.

Everything is counted in steps, nothing in seconds: a seed gives one table however busy the machine is.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from extend import recipe
from extend.config import RunSettings, load_settings
from extend.languages import resolve
from extend.report import gather_run, summarise
from extend.store import publish_directory
from extend.types import Progress
from extend.world import BASE_LANGUAGES, NEW_LANGUAGE, WorldSize, make_world, write_world

SOURCE = BASE_LANGUAGES[0]
THREADS = 2
"""Torch threads: sums split over another number of threads round otherwise, and the table would move."""


@dataclass(frozen=True)
class Plan:
    """What the quickstart makes and how long it trains. The defaults take about four minutes on two cores.

    The base has rotary positions: at this size it leaves the plateau of word frequencies at once, while one
    with learned positions stays there for most of the budget.
    """

    world: WorldSize = field(default_factory=WorldSize)
    base_pieces: int = 7000
    new_pieces: int = 2500
    bilingual_pieces: int = 4800
    hidden_size: int = 128
    layers: int = 2
    base_steps: int = 1200
    new_rows_steps: int = 600
    bilingual_steps: int = 600
    batch_size: int = 64
    length: int = 32
    learning_rate: float = 2e-3
    new_rows_learning_rate: float = 3e-3
    held_out_lines: int = 400
    ner_seeds: int = 2
    ner_epochs: int = 12


def quickstart(
    directory: Path,
    seed: int = 1,
    on_progress: recipe.OnProgress = recipe.silent,
    *,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """Run the chain in `directory`, which becomes the run folder of the new language.

    Beside the run's own files it holds `world/` (the texts and labelled sentences), `base/` and `bilingual/`
    (runs of their own). Finished stages are not repeated by a second call with the same seed and plan.

    Returns `seconds`, `files` (the report) and `encoders`: for base, extended and bilingual `unk_rate`,
    `fertility`, `mlm_loss`, `zero_shot_f1`, `supervised_f1` and `source_f1` (percent) with their intervals.

    Raises:
        PathError, SpaceError, BusyError: `directory` cannot be used. CheckpointError: it holds a run with
        another seed or plan.
    """
    started, plan = time.monotonic(), plan or Plan()
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        run = _open(directory, NEW_LANGUAGE, _extension_settings(directory, seed, plan))
        _make_world(run, plan.world, on_progress)
        for name, languages in (("base", BASE_LANGUAGES), ("bilingual", (SOURCE, NEW_LANGUAGE))):
            scratch = _scratch_settings(directory, seed, plan, name, languages)
            recipe.train_from_scratch(_open(directory / name, SOURCE, scratch), _under(name, on_progress))
        recipe.pretrain(run, _under("extended", on_progress))
        recipe.evaluate_ner(run, True, True, on_progress)
        written = recipe.report(run)
    finally:
        torch.set_num_threads(threads)
    lines = [line.as_json() for line in summarise(gather_run(directory))]
    return {
        "seconds": round(time.monotonic() - started, 1),
        "encoders": {line.pop("encoder"): line for line in lines},
        "files": written["files"],
    }


def check(directory: Path, seed: int = 1, *, plan: Plan | None = None) -> dict[str, Any]:
    """What a dry run of `quickstart` says: where, with which seed and plan. Writes nothing.

    Raises what `quickstart` would before its first write.
    """
    plan = plan or Plan()
    run = _open(directory, NEW_LANGUAGE, _extension_settings(directory, seed, plan))
    run.check_folder()
    run.finished("world", _world_settings(run, plan.world))
    return {"stage": "quickstart", "run": str(directory), "seed": seed, "plan": dataclasses.asdict(plan)}


def _open(directory: Path, language: str, settings: RunSettings) -> recipe.Run:
    return recipe.open_run(settings, directory, resolve(language))


def _under(name: str, on_progress: recipe.OnProgress) -> Callable[[Progress], None]:
    return lambda progress: on_progress(dataclasses.replace(progress, stage=f"{name}: {progress.stage}"))


def _make_world(run: recipe.Run, size: WorldSize, on_progress: recipe.OnProgress) -> None:
    wanted = _world_settings(run, size)
    target = run.directory / "world"
    on_progress(Progress("world", 0, 1, "making four languages"))
    with run.held():
        if not run.finished("world", wanted):
            run.save_settings()
            with publish_directory(target) as folder:
                write_world(make_world(seed=run.settings.seed, size=size), folder)
            run.record("world", wanted, {"world": target})
    on_progress(Progress("world", 1, 1, "four languages made"))


def _world_settings(run: recipe.Run, size: WorldSize) -> dict[str, Any]:
    return {"seed": run.settings.seed, **dataclasses.asdict(size)}


def _training(plan: Plan, steps: int) -> dict[str, Any]:
    return {
        "vocab.held_out_lines": plan.held_out_lines,
        "vocab.held_out_share": 0.0,
        "pretrain.steps": steps,
        "pretrain.batch_size": plan.batch_size,
        "pretrain.length": plan.length,
        "pretrain.learning_rate": plan.learning_rate,
        "pretrain.warmup_steps": max(1, steps // 12),
        "pretrain.mask_rate": 0.3,
        "pretrain.precision": "fp32",
        "pretrain.save_every": max(1, steps // 2),
        "pretrain.keep": 1,
    }


def _text(directory: Path, code: str) -> str:
    return str(directory / "world" / "text" / f"{code}.txt")


def _scratch_settings(
    directory: Path, seed: int, plan: Plan, name: str, languages: tuple[str, ...]
) -> RunSettings:
    base = name == "base"
    return load_settings(
        None,
        {
            "lang": languages[-1],
            "seed": seed,
            "scratch.languages": {code: [_text(directory, code)] for code in languages},
            "scratch.architecture": "modernbert",
            "scratch.hidden_size": plan.hidden_size,
            "scratch.layers": plan.layers,
            "scratch.heads": 4,
            "scratch.intermediate_size": 3 * plan.hidden_size,
            "scratch.vocab_size": plan.base_pieces if base else plan.bilingual_pieces,
            **_training(plan, plan.base_steps if base else plan.bilingual_steps),
        },
    )


def _extension_settings(directory: Path, seed: int, plan: Plan) -> RunSettings:
    return load_settings(
        None,
        {
            "lang": NEW_LANGUAGE,
            "seed": seed,
            "base": str(directory / "base" / "model"),
            "corpus": [_text(directory, NEW_LANGUAGE)],
            "vocab.size": plan.new_pieces,
            "grow.init": "subword",
            **_training(plan, plan.new_rows_steps),
            "pretrain.new_rows_steps": plan.new_rows_steps,
            "pretrain.new_rows_learning_rate": plan.new_rows_learning_rate,
            "pretrain.new_rows_warmup_steps": max(1, plan.new_rows_steps // 12),
            "ner.data": {code: _sentences(directory, code) for code in (*BASE_LANGUAGES, NEW_LANGUAGE)},
            "ner.source": SOURCE,
            "ner.targets": [NEW_LANGUAGE],
            "ner.seeds": plan.ner_seeds,
            "ner.epochs": plan.ner_epochs,
            "ner.patience": plan.ner_epochs,
            "ner.batch_size": 16,
            "ner.hidden_size": 100,
            "ner.layers": 1,
            "ner.learning_rate": 2e-3,
        },
    )


def _sentences(directory: Path, code: str) -> dict[str, str]:
    folder = directory / "world" / "ner" / code
    return {split: str(folder / f"{split}.conll") for split in ("train", "dev", "test")}
