"""Training state on disk: safetensors and JSON only, published whole, verified before it is used."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from extend import store
from extend.errors import CheckpointError

SCHEMA = 1
_PREFIX = "step-"


@dataclass(frozen=True)
class SavedState:
    """A checkpoint read back: `stage` it was made in, weights and moments by parameter name."""

    step: int
    tokens: int
    seconds: float
    stage: str
    configuration: Mapping[str, Any]
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    directory: Path


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

    `state` holds step, tokens, seconds, stage and configuration. The folder holds model.safetensors (each
    tied weight once), optimizer.safetensors (both AdamW moments), state.json and MANIFEST.json.
    """
    target = directory / f"{_PREFIX}{state['step']:08d}"
    with store.publish_directory(target, manifest=True) as folder:
        save_file(_cpu(dict(model.named_parameters())), folder / "model.safetensors")
        save_file(_cpu(_moments(optimizer, trained)), folder / "optimizer.safetensors")
        store.write_json(folder / "state.json", {"schema": SCHEMA, **state})
    published = _published(directory)
    store.remove_directories(published[: max(0, len(published) - keep)])
    return target


def latest_checkpoint(directory: Path) -> SavedState | None:
    """The newest checkpoint whose every byte agrees with its manifest; damaged ones become `*.bad`.

    None when there is none at all. Raises CheckpointError when there are some and all are damaged, or
    when a newer release of extend wrote the newest.
    """
    published = _published(directory)
    for folder in reversed(published):
        if store.verify(folder):
            store.set_aside(folder)
            continue
        return _read(folder)
    if published:
        raise CheckpointError(
            f"every checkpoint in {directory} is damaged",
            name="E-CKPT-BAD",
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
    """Give a fresh AdamW the moments it had after `step` updates."""
    for name, parameter in trained.items():
        if f"{name}.exp_avg" not in saved:
            continue
        optimizer.state[parameter] = {
            "step": torch.tensor(float(step)),
            "exp_avg": saved[f"{name}.exp_avg"].to(parameter.device),
            "exp_avg_sq": saved[f"{name}.exp_avg_sq"].to(parameter.device),
        }


def _moments(optimizer: torch.optim.AdamW, trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    return {
        f"{name}.{moment}": optimizer.state[parameter][moment]
        for name, parameter in trained.items()
        for moment in ("exp_avg", "exp_avg_sq")
        if parameter in optimizer.state
    }


def _cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _published(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(
        path for path in directory.iterdir() if path.name.startswith(_PREFIX) and path.suffix != ".bad"
    )


def _read(folder: Path) -> SavedState:
    state = store.read_json(folder / "state.json")
    if state["schema"] > SCHEMA:
        raise CheckpointError(
            f"{folder} was made by a newer release of extend (schema {state['schema']})",
            name="E-CKPT-SCHEMA",
            next="update extend",
        )
    return SavedState(
        step=state["step"],
        tokens=state["tokens"],
        seconds=state["seconds"],
        stage=state["stage"],
        configuration=state["configuration"],
        weights=load_file(folder / "model.safetensors"),
        moments=load_file(folder / "optimizer.safetensors"),
        directory=folder,
    )
