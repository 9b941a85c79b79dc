"""The settings of ner-eval as finished parts: how heads are trained, what is read of encoders, the cache."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from extend.config import NerSettings, expand
from extend.errors import UsageError, escaped
from extend.hub import resolve_base
from extend.recipe.run import Run
from ner.evaluate import FeatureCache, FeatureSettings, Method, TrainSettings, released

CACHE, NO_CACHE = "cache", "off"
_READING = {"encoder_layers": "layers", "pooling": "pooling", "window": "window", "precision": "precision"}


def ner_method(wanted: NerSettings) -> tuple[TrainSettings, Method]:
    """How heads are trained and what is read of encoders.

    With `ner.paper` that is the release, but for settings that were changed from their default: these win,
    and are told in the results.
    """
    names = [field.name for field in fields(TrainSettings) if field.name in NerSettings.model_fields]
    training = {name: getattr(wanted, name) for name in names}
    reading = {own: getattr(wanted, name) for name, own in _READING.items()}
    if not wanted.paper:
        method = Method(
            FeatureSettings(**reading), mode=wanted.mode, select=tuple(wanted.select), keep=wanted.keep
        )
        return TrainSettings(**training), method
    settings, method = released(wanted.seeds)
    changed = _changed(wanted, training)
    features = _changed(wanted, {name: reading[own] for name, own in _READING.items()})
    told = [f"ner.{name} = {value}" for name, value in (changed | features).items() if name != "seeds"]
    if wanted.mode != "frozen":
        told.append(f"ner.mode = {wanted.mode}")
    read = replace(method.features, **{_READING[name]: value for name, value in features.items()})
    return replace(settings, **changed), replace(
        method,
        features=read,
        mode=wanted.mode,
        select=tuple(wanted.select),
        keep=wanted.keep,
        changed=tuple(told),
    )


def _changed(wanted: NerSettings, values: dict[str, Any]) -> dict[str, Any]:
    defaults = NerSettings()
    return {name: value for name, value in values.items() if getattr(defaults, name) != getattr(wanted, name)}


def feature_cache(run: Run) -> FeatureCache | None:
    """Where word vectors are kept: `ner.cache`, by default in the run folder; None when it is `off`."""
    wanted = run.settings.ner
    if wanted.cache == NO_CACHE:
        return None
    folder = Path(expand(wanted.cache)) if wanted.cache else run.directory / CACHE
    return FeatureCache(folder, limit=round(wanted.cache_gib * 2**30))


def further_encoders(run: Run, own: dict[str, Path]) -> dict[str, Path]:
    """The encoders of `ner.encoders`, folders or names on the hub. Raises UsageError for a name twice."""
    result: dict[str, Path] = {}
    for name, place in run.settings.ner.encoders.items():
        if name in own:
            raise UsageError(
                f"{escaped(name)} is the name of an encoder of the run",
                name="E-NER-ENCODER",
                next="give the other encoder another name",
            )
        result[name] = resolve_base(expand(place)).directory
    return result
