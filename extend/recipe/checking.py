"""What a dry run does: everything the real run would validate before it writes."""

from typing import Any

from extend.config import expand
from extend.errors import UsageError
from extend.hub import resolve_base
from extend.recipe.evaluation import check_evaluation
from extend.recipe.growing import initializer_named
from extend.recipe.pretraining import stages_of
from extend.recipe.run import Run
from extend.corpus import find_files
from extend.tokenizer import kind_of, load_tokenizer


def check(run: Run, stage: str) -> dict[str, Any]:
    """Validate what `stage` (vocab, grow, pretrain, scratch, ner-eval or run) needs; writes nothing.

    Returns the plan: the run folder, the files that would be read with their bytes, the settings.
    Raises what the stage itself would raise before its first write.
    """
    checks = {
        "vocab": (_base, _corpus),
        "grow": (_base, _corpus, _growth),
        "pretrain": (_base, _corpus, _growth, _replay),
        "scratch": (_scratch,),
        "ner-eval": (check_evaluation,),
        "run": (_base, _corpus, _growth, _replay, check_evaluation),
    }
    plan: dict[str, Any] = {"run": str(run.directory), "language": run.language.code, "stage": stage}
    for part in checks[stage]:
        plan |= part(run)
    return plan
