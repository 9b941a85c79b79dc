"""Training state on disk: safetensors and JSON only, published whole, verified before it is used.

A checkpoint is a folder `step-00000400` of model.safetensors (each tied weight once), optimizer.safetensors
(both moments of AdamW), state.json and MANIFEST.json. Everything the manifest says is checked against
something else: sizes and sha256 against the files, the rest against state.json, so no byte of a checkpoint
can change unnoticed.
"""

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from extend import store
from extend.errors import CheckpointError, RefusedError, escaped
from extend.tensors import safetensors_chunks, safetensors_size

SCHEMA = 2
WEIGHTS, MOMENTS, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_FOLDER = re.compile(r"step-(\d{8,18})")
_SPARE = 1.2
"""Free space wanted for a save, in sizes of what is saved."""
_LARGEST_STATE = 1 << 28


@dataclass(frozen=True)
class Damaged:
    """A checkpoint that was found damaged: where it was set aside, and which of its files were."""

    folder: Path
    files: tuple[str, ...]

    def as_warning(self) -> dict[str, str]:
        """What a command says of it."""
        named = ", ".join(escaped(name) for name in self.files[:3])
        return {"name": "W-CKPT-BAD", "text": f"a checkpoint was damaged ({named}): kept as {self.folder}"}


@dataclass(frozen=True)
class SavedState:
    """A checkpoint read back: `stage` it was made in, weights and moments by parameter name.

    `data` says what it was trained on (sha256 by file), `data_changes` which changes of that were accepted,
    `versions` by what it was made, `state` is all of state.json, and `damaged` are the newer checkpoints
    that could not be used. The tensors are mapped from the files: copy what is kept.
    """

    step: int
    tokens: int
    seconds: float
    stage: str
    configuration: Mapping[str, Any]
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    directory: Path
    data: Mapping[str, str] = field(default_factory=dict)
    data_changes: tuple[Mapping[str, Any], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    damaged: tuple[Damaged, ...] = ()


def save_checkpoint(
    directory: Path,
    *,
    state: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    trained: Mapping[str, nn.Parameter],
    keep: int,
) -> Path:
    """Publish the state after `state["step"]` steps, then prune all but the newest `keep`.

    `state` holds step, tokens, seconds, stage and configuration, where there are any data (sha256 by file)
    and data_changes, and whatever else the loop wants back. Checkpoints of later steps, which only a run
    that was taken back has, go with the old ones. Nothing is deleted before the new folder stands.

    Raises SpaceError, before anything is written, where less than 1.2 times its size is free.
    """
    target = directory / f"step-{state['step']:08d}"
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    moments = _moments(optimizer, trained)
    kept = {"versions": versions(), **state, "schema": SCHEMA}
    store.make_directory(directory)
    store.require_space(directory, int(_SPARE * (safetensors_size(weights) + safetensors_size(moments))))
    with store.publish_checked(target, facts=_facts(kept)) as folder:
        folder.write(WEIGHTS, safetensors_chunks(weights))
        folder.write(MOMENTS, safetensors_chunks(moments))
        folder.write_json(STATE, kept)
    _prune(directory, int(state["step"]), keep=max(1, keep))
    return target


def latest_checkpoint(directory: Path) -> SavedState | None:
    """The newest checkpoint whose every byte agrees with its manifest; damaged ones become `*.bad`.

    None when there is none at all. Raises CheckpointError when there were some and all are damaged, when a
    newer release of extend wrote the newest, or when its content is not what the format allows, and
    RefusedError for links and for names that lead out of the folder. Nothing is ever unpickled.
    """
    damaged: list[Damaged] = []
    for folder in reversed(_published(directory)):
        _refuse_unsafe(folder)
        if odd := _differences(folder):
            damaged.append(Damaged(store.set_aside(folder), tuple(odd)))
            continue
        return replace(_read(folder), damaged=tuple(damaged))
    if damaged or (directory.is_dir() and any(directory.glob("step-*.bad"))):
        raise CheckpointError(
            f"every checkpoint in {directory} is damaged",
            name="E-CKPT-BAD",
            why="; ".join(finding.as_warning()["text"] for finding in damaged[:2]),
            done="they were renamed to *.bad",
            next=f"restore one from a copy, or delete {directory} to start again",
        )
    return None


def restore_moments_(
    optimizer: torch.optim.AdamW,
    trained: Mapping[str, nn.Parameter],
    saved: Mapping[str, Tensor],
    *,
    step: int,
) -> None:
    """Give a fresh AdamW the moments it had after `step` updates; they are copied.

    A fused optimizer counts its steps on the parameters' device, another one on the CPU.
    """
    fused = bool(optimizer.defaults.get("fused") or optimizer.defaults.get("capturable"))
    for name, parameter in trained.items():
        if f"{name}.exp_avg" not in saved:
            continue
        optimizer.state[parameter] = {
            "step": torch.tensor(float(step), device=parameter.device if fused else "cpu"),
            "exp_avg": saved[f"{name}.exp_avg"].to(parameter.device, copy=True),
            "exp_avg_sq": saved[f"{name}.exp_avg_sq"].to(parameter.device, copy=True),
        }


def versions() -> dict[str, str]:
    """What the bits of a run depend on beside its configuration and data."""
    return {
        "extend": version("extend"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }


def _moments(optimizer: torch.optim.AdamW, trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    return {
        f"{name}.{moment}": optimizer.state[parameter][moment].detach()
        for name, parameter in trained.items()
        for moment in ("exp_avg", "exp_avg_sq")
        if parameter in optimizer.state
    }


def _facts(state: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says beside its files: all of it follows from state.json."""
    return {
        "schema": state["schema"],
        "configuration": _sha256(state["configuration"]),
        "data": _sha256(state.get("data", {})),
        "versions": dict(state["versions"]),
    }


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()


def _published(directory: Path) -> list[Path]:
    """The folders of checkpoints, the oldest first."""
    if not directory.is_dir():
        return []
    found = [path for path in directory.iterdir() if _FOLDER.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.partition("-")[2]))


def _prune(directory: Path, step: int, *, keep: int) -> None:
    published = _published(directory)
    upto = [path for path in published if int(path.name.partition("-")[2]) <= step]
    store.remove_directories([*upto[: max(0, len(upto) - keep)], *published[len(upto) :]])


def _refuse_unsafe(folder: Path) -> None:
    """Raises RefusedError where a checkpoint would lead to a file outside its folder."""
    manifest = {} if folder.is_symlink() else store.read_manifest(folder) or {}
    outside = [name for name in manifest.get("files", ()) if name.startswith("/") or ".." in name.split("/")]
    links = [folder, *folder.iterdir()] if folder.is_dir() else [folder]
    odd = [*outside, *(path.name for path in links if path.is_symlink())]
    if odd:
        raise RefusedError(
            f"checkpoint {folder} leads out of its folder: {escaped(odd[0])}",
            name="E-CKPT-UNSAFE",
            done="nothing was read",
            next=f"remove {folder} if you did not make it",
        )


def _differences(folder: Path) -> list[str]:
    """Names of files that are not as they were written; none means sound."""
    if odd := store.verify(folder):
        return odd
    manifest, state = store.read_manifest(folder), _state(folder)
    if manifest is None:
        return [store.MANIFEST]
    expected = _facts(state) if state["schema"] == SCHEMA else {"schema": state["schema"]}
    facts = {key: value for key, value in manifest.items() if key != "files"}
    return [] if facts == expected else [store.MANIFEST]


def _state(folder: Path) -> dict[str, Any]:
    """state.json of a folder that agrees with its manifest."""
    path = folder / STATE
    if not path.is_file() or path.stat().st_size > _LARGEST_STATE:
        raise _misshapen(folder, f"{STATE} is missing, or too large to be one")
    state = store.read_json(path)
    if not isinstance(state, dict) or not isinstance(state.get("schema"), int):
        raise _misshapen(folder, f"{STATE} has no schema")
    if state["schema"] > SCHEMA:
        raise CheckpointError(
            f"{folder} was made by a newer release of extend (schema {state['schema']})",
            name="E-CKPT-SCHEMA",
            next="update extend",
        )
    for key, kind in {"step": int, "tokens": int, "stage": str, "configuration": dict}.items():
        if not isinstance(state.get(key), kind):
            raise _misshapen(folder, f"{STATE} has no {key}")
    for key in ("data", "versions") if state["schema"] == SCHEMA else ():
        if not isinstance(state.get(key, {}), dict):
            raise _misshapen(folder, f"{STATE}: {key} is no table")
    return state


def _read(folder: Path) -> SavedState:
    state = _state(folder)
    return SavedState(
        step=state["step"],
        tokens=state["tokens"],
        seconds=float(state.get("seconds", 0.0)),
        stage=state["stage"],
        configuration=state["configuration"],
        weights=_tensors(folder, WEIGHTS),
        moments=_tensors(folder, MOMENTS),
        directory=folder,
        data=state.get("data", {}),
        data_changes=tuple(state.get("data_changes", ())),
        versions=state.get("versions", {}),
        state=state,
    )


def _tensors(folder: Path, name: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(folder / name)
    except (SafetensorError, OSError, ValueError) as error:
        raise _misshapen(folder, f"{name} is no safetensors file: {error}") from error
    return tensors


def _misshapen(folder: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{folder} is no checkpoint of extend, though its manifest agrees",
        name="E-CKPT-FORMAT",
        why=escaped(why, limit=200),
        done="nothing was changed",
        next=f"remove {folder} to use the one before it",
    )
