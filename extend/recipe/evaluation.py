"""Encoders to NER scores: base beside extended (and the bilingual baseline, where there is one)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extend.config import NerData, expand
from extend.errors import UsageError
from extend.hub import resolve_base
from extend.recipe.measures import measure_encoders
from extend.recipe.run import OnProgress, Run, silent
from ner.evaluate import TrainSettings, evaluate

BILINGUAL = "bilingual"


def encoders_of(run: Run) -> dict[str, Path]:
    """Folders of the encoders to compare: `base`, `extended`, and `bilingual` when `bilingual/model` is there."""
    if not (run.model / "config.json").is_file():
        raise UsageError(
            f"run {run.directory} has no trained model yet",
            name="E-STAGE",
            next=f"run extend pretrain --lang {run.language.code}",
        )
    base = resolve_base(run.settings.base, revision=run.settings.revision)
    folders = {"base": base.directory, "extended": run.model}
    bilingual = run.directory / BILINGUAL / "model"
    return {**folders, BILINGUAL: bilingual} if bilingual.is_dir() else folders


def evaluate_ner(
    run: Run, zero_shot: bool, supervised: bool, on_progress: OnProgress = silent
) -> dict[str, Any]:
    """Train and test NER heads on every encoder; results under `ner/`. Returns results by protocol."""
    settings = run.settings.ner
    data = {language: _paths(files) for language, files in settings.data.items()}
    targets = settings.targets or [run.language.code]
    with run.held():
        encoders = encoders_of(run)
        run.save_settings()
        results: dict[str, Any] = evaluate(
            encoders,
            data,
            source=settings.source,
            targets=targets,
            zero_shot=zero_shot,
            supervised=supervised,
            labels=settings.labels,
            settings=TrainSettings(
                seeds=settings.seeds,
                epochs=settings.epochs,
                patience=settings.patience,
                batch_size=settings.batch_size,
                hidden_size=settings.hidden_size,
                layers=settings.layers,
                dropout=settings.dropout,
                learning_rate=settings.learning_rate,
                clip=settings.clip,
            ),
            out=run.ner,
            first_seed=run.settings.ner_seed,
            on_progress=on_progress,
        )
        measure_encoders(run, encoders, on_progress)
        return results


def _paths(files: NerData) -> Mapping[str, Path]:
    return {split: Path(expand(path)) for split, path in files.model_dump(exclude_none=True).items()}
