"""Do the numbers of a card hold? The recorded evaluation run again, each number beside the one it was."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from extend.config import load_settings
from extend.errors import CheckpointError, PathError, escaped
from extend.hub import card_values, hub_note, pulled_checkpoint
from extend.languages import resolve
from extend.recipe.card_numbers import Number, counted, held_out_numbers, score_numbers
from extend.recipe.measures import measure_encoders
from extend.recipe.record import RECORD, read_record, record_of, weight_sums
from extend.recipe.reproduction_inputs import (
    Sets,
    Subject,
    encoders_at_hand,
    sets_at_hand,
    text_at_hand,
)
from extend.recipe.run import OnProgress, Run, silent, versions
from ner.evaluate import FeatureCache, FeatureSettings, Method, TrainSettings, evaluate

_READING = {
    "layers": "encoder_layers",
    "pooling": "pooling",
    "window": "window",
    "wordpiece_only": "wordpiece_only",
    "precision": "precision",
}


def reproduce(
    subject: str,
    *,
    base: str | None = None,
    data: Sequence[Path] = (),
    corpus: Sequence[str] = (),
    revision: str | None = None,
    dry_run: bool = False,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Evaluate a run, a pulled checkpoint or USER/NAME again, as its record says. Writes nothing of it.

    Args:
        subject: a run folder, a folder with `reproduce.json`, or a name on the hub.
        base: where the base lies, when it is a folder; data: files and folders with the NER sets; corpus:
            the text, for the numbers on held-out lines. By default where the run has them, or the hub.
        revision: of a name on the hub.

    Returns `subject`, `commit`, `changed` (files, and scores in the card, that are others than then),
    `numbers` (a list of `place`, `encoder`, `language`, `name`, `card`, `interval`, `now`, `verdict`),
    `counts` by verdict, `holds`, `warnings` (W-NOT-MEASURED), `versions{then, now}`, `seconds` and `hub`. A
    dry run looks for everything and tells `encoders`, `sets` and `text` instead. `not_reproduced` gives the
    failure.

    Raises PathError E-DATA-MISSING with the sha256 of what is not here, CheckpointError E-RECORD, E-BASE.
    """
    started = time.monotonic()
    found = _subject(subject, revision, on_progress)
    methods = {protocol: _method(stage) for protocol, stage in found.record["ner"].items()}
    encoders = encoders_at_hand(found, base)
    with tempfile.TemporaryDirectory(prefix="extend-") as temporary:
        scratch = Path(temporary)
        sets = sets_at_hand(found, data, scratch)
        text = text_at_hand(found, corpus, scratch)
        if dry_run:
            return _plan(found, encoders, sets, text)
        numbers = _scores(found, encoders, sets, methods, scratch=scratch, on_progress=on_progress)
        held_out = found.record["encoders"]
        wanted = {name: encoders[name] for name in held_out if name in encoders}
        measured = measure_encoders(text, wanted, on_progress) if text is not None and wanted else None
        numbers += held_out_numbers(held_out, measured)
    counts, changed = counted(numbers), _changed(found)
    return {
        "subject": found.name,
        "commit": found.commit,
        "changed": changed,
        "holds": not counts["outside"] and not changed,
        "counts": counts,
        "numbers": [number.as_json() for number in numbers],
        "warnings": _warnings(found, encoders, text),
        "versions": {"then": dict(found.record["versions"]), "now": versions()},
        "seconds": round(time.monotonic() - started, 1),
        "hub": hub_note() if found.commit else "",
    }


def not_reproduced(result: Mapping[str, Any]) -> CheckpointError | None:
    """The failure of a result that does not hold; None for one that does, and for a plan."""
    if result.get("holds", True):
        return None
    outside = [number for number in result["numbers"] if number["verdict"] == "outside"]
    told = [
        f"{number['place']}, {number['encoder']}"
        + (f" on {number['language']}" if number["language"] else "")
        + f": {number['name']} {number['card']:.4g}, now {number['now']:.4g}"
        for number in outside[:5]
    ]
    told += [f"another than then: {name}" for name in result["changed"][:5]]
    return CheckpointError(
        f"{len(outside)} numbers of {result['subject']} do not hold"
        if outside
        else f"{result['subject']} is not what was measured",
        name="E-NOT-REPRODUCED",
        why=escaped("; ".join(told), limit=1000),
        done="everything was measured again; nothing was changed",
    )


def _subject(subject: str, revision: str | None, on_progress: OnProgress) -> Subject:
    folder = Path(subject).expanduser()
    if (folder / "run.toml").is_file():
        settings = load_settings(None, saved=folder / "run.toml")
        run = Run(folder, settings, resolve(settings.lang))
        record = read_record(folder) if (folder / RECORD).is_file() else record_of(run)
        return _with_numbers(Subject(subject, None, record, run.model, run))
    if folder.is_dir():
        return _with_numbers(Subject(subject, None, read_record(folder), folder, None))
    if folder.exists() or subject.count("/") != 1 or subject.startswith((".", "/", "~")):
        raise PathError(
            f"{escaped(subject)} is no folder and no hub name",
            name="E-PATH",
            next="give a run folder, a pulled checkpoint, or USER/NAME",
        )
    commit, pulled = pulled_checkpoint(subject, revision=revision, on_progress=on_progress)
    return _with_numbers(Subject(subject, commit, read_record(pulled), pulled, None))


def _with_numbers(subject: Subject) -> Subject:
    if not subject.record["ner"] and not subject.record["encoders"]:
        raise CheckpointError(
            f"{subject.name} has no number that was measured",
            name="E-RECORD",
            next="run extend ner-eval, then extend report",
        )
    return subject


def _plan(subject: Subject, encoders: Mapping[str, Path], sets: Sets, text: Run | None) -> dict[str, Any]:
    return {
        "stage": "reproduce",
        "subject": subject.name,
        "commit": subject.commit,
        "encoders": {name: str(folder) for name, folder in encoders.items()},
        "sets": {
            protocol: {
                language: {split: str(file.path) for split, file in splits.items()}
                for language, splits in languages.items()
            }
            for protocol, languages in sets.items()
        },
        "text": text.settings.corpus if text is not None else [],
        "warnings": _warnings(subject, encoders, text),
    }


def _scores(
    subject: Subject,
    encoders: Mapping[str, Path],
    sets: Sets,
    methods: Mapping[str, tuple[TrainSettings, Method, int]],
    *,
    scratch: Path,
    on_progress: OnProgress,
) -> list[Number]:
    numbers: list[Number] = []
    cache = FeatureCache(scratch / "cache")
    for protocol, stage in subject.record["ner"].items():
        wanted = {name: encoders[name] for name in stage["encoders"] if name in encoders}
        settings, method, first_seed = methods[protocol]
        few_shot = stage.get("few_shot")
        results = evaluate(
            wanted,
            sets[protocol],
            source=stage.get("source") or "",
            targets=stage["targets"],
            zero_shot=stage["protocol"] == "zero-shot",
            supervised=stage["protocol"] == "supervised",
            few_shot=[few_shot["sentences"]] if few_shot else (),
            out=scratch / "ner",
            labels=stage["labels"],
            settings=settings,
            method=method,
            first_seed=first_seed,
            cache=cache,
            on_progress=on_progress,
        )
        numbers += score_numbers(protocol, stage, results[stage["protocol"]])
    return numbers


def _method(stage: Mapping[str, Any]) -> tuple[TrainSettings, Method, int]:
    """The settings that results.json records as finished parts. No head is kept."""
    recorded = stage["settings"]
    try:
        training = {one.name: recorded[one.name] for one in fields(TrainSettings)}
        reading = {own: recorded[name] for own, name in _READING.items()}
        method = Method(
            FeatureSettings(**reading),
            mode=recorded["mode"],
            encoder_dropout=recorded["encoder_dropout"],
            select=tuple(recorded["select"]),
            paper=recorded["paper"],
            keep="none",
        )
        return TrainSettings(**training), method, int(recorded["first_seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"how the {escaped(str(stage['protocol']))} scores were made is not recorded whole",
            name="E-RECORD",
            why=escaped(repr(error)),
            next="evaluate again with this version: extend ner-eval",
        ) from error


def _changed(subject: Subject) -> list[str]:
    """What is another than in the record: files by their sha256, and scores that the card gives."""
    now = weight_sums(subject.model)
    changed = [name for name, total in subject.record["model"].items() if now.get(name) != total]
    card = subject.model / "README.md"
    recorded = {
        f"{cell['f1_mean']:.2f}"
        for stage in subject.record["ner"].values()
        for cell in stage["encoders"].get("extended", {}).values()
    }
    told = [f"{value:.2f}" for value in card_values(card)] if card.is_file() else []
    return changed + [f"README.md: {value} is not in {RECORD}" for value in told if value not in recorded]


def _warnings(subject: Subject, encoders: Mapping[str, Path], text: Run | None) -> list[dict[str, str]]:
    record, found = subject.record, []
    named = {name for stage in record["ner"].values() for name in stage["encoders"]} | set(record["encoders"])
    for name in sorted(named - set(encoders)):
        found.append(f"encoder {escaped(name)} is not here, so its numbers were not measured")
    if record["encoders"] and text is None:
        total = record["corpus"].get("sha256") or "not recorded"
        found.append(
            "numbers on held-out text were not measured: the text is not here; give it with --corpus "
            f"(sha256 of its files together: {total})"
        )
    return [{"name": "W-NOT-MEASURED", "text": text} for text in found]
