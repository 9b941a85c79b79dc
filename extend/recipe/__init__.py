"""The story: the only place that knows every room. Each stage leaves its files in the run folder.

corpus -> counts -> pieces -> tokenizer -> rows -> model -> training -> NER -> report
"""

from pathlib import Path
from typing import Any

from extend.config import RunSettings
from extend.languages import Language
from extend.recipe.certifying import check_folder as check_folder
from extend.recipe.certifying import raise_failed as raise_failed
from extend.recipe.checking import check as check
from extend.recipe.comparing import compare_methods as compare_methods
from extend.recipe.evaluation import evaluate_ner as evaluate_ner
from extend.recipe.evaluation import protocols_possible
from extend.recipe.growing import grow as grow
from extend.recipe.measures import measure_encoders as measure_encoders
from extend.recipe.pretraining import pretrain as pretrain
from extend.recipe.publishing import push as push
from extend.recipe.publishing import report as report
from extend.recipe.run import OnProgress as OnProgress
from extend.recipe.run import Run as Run
from extend.recipe.run import silent as silent
from extend.recipe.scratch import train_from_scratch as train_from_scratch
from extend.recipe.vocabulary import learn_vocabulary as learn_vocabulary


def open_run(settings: RunSettings, directory: Path | None, language: Language) -> Run:
    """A run of `settings` in `directory`, by default `runs/CODE`. Touches no file."""
    return Run(directory or Path("runs") / language.code, settings, language)


def run_all(run: Run, on_progress: OnProgress = silent) -> dict[str, Any]:
    """The whole chain: vocabulary, growth, pretraining, NER (as far as data are given), report."""
    results: dict[str, Any] = {
        "vocab": learn_vocabulary(run, on_progress),
        "grow": grow(run, on_progress),
        "pretrain": pretrain(run, on_progress),
    }
    zero_shot, supervised = protocols_possible(run)
    if zero_shot or supervised:
        results["ner"] = evaluate_ner(run, zero_shot, supervised, on_progress)
    return {**results, "report": report(run)}
