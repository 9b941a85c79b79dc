"""What a dry run does: everything the real run would validate before it writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extend.config import expand
from extend.corpus import find_files
from extend.hub import resolve_base
from extend.recipe.corpora import corpus_patterns, is_spooled
from extend.recipe.evaluation import check_evaluation, protocols_possible
from extend.recipe.growing import check_growth
from extend.recipe.pretraining import stages_of
from extend.recipe.run import Run
from extend.recipe.scratch import no_text
from extend.recipe.training import check_training
from extend.recipe.vocabulary_inputs import input_settings, protect_files
from extend.tokenizer import kind_of, load_tokenizer


def check(run: Run, stage: str) -> dict[str, Any]:
    """Validate what `stage` (vocab, grow, pretrain, scratch, ner-eval, run or report) needs; writes nothing.

    Returns the plan: the run folder, the files that would be read with their bytes, the settings.
    Raises what the stage itself would raise before its first write.
    """
    checks = {
        "vocab": (_base, _corpus, _inputs),
        "grow": (_base, _corpus, _inputs, _growth),
        "pretrain": (_base, _corpus, _inputs, _growth, _replay),
        "scratch": (_scratch,),
        "ner-eval": (check_evaluation,),
        "run": (_base, _corpus, _inputs, _growth, _replay, _evaluation),
        "report": (_done,),
    }
    run.check_folder()
    plan: dict[str, Any] = {"run": str(run.directory), "language": run.language.code, "stage": stage}
    for part in checks[stage]:
        plan |= part(run)
    return plan


def _base(run: Run) -> dict[str, Any]:
    base = resolve_base(run.settings.base, revision=run.settings.revision)
    return {"base": {"name": base.name, "revision": base.revision}, "tokenizer": _kind(base.directory)}


def _kind(directory: Path) -> str:
    return kind_of(load_tokenizer(directory)).name


def _corpus(run: Run) -> dict[str, Any]:
    return {"corpus": _files(corpus_patterns(run))}


def _inputs(run: Run) -> dict[str, Any]:
    """The veto file is read, and files to protect are looked for, as the real run does first."""
    input_settings(run)
    return {"protect": [str(path) for path in protect_files(run)]}


def _growth(run: Run) -> dict[str, Any]:
    check_growth(run)
    return {"init": run.settings.grow.init, "bias": run.settings.grow.bias}


def _evaluation(run: Run) -> dict[str, Any]:
    """The whole chain leaves out an evaluation that it has no files for."""
    return check_evaluation(run) if any(protocols_possible(run)) else {}


def _replay(run: Run) -> dict[str, Any]:
    wanted = run.settings.pretrain
    check_training(run)
    stages = [{"name": stage.name, "steps": stage.steps} for stage in stages_of(run, first_new=0)]
    texts = {"replay": wanted.replay, "watch": wanted.watch}
    listed = {name: {code: _files(v) for code, v in files.items()} for name, files in texts.items()}
    return {"stages": stages, **listed}


def _scratch(run: Run) -> dict[str, Any]:
    check_training(run, grown=False)
    languages = run.settings.scratch.languages
    if not languages:
        raise no_text()
    return {"corpora": {language: _files(patterns) for language, patterns in languages.items()}}


def _done(run: Run) -> dict[str, Any]:
    return {"stages_done": sorted(run.stages())}


def _files(patterns: Sequence[str]) -> dict[str, int | None]:
    """Bytes by file; a dataset that would be streamed has none yet."""
    streamed: dict[str, int | None] = {pattern: None for pattern in patterns if is_spooled(pattern)}
    local = [expand(pattern) for pattern in patterns if pattern not in streamed]
    return {**streamed, **{str(path): path.stat().st_size for path in (find_files(local) if local else [])}}
