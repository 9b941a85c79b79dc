"""Between the model before training and the one after: weights interpolated, nothing trained.

WiSE-FT (Wortsman et al. 2022, arXiv 2109.01903, equation 1): w = (1 - t) w_before + t w_after for every
weight. On the way from the one to the other what the old model could do is often lost late and what the new
one learned is gained early, so that some t in between has nearly all of both, at no cost when it is used.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.errors import CheckpointError, UsageError, escaped

_SAYS_NOTHING = {"transformers_version", "dtype", "torch_dtype", "_name_or_path", "architectures", "id2label"}
_ONLY_IN_TRAINING = ("dropout", "dropout_prob", "initializer_range", "gradient_checkpointing")


def check_share(t: float) -> None:
    """Raises UsageError for a `t` that is not between 0 and 1."""
    if not 0 <= t <= 1:
        raise UsageError(
            f"t is {t}, it goes from 0 (before training) to 1 (after)", name="E-USAGE", next="for example 0.7"
        )


def check_alike(before: PreTrainedModel, after: PreTrainedModel) -> None:
    """Raises CheckpointError E-BLEND, which says what differs, for models that are not stages of one."""
    kinds = [type(model).__name__ for model in (before, after)]
    if kinds[0] != kinds[1]:
        raise _unlike(f"one is a {kinds[0]}, the other a {kinds[1]}")
    mine, others = (dict(model.named_parameters()) for model in (before, after))
    if odd := sorted(mine.keys() ^ others.keys()):
        raise _unlike(f"only one of them has {escaped(odd[0])}")
    for name, parameter in mine.items():
        if parameter.shape != others[name].shape:
            shapes = f"{tuple(parameter.shape)} before and {tuple(others[name].shape)} after"
            raise _unlike(f"{escaped(name)} has shape {shapes}")
    settings = [_settings(model) for model in (before, after)]
    for key in sorted(settings[0].keys() | settings[1].keys()):
        values = [escaped(str(setting.get(key))) for setting in settings]
        if values[0] != values[1]:
            raise _unlike(f"config.json says {escaped(key)} {values[0]} before and {values[1]} after")


@torch.no_grad()
def blend_(after: PreTrainedModel, before: PreTrainedModel, *, t: float, old: int | None = None) -> None:
    """Move the weights of `after` to (1 - t) before + t after, in place.

    With `old`, rows and biases of pieces from that id on stay as they are after training. A weight that is
    the same in both keeps its bits, and so do all at t = 0 (those of `before`) and t = 1 (those of `after`).
    Raises as `check_share` and `check_alike` do; nothing is changed then.
    """
    check_share(t)
    check_alike(before, after)
    tables = {id(table) for table in architecture_of(after).vocabulary_parameters(after).values()}
    theirs = dict(before.named_parameters())
    for name, parameter in after.named_parameters():
        part = slice(0, old) if old is not None and id(parameter) in tables else slice(None)
        parameter[part] = between(theirs[name][part], parameter[part], t)


def between(before: Float[Tensor, "*shape"], after: Float[Tensor, "*shape"], t: float) -> Tensor:
    """(1 - t) before + t after; what is equal, and the ends, bit for bit."""
    if t in (0.0, 1.0):
        return after if t else before
    return torch.where(before == after, after, before.lerp(after, t))


def _settings(model: PreTrainedModel) -> dict[str, Any]:
    said: dict[str, Any] = model.config.to_dict()
    return {
        key: value
        for key, value in said.items()
        if key not in _SAYS_NOTHING and not key.endswith(_ONLY_IN_TRAINING)
    }


def _unlike(why: str) -> CheckpointError:
    return CheckpointError(
        "these two checkpoints are not one model before and after training",
        name="E-BLEND",
        why=why,
        done="nothing was written",
        next="give the grown checkpoint of a run and what was trained from it",
    )
