"""The story: the only place that knows every room. Each stage leaves its files in the run folder.

corpus -> counts -> pieces -> tokenizer -> rows -> model -> training -> NER -> report

Its parts are imported when they are first asked for, so that what needs no tensors does not wait for torch.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extend.config import RunSettings
from extend.languages import Language
from extend.recipe.run import OnProgress as OnProgress
from extend.recipe.run import Run as Run
from extend.recipe.run import silent as silent

if TYPE_CHECKING:
    from extend.recipe.certifying import check_folder as check_folder
    from extend.recipe.certifying import raise_failed as raise_failed
    from extend.recipe.checking import check as check
    from extend.recipe.comparing import compare_methods as compare_methods
    from extend.recipe.evaluation import check_evaluation as check_evaluation
    from extend.recipe.evaluation import evaluate_ner as evaluate_ner
    from extend.recipe.evaluation import protocols_possible as protocols_possible
    from extend.recipe.growing import grow as grow
    from extend.recipe.measures import measure_encoders as measure_encoders
    from extend.recipe.pretraining import pretrain as pretrain
    from extend.recipe.publishing import push as push
    from extend.recipe.publishing import report as report
    from extend.recipe.scratch import train_from_scratch as train_from_scratch
    from extend.recipe.vocabulary import learn_vocabulary as learn_vocabulary

_HOMES = {
    "check_folder": "certifying",
    "raise_failed": "certifying",
    "check": "checking",
    "compare_methods": "comparing",
    "check_evaluation": "evaluation",
    "evaluate_ner": "evaluation",
    "protocols_possible": "evaluation",
    "grow": "growing",
    "measure_encoders": "measures",
    "pretrain": "pretraining",
    "push": "publishing",
    "report": "publishing",
    "train_from_scratch": "scratch",
    "learn_vocabulary": "vocabulary",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def open_run(settings: RunSettings, directory: Path | None, language: Language) -> Run:
    """A run of `settings` in `directory`, by default `runs/CODE`. Touches no file."""
    return Run(directory or Path("runs") / language.code, settings, language)


def run_all(run: Run, on_progress: OnProgress = silent) -> dict[str, Any]:
    """The whole chain: vocabulary, growth, pretraining, NER (as far as data are given), report.

    NER data are read first: what is wrong with them is told before anything is trained.
    """
    from extend import recipe

    zero_shot, supervised = recipe.protocols_possible(run)
    if zero_shot or supervised:
        recipe.check_evaluation(run)
    results: dict[str, Any] = {
        "vocab": recipe.learn_vocabulary(run, on_progress),
        "grow": recipe.grow(run, on_progress),
        "pretrain": recipe.pretrain(run, on_progress),
    }
    if zero_shot or supervised:
        results["ner"] = recipe.evaluate_ner(run, zero_shot, supervised, on_progress)
    return {**results, "report": recipe.report(run)}
