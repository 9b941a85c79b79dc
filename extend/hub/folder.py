"""What a checkpoint folder holds, looked at before any of it is used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from extend.errors import CheckpointError, RefusedError, UsageError, escaped
from extend.store import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
ATTENTION = frozenset({"eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"})
FLOATING = frozenset({"F64", "F32", "F16", "BF16"})
MAX_CONFIG_BYTES = 16 << 20


def read_config(directory: Path) -> dict[str, Any]:
    """config.json, when nothing in it or in tokenizer_config.json asks for code from outside.

    Raises CheckpointError when it is missing or broken, RefusedError (E-REMOTE-CODE) for such a demand.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no config.json, so it is no checkpoint",
            name="E-NO-CHECKPOINT",
            next="give a folder with config.json, model.safetensors and a tokenizer, or a hub name",
        )
    config = _read_settings(path)
    refuse_remote_code(path, config)
    tokenizer = directory / "tokenizer_config.json"
    if tokenizer.is_file():
        refuse_remote_code(tokenizer, _read_settings(tokenizer))
    return config


def _read_settings(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_CONFIG_BYTES >> 20} MiB", name="E-JSON")
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path} does not hold a JSON object", name="E-JSON")
    return settings


def refuse_remote_code(path: Path, settings: Mapping[str, Any]) -> None:
    """Raise RefusedError when a configuration asks, at any depth, for its own code or an unknown kernel."""
    for key, value in settings.items():
        attention = "attn_implementation" in key and not key.endswith("autoset")
        asks = key in ("auto_map", "custom_pipelines", "trust_remote_code") and value
        if asks or (attention and value is not None and value not in ATTENTION):
            raise RefusedError(
                f"{path} asks for code that is not part of transformers ({escaped(key)})",
                name="E-REMOTE-CODE",
                why="code that comes with a checkpoint is never run",
                next="use a checkpoint of an architecture that transformers itself has",
            )
        if isinstance(value, dict):
            refuse_remote_code(path, value)


def tensor_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in the folder's safetensors, by name.

    Raises RefusedError (E-PICKLE) when the weights are pickles only, CheckpointError when they are missing,
    cut, not what their index says, or whole numbers: quantised ones mean nothing without their scales.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(directory):
        types: dict[str, str] = {}
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118
                    stored = file.get_slice(name)
                    shapes[name], types[name] = tuple(stored.get_shape()), str(stored.get_dtype())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is not sound", name="E-WEIGHTS", why=escaped(str(error), limit=200)
            ) from error
        _check_types(path, types)
    if (directory / INDEX).is_file() and not (directory / WEIGHTS).is_file():
        _check_index(directory, shapes)
    return shapes


def _check_types(path: Path, types: Mapping[str, str]) -> None:
    weights = {name: kind for name, kind in types.items() if name.endswith((".weight", ".bias"))}
    other = sorted(name for name, kind in weights.items() if kind not in FLOATING)
    if other:
        raise CheckpointError(
            f"{path} holds {len(other)} weights of type {escaped(weights[other[0]])}: {_first(other)}",
            name="E-WEIGHTS",
            why="weights are floating-point numbers of 16 bits or more",
            next="use a checkpoint that is not quantised",
        )


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a folder: one, or the shards of its index."""
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if (directory / INDEX).is_file():
        names = sorted({str(name) for name in _weight_map(directory).values()})
        for name in names:
            if "/" in name or "\\" in name or not name.endswith(".safetensors"):
                raise RefusedError(
                    f"{directory / INDEX} names the file {escaped(name)}", name="E-UNSAFE-NAME"
                )
        missing = [name for name in names if not (directory / name).is_file()]
        if missing:
            raise CheckpointError(f"{directory} lacks {_first(missing)}", name="E-WEIGHTS")
        return [directory / name for name in names]
    pickles = sorted(path.name for path in directory.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise pickled(str(directory), pickles[0])
    raise CheckpointError(f"{directory} has no {WEIGHTS}", name="E-WEIGHTS")


def pickled(place: str, example: str) -> RefusedError:
    """The refusal of a checkpoint whose weights exist only as a pickle."""
    return RefusedError(
        f"{place} has its weights only as a pickle ({escaped(example)})",
        name="E-PICKLE",
        why="reading a pickle can run any code it holds",
        next="convert the weights to model.safetensors on a machine you can lose",
    )


def _weight_map(directory: Path) -> Mapping[str, Any]:
    index = _read_settings(directory / INDEX)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{directory / INDEX} has no weight_map", name="E-WEIGHTS")
    return weight_map


def _check_index(directory: Path, shapes: Mapping[str, object]) -> None:
    absent = sorted(set(_weight_map(directory)) - set(shapes))
    if absent:
        raise missing_tensors(directory, absent)


def missing_tensors(directory: Path, names: list[str]) -> CheckpointError:
    """The refusal of a checkpoint that lacks weights its architecture has."""
    return CheckpointError(
        f"{directory} lacks {len(names)} tensors: {_first(names)}",
        name="E-TENSORS",
        why="weights that are not there would be random",
    )


def _first(names: list[str], count: int = 5) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(escaped(name) for name in names[:count]) + more


def unsupported(place: str, found: str, supported: str) -> UsageError:
    """The refusal of an architecture that cannot be extended, with those that can."""
    return UsageError(
        f"{place} holds {escaped(found)}, which cannot be extended",
        name="E-ARCHITECTURE",
        why=f"a masked-language-model head is needed; supported: {supported}",
        next="choose a --base with one of these architectures",
    )
