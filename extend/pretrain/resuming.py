"""Whether a checkpoint belongs to the run that wants it, and its weights put back.

A resumed run has the bits of an uninterrupted one only if nothing that they depend on has changed. So every
setting must be the same but those that touch no weight. That holds for `steps` too, upwards as well: warm-up
and decay are functions of it, so from the first step of a longer run the learning rate would have been
another, and no continuation is the run that the new settings describe. Fewer steps than are done already ask
for nothing: such a run is complete.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from extend.errors import CheckpointError, escaped
from extend.pretrain.checkpoints import SavedState, versions

FREE = frozenset(
    {"eval_every", "keep", "log_every", "prefetch", "processes", "report_to", "save_every", "watchdog"}
)
"""Settings that no weight depends on."""


@dataclass(frozen=True)
class Resumption:
    """What a run that goes on must say (`warnings`, each a name and a text) and must keep.

    `data_changes` belongs into the state of every later checkpoint, so that a change of the data that was
    accepted once stays on record.
    """

    warnings: tuple[dict[str, str], ...] = ()
    data_changes: tuple[Mapping[str, Any], ...] = ()


def check_same(
    saved: SavedState,
    configuration: Mapping[str, Any],
    data: Mapping[str, str],
    *,
    accept_data_change: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> Resumption:
    """Whether `saved` can be gone on from with this configuration and this data (sha256 by file).

    A setting that the checkpoint's release did not know counts as its entry in `defaults`. A checkpoint
    without a fingerprint (schema 1) agrees with any data.

    Raises:
        CheckpointError: E-RUN-MISMATCH, with the first three settings that differ; E-DATA-CHANGED, with
            the files, unless the change is accepted.
    """
    different = differences({**(defaults or {}), **saved.configuration}, configuration)
    if already_complete(saved, configuration):
        different = [key for key in different if key != "steps"]
    if different:
        raise _other_settings(saved, configuration, different)
    changed = [
        name for name in sorted(saved.data.keys() | data.keys()) if saved.data.get(name) != data.get(name)
    ]
    if not saved.data:
        changed = []
    if changed and not accept_data_change:
        raise _other_data(saved, changed)
    return Resumption(tuple(_warnings(saved, changed)), _changes(saved, changed))


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the settings, but the free ones, that differ, compared as JSON has them."""
    then, now = json.loads(json.dumps(dict(then))), json.loads(json.dumps(dict(now)))
    return [
        key for key in sorted(then.keys() | now.keys()) if key not in FREE and then.get(key) != now.get(key)
    ]


def already_complete(saved: SavedState, configuration: Mapping[str, Any]) -> bool:
    """Whether all the steps that are asked for are done: nothing is to be trained, nor written."""
    steps = configuration.get("steps")
    return isinstance(steps, int) and saved.step >= steps


@torch.no_grad()
def put_back_(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy saved weights into the model's own parameters, ties and places in memory kept.

    Raises CheckpointError E-RUN-MISMATCH where names or shapes are not the model's.
    """
    parameters = dict(model.named_parameters())
    odd = parameters.keys() ^ weights.keys()
    odd |= {
        name for name in parameters.keys() & weights.keys() if parameters[name].shape != weights[name].shape
    }
    if odd:
        raise CheckpointError(
            f"a checkpoint does not fit the model: {', '.join(map(escaped, sorted(odd)[:5]))}",
            name="E-RUN-MISMATCH",
            done="nothing was changed",
            next="give another --run DIR",
        )
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])


def _other_settings(saved: SavedState, now: Mapping[str, Any], different: list[str]) -> CheckpointError:
    then = saved.configuration
    shown = "; ".join(f"{key}: {then.get(key)} then, {now.get(key)} now" for key in different[:3])
    if different == ["steps"]:
        shown += "; the learning rate of every step depends on it"
    return CheckpointError(
        f"{saved.directory} belongs to another configuration",
        name="E-RUN-MISMATCH",
        why=escaped(shown, limit=300),
        done="nothing was changed",
        next="give the old settings, or another --run DIR",
    )


def _other_data(saved: SavedState, changed: list[str]) -> CheckpointError:
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    return CheckpointError(
        f"{saved.directory} was trained on other data: {', '.join(map(escaped, changed[:5]))}{more}",
        name="E-DATA-CHANGED",
        done="nothing was changed",
        next="bring the old files back, give another --run DIR, or accept with --accept-data-change",
    )


def _changes(saved: SavedState, changed: list[str]) -> tuple[Mapping[str, Any], ...]:
    if not changed:
        return saved.data_changes
    return (*saved.data_changes, {"step": saved.step, "files": changed})


def _warnings(saved: SavedState, changed: list[str]) -> list[dict[str, str]]:
    found = [damaged.as_warning() for damaged in saved.damaged]
    now = versions()
    other = [name for name in now if saved.versions and saved.versions.get(name) != now[name]]
    if other:
        listed = ", ".join(
            f"{name} {escaped(str(saved.versions.get(name)))} then, {now[name]} now" for name in other
        )
        text = f"the checkpoint was made with {listed}: the last bits may differ from an uninterrupted run's"
        found.append({"name": "W-VERSIONS", "text": text})
    if changed:
        text = f"{len(changed)} files of the data are not those before step {saved.step}, as was accepted"
        found.append({"name": "W-DATA-CHANGED", "text": text})
    return found
