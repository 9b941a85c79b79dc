"""A trained head and what it needs as a folder: config.json, model.safetensors, and the encoder or its hash.

Nothing in such a folder is a pickle, and nothing of it is believed before it was checked.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from extend import store
from extend.errors import CheckpointError, RefusedError, UsageError, escaped
from ner.features import FeatureSettings
from ner.saving.encoders import TOKENIZER, WEIGHTS, encoder_files, encoder_sha256
from ner.saving.guarding import check_folder
from ner.tagger import Tagger, TaggerSettings
from ner.tags import LABEL

SCHEMA = 1
KIND = "extend-tagger"
CONFIG, ENCODER = "config.json", "encoder"
_HASH = re.compile(r"[0-9a-f]{64}")
_RANGES = {
    "features": (1, 1 << 16),
    "hidden_size": (1, 1 << 14),
    "layers": (1, 64),
    "mixed_layers": (0, 512),
    "window": (8, 1 << 20),
}
_MOST_LABELS = 1024
WriteWeights = Callable[[Path], None]
SettingsT = TypeVar("SettingsT", TaggerSettings, FeatureSettings)


@dataclass(frozen=True)
class SavedTagger:
    """A tagger that was read from `directory`.

    Attributes:
        head: in eval mode, on the CPU. features: what it reads of the encoder.
        encoder: the encoder's folder inside, None when the tagger only refers to one.
        encoder_sha256: the hash of the encoder's `config`, `weights` and `tokenizer`.
        about: what the maker told of its training.
    """

    directory: Path
    head: Tagger
    features: FeatureSettings
    encoder: Path | None
    encoder_sha256: Mapping[str, str]
    about: Mapping[str, Any]


def save_tagger(
    directory: Path,
    head: Tagger,
    *,
    features: FeatureSettings,
    encoder: Path,
    inside: bool = False,
    trained: WriteWeights | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a tagger's folder, whole or not at all; one that is there is replaced.

    Args:
        head: the trained head; its weights are kept to the bit.
        features: what it was trained to read of the encoder.
        encoder: the checkpoint folder whose vectors it was trained on.
        inside: copy the encoder into the folder, which can then be moved anywhere. Otherwise its hash stands
            for it.
        trained: writes config.json and weights of an encoder that was trained with the head into a folder;
            they are put inside, with the tokenizer of `encoder`.
        about: what to tell of the training; JSON.

    Raises PathError or SpaceError; CheckpointError when `encoder` is no checkpoint; UsageError when a label
    cannot be part of a tag.
    """
    for label in head.settings.labels:
        if not LABEL.fullmatch(label):
            raise UsageError(
                f"{escaped(label)} cannot be the name of an entity type",
                name="E-NER-LABEL",
                why="a name has letters, digits, dots, hyphens and underscores, 64 at most",
            )
    tensors = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    with store.publish_directory(directory, manifest=True) as folder:
        own = encoder
        if inside or trained is not None:
            own = store.make_directory(folder / ENCODER)
            store.copy_files(encoder, own, encoder_files(encoder) if trained is None else TOKENIZER)
        if trained is not None:
            trained(own)
        config = {
            "schema": SCHEMA,
            "kind": KIND,
            "labels": list(head.settings.labels),
            "tags": list(head.tag_names),
            "head": asdict(head.settings),
            "features": asdict(features),
            "encoder": {"folder": None if own is encoder else ENCODER, "sha256": encoder_sha256(own)},
            "about": dict(about or {}),
        }
        store.write_json(folder / CONFIG, config)
        store.write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))


def load_tagger(directory: Path) -> SavedTagger:
    """Read a tagger's folder; the head is the saved one to the bit.

    Raises:
        PathError: there is no such folder. CheckpointError: it is no tagger, is damaged, has other labels,
        tensors or an encoder other than its config.json says. RefusedError: it holds a pickle, or names or
        links that lead out of it.
    """
    hashes = check_folder(directory)
    config = _read_config(directory)
    settings = _settings(directory, config, "head", TaggerSettings)
    features = _settings(directory, config, "features", FeatureSettings)
    _check_labels(directory, config, settings)
    if (features.layers == "mix") != bool(settings.mixed_layers):
        raise _wrong(directory, "its head and its features differ on whether layers are mixed")
    told = config["encoder"]["sha256"]
    encoder = directory / ENCODER if config["encoder"]["folder"] == ENCODER else None
    if encoder is not None:
        known = {
            name.removeprefix(f"{ENCODER}/"): one for name, one in hashes.items() if name.startswith(ENCODER)
        }
        check_encoder(directory, told, encoder, known=known)
    head = _loaded_head(directory / WEIGHTS, settings)
    return SavedTagger(directory, head, features, encoder, told, config["about"])


def check_encoder(
    directory: Path, told: Mapping[str, str], encoder: Path, *, known: Mapping[str, str] | None = None
) -> None:
    """Raises CheckpointError E-TAGGER-ENCODER unless `encoder` is the one the tagger was trained with."""
    found = encoder_sha256(encoder, known)
    differing = [part for part in ("weights", "tokenizer", "config") if found[part] != told.get(part)]
    if differing:
        part = differing[0]
        raise CheckpointError(
            f"{encoder} has other {' and '.join(differing)} than the encoder of {directory}",
            name="E-TAGGER-ENCODER",
            why=f"sha256 of its {part}: {found[part][:12]}, expected {str(told.get(part))[:12]}",
            next="give the checkpoint folder that the tagger was trained with: --encoder FOLDER",
        )


def _wrong(directory: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{directory} is not a sound tagger",
        name="E-TAGGER",
        why=escaped(why, limit=200),
        next="give a folder that extend ner-eval or extend ner-tag --pack wrote",
    )


def _read_config(directory: Path) -> dict[str, Any]:
    config = store.read_json(directory / CONFIG)
    if not isinstance(config, dict) or config.get("kind") != KIND:
        raise _wrong(directory, f"{CONFIG} is not that of a tagger")
    if not isinstance(config.get("schema"), int) or config["schema"] > SCHEMA:
        why = f"its schema is {config.get('schema')}, this extend knows {SCHEMA}"
        raise _wrong(directory, f"{why}: it was made by a newer extend")
    encoder = config.get("encoder")
    told = encoder.get("sha256") if isinstance(encoder, dict) else None
    if not isinstance(encoder, dict) or not isinstance(told, dict):
        raise _wrong(directory, "encoder.sha256 is missing")
    if any(not _HASH.fullmatch(str(told.get(part))) for part in ("config", "weights", "tokenizer")):
        raise _wrong(directory, "encoder.sha256 lacks the hash of config, weights or tokenizer")
    if encoder.get("folder") not in (None, ENCODER):
        raise RefusedError(
            f"{directory / CONFIG} names the encoder's folder {escaped(str(encoder['folder']))}",
            name="E-UNSAFE-NAME",
            why=f"an encoder is in the folder {ENCODER}, or given by whoever tags",
        )
    if not isinstance(config.get("about"), dict):
        config["about"] = {}
    return config


def _settings(directory: Path, config: Mapping[str, Any], key: str, kind: type[SettingsT]) -> SettingsT:
    given = config.get(key)
    if not isinstance(given, dict):
        raise _wrong(directory, f"{key} is missing")
    if strange := sorted(given.keys() - {one.name for one in fields(kind)}):
        raise _wrong(directory, f"{key}.{strange[0]} is not known")
    try:
        read = TypeAdapter(kind).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise _wrong(directory, f"{key}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    for name, (least, most) in _RANGES.items():
        value = getattr(read, name, None)
        if isinstance(value, int) and not least <= value <= most:
            raise _wrong(directory, f"{key}.{name} is not between {least} and {most}")
    return read


def _check_labels(directory: Path, config: Mapping[str, Any], settings: TaggerSettings) -> None:
    odd = [label for label in settings.labels if not LABEL.fullmatch(label)]
    if odd or len(settings.labels) > _MOST_LABELS:
        raise _wrong(directory, f"not a label: {odd[0]}" if odd else "too many labels")
    for name, expected in (("labels", settings.labels), ("tags", settings.tag_names)):
        found = config.get(name)
        if not isinstance(found, list) or found != list(expected):
            shown = ", ".join(map(str, found)) if isinstance(found, list) else "nothing"
            raise CheckpointError(
                f"{directory} has other {name} than its head",
                name="E-TAGGER-LABELS",
                why=f"{CONFIG} lists {escaped(shown)}; its head has {escaped(', '.join(expected))}",
                next="take config.json and model.safetensors of one and the same tagger",
            )


def _loaded_head(path: Path, settings: TaggerSettings) -> Tagger:
    shapes = _shapes(path)
    inputs = settings.features if settings.head == "linear" else 2 * settings.hidden_size
    layers = 0 if settings.head == "linear" else settings.layers
    expected: dict[str, tuple[int, ...]] = {"linear.weight": (len(settings.tag_names), inputs)}
    if layers:
        expected["lstm.0.weight_ih_l0"] = (4 * settings.hidden_size, settings.features)
        expected[f"lstm.{layers - 1}.weight_hh_l0"] = (4 * settings.hidden_size, settings.hidden_size)
    if settings.mixed_layers:
        expected["mix.weights"] = (settings.mixed_layers,)
    _compare(path, expected, {name: shapes[name] for name in expected if name in shapes})
    with torch.random.fork_rng(devices=[]):
        head = Tagger(settings)
    _compare(path, {name: tuple(value.shape) for name, value in head.state_dict().items()}, shapes)
    tensors: dict[str, Tensor] = load_file(path)
    for name, value in tensors.items():
        if value.dtype != head.state_dict()[name].dtype or not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {name} holds no finite numbers of its type", name="E-NONFINITE")
    head.load_state_dict(tensors)
    return head.eval()


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not sound", name="E-WEIGHTS", why=escaped(str(error), limit=200)
        ) from error


def _compare(
    path: Path, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if odd:
        name = odd[0]
        raise CheckpointError(
            f"{path} does not hold the head that {CONFIG} describes",
            name="E-TENSORS",
            why=f"{escaped(name)}: found {found.get(name, 'none')}, expected {expected.get(name, 'none')}",
            next="take config.json and model.safetensors of one and the same tagger",
        )
