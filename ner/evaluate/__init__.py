"""The story of ner-eval: encoders, heads trained on their word vectors, one table.

Protocol: EXTEND (Wang et al. 2020), section 4: a BiLSTM-CRF on the frozen encoder, selected on the dev set
of the language it is trained on. Zero-shot tests it on another language, supervised on the same; few-shot
adds some sentences of the target to the training set.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from extend.errors import OutOfMemoryError, UsageError
from extend.hub import load_encoder, save_model
from extend.store import publish_directory
from ner.cache import LIMIT, FeatureCache
from ner.evaluate.bench import Bench
from ner.evaluate.earlier import MADE_FROM, earlier, made_from
from ner.evaluate.encoder import Encoder
from ner.evaluate.meter import Meter, OnProgress
from ner.evaluate.method import Method, Mode, Selection, described, differences_from_release, released
from ner.evaluate.shots import MIXING, few_shot_plan, few_shot_sets
from ner.features import FeatureSettings
from ner.report import write_results
from ner.results import scored
from ner.saving import save_heads
from ner.sets import (
    Experiment,
    Files,
    LanguageSets,
    check_names,
    data_warnings,
    experiments,
    leaks,
    read_sets,
)
from ner.train import ORACLE, SOURCE_DEV, TrainSettings

__all__ = [
    "LIMIT",
    "FeatureCache",
    "FeatureSettings",
    "Method",
    "Mode",
    "Selection",
    "TrainSettings",
    "check",
    "evaluate",
    "released",
]

SCHEMA = 1
HEADS = "heads"

Protocols = dict[str, tuple[list[Experiment], dict[str, LanguageSets]]]


def check(  # noqa: PLR0913 - as evaluate
    encoders: Mapping[str, Path],
    data: Files,
    *,
    source: str,
    targets: Sequence[str],
    zero_shot: bool,
    supervised: bool,
    few_shot: Sequence[int] = (),
    labels: Sequence[str] = (),
    first_seed: int = 1,
    select: Sequence[Selection] = (),
) -> dict[str, dict[str, LanguageSets]]:
    """Everything `evaluate` checks before it loads an encoder: by protocol, the sets it would use.

    Raises UsageError, DataError or PathError, as `evaluate` does. Writes nothing.
    """
    if not (zero_shot or supervised or few_shot):
        raise UsageError(
            "neither zero-shot nor supervised evaluation was asked for",
            name="E-NER-PROTOCOL",
            next="give --zero-shot or --supervised",
        )
    if not targets:
        raise UsageError("no language to evaluate on", name="E-NER-DATA", next="set ner.targets")
    check_names(encoders, [source, *targets] if zero_shot or few_shot else targets)
    sets: dict[str, dict[str, LanguageSets]] = {}
    for protocol, wanted in (("zero-shot", zero_shot), ("supervised", supervised)):
        if wanted:
            plan = experiments(protocol, source, targets)
            sets[protocol] = read_sets(data, plan, labels=labels, seed=first_seed)
    for count in few_shot:
        plan = few_shot_plan(source, targets, count)
        if not plan:
            raise UsageError("few-shot needs a target beside the source", name="E-NER-DATA")
        sets[f"few-shot-{count}"] = few_shot_sets(
            data, plan, source=source, count=count, seed=first_seed, read={"labels": labels}
        )
    if select and select[0] == ORACLE:
        _refuse_without_dev(sets, source, targets)
    return sets


def _refuse_without_dev(
    sets: Mapping[str, Mapping[str, LanguageSets]], source: str, targets: Sequence[str]
) -> None:
    for found in sets.values():
        for target in targets:
            if target != source and found[target].dev is None:
                raise UsageError(
                    f"no dev set of {target} to select on",
                    name="E-NER-DATA",
                    next=f"give --dev {target}=FILE, or select otherwise",
                )


def evaluate(  # noqa: PLR0913 - the whole protocol is said in one call
    encoders: Mapping[str, Path],
    data: Files,
    *,
    source: str,
    targets: Sequence[str],
    zero_shot: bool,
    supervised: bool,
    out: Path,
    few_shot: Sequence[int] = (),
    labels: Sequence[str] = (),
    settings: TrainSettings | None = None,
    method: Method | None = None,
    first_seed: int = 1,
    groups: Mapping[str, Sequence[str]] | None = None,
    cache: FeatureCache | None = None,
    device: str | None = None,
    reuse: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Compare encoders on NER; write `out/zero-shot`, `out/supervised`, `out/few-shot-N`, each whole or not.

    Every encoder is read once a set; its heads (one a seed) share those vectors. Encoders whose vectors of
    the training language are bit-equal share the heads too. The first encoder is the one the others are
    compared with. All but `seconds` and `timing` follows from the files, the settings and `first_seed`.

    Args:
        encoders: name to checkpoint folder; names are part of file names.
        data: language to split (`train`, `dev`, `test`) to file. A missing dev is a seeded tenth of train.
        source: the language zero-shot heads are trained on (its own test is the forgetting check).
        targets: the languages evaluated on.
        few_shot: numbers of target sentences to add to the source's; a protocol each.
        labels: entity types kept, in all sets; empty keeps all.
        settings: how heads are trained; default the paper's sizes and optimiser.
        method: what is read of encoders, what is trained, which weights are tested; see `released`.
        first_seed: heads have seeds `first_seed`, `first_seed + 1`, ...
        groups: by name, languages whose scores are averaged.
        cache: keeps word vectors on disk for later calls; default none.
        device: where encoder and heads run; default CUDA if there is one, else the CPU.
        reuse: take the results that are in `out` where they follow from the very same encoders, data,
            settings and versions and no file of theirs has changed; default: everything is done again.

    Returns:
        By protocol the content of its results.json: F1, precision and recall in percent (0 to 100),
        `unk_rate` from 0 to 1, `fertility` in pieces a word of the file.

    Raises:
        UsageError, DataError, PathError: before any encoder is loaded. CheckpointError: an encoder cannot be
        loaded. DivergedError: a head's loss is not finite. OutOfMemoryError: see `ner.batch_size`.
    """
    chosen, how = settings or TrainSettings(), method or Method()
    protocols = check(
        encoders,
        data,
        source=source,
        targets=targets,
        zero_shot=zero_shot,
        supervised=supervised,
        few_shot=few_shot,
        labels=labels,
        first_seed=first_seed,
        select=how.select,
    )
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    plans = {protocol: _plan(protocol, source, targets) for protocol in protocols}
    epochs = sum(map(len, plans.values())) * len(encoders) * chosen.seeds * chosen.epochs
    meter = Meter(epochs, on_progress)
    opened = {
        name: Encoder(directory, load_encoder, settings=how.features, device=place, cache=cache)
        for name, directory in encoders.items()
    }
    results: dict[str, Any] = {}
    for protocol, sets in protocols.items():
        head = _head(protocol, source, targets, labels, described(chosen, how, first_seed))
        identity = made_from(head, sets, opened, groups=groups, keep=how.keep)
        known = earlier(out / protocol, identity) if reuse else None
        if known is not None:
            meter.skip(len(plans[protocol]) * len(encoders) * chosen.seeds * chosen.epochs, protocol)
            results[protocol] = known
            continue
        meter.seconds.clear()
        bench = Bench(
            plans[protocol], sets, chosen, method=how, first_seed=first_seed, device=place, meter=meter
        )
        with meter.timed("all"), _memory_told(place):
            for name, encoder in opened.items():
                bench.add(name, encoder)
        if how.paper:
            alone = {name: encoder.pieces.wordpiece_only for name, encoder in opened.items()}
            head["differences_from_release"] = differences_from_release(how, alone)
        tests = bench.tests()
        found = scored(bench.outcomes, tests, seed=first_seed, groups=groups)
        results[protocol] = {
            **head,
            "data": {language: one.described() for language, one in sets.items()},
            "leaks": leaks(sets, plans[protocol]),
            **found,
            "warnings": [*data_warnings(sets, plans[protocol]), *found["warnings"]],
            **({MADE_FROM: identity} if identity else {}),
            **_timing(meter, cache),
        }
        with publish_directory(out / protocol, manifest=True) as directory:
            write_results(directory, results[protocol], bench.outcomes, tests)
            if how.keep != "none":
                _keep_heads(directory / HEADS, bench, encoders, how)
    return results


def _head(
    protocol: str, source: str, targets: Sequence[str], labels: Sequence[str], settings: dict[str, Any]
) -> dict[str, Any]:
    """What results.json begins with: what was asked for."""
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "protocol": protocol,
        "source": None if protocol == "supervised" else source,
        "targets": list(dict.fromkeys(targets)),
        "labels": list(labels),
        "settings": settings,
    }
    if protocol.startswith("few-shot"):
        head["few_shot"] = {"sentences": int(protocol.rpartition("-")[2]), "mixing": MIXING}
    return head


def _keep_heads(folder: Path, bench: Bench, encoders: Mapping[str, Path], method: Method) -> None:
    for (name, train), trained in bench.trained.items():
        model = trained.model
        if model is not None:
            next(iter(trained.heads.values())).select(SOURCE_DEV)
        save_heads(
            folder,
            trained.heads,
            name=name,
            train=train,
            features=method.features,
            encoder=encoders[name],
            every=method.keep == "all" and model is None,
            trained=None if model is None else partial(save_model, model),
        )


def _plan(protocol: str, source: str, targets: Sequence[str]) -> list[Experiment]:
    if protocol.startswith("few-shot-"):
        return few_shot_plan(source, targets, int(protocol.rpartition("-")[2]))
    return experiments(protocol, source, targets)


def _timing(meter: Meter, cache: FeatureCache | None) -> dict[str, Any]:
    seconds = {work: round(taken, 1) for work, taken in meter.seconds.items()}
    total = seconds.pop("all")
    return {"seconds": total, "timing": {**seconds, "cache": dict(cache.told) if cache is not None else None}}


@contextlib.contextmanager
def _memory_told(place: torch.device) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise OutOfMemoryError(
                f"too little memory on {place} for this NER evaluation",
                name="E-MEMORY",
                done="protocols that had ended are written",
                next="set ner.cache, or a smaller ner.batch_size or ner.hidden_size",
            ) from error
        raise
