"""`.eval_results/*.yaml`: scores as hubs show them beside a model, for test sets that are hub datasets.

The form is that of huggingface_hub's `EvalResultEntry`: a dataset's id and a task in it, a value, notes. A
test set from a file has no id, so its score is told in the card alone.
"""

import re
from collections.abc import Iterator

from extend.report.card_evidence import Evidence, HubSource, gather_evidence, transfers
from extend.report.card_metadata import told_score
from extend.report.nouns import NerScore, NerStage, RunReport
from extend.report.text import yaml_text

FOLDER = ".eval_results"


def result_files(report: RunReport, evidence: Evidence | None = None) -> dict[str, str]:
    """By path in the repository, the text of each file: one a protocol and test language."""
    evidence = evidence or gather_evidence(report.directory)
    return {
        f"{FOLDER}/{_file_name(stage, score)}": "\n".join(_entry(stage, score, source)) + "\n"
        for stage in report.ner
        for score in stage.scores
        if score.encoder == "extended" and score.f1_mean is not None
        if (source := evidence.source_of(score.language))
    }


def _file_name(stage: NerStage, score: NerScore) -> str:
    name = f"{stage.name}-{score.language}"
    return f"extend-{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:100]}.yaml"


def _entry(stage: NerStage, score: NerScore, source: HubSource) -> Iterator[str]:
    heads = f" from {stage.source}" if transfers(stage) else ""
    notes = f"NER head on the frozen encoder, {stage.protocol}{heads}; {told_score(stage, score)}"
    yield "- dataset:"
    yield f"    id: {yaml_text(source.dataset)}"
    yield f"    task_id: {yaml_text(source.config or 'default')}"
    yield f"  value: {score.f1_mean or 0.0:.2f}"
    yield f"  notes: {yaml_text(notes)}"
