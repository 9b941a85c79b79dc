"""Checkpoints of a network so small that a save takes milliseconds."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from extend.pretrain.checkpoints import SavedState, latest_checkpoint, save_checkpoint

CONFIGURATION = {"steps": 24, "seed": 1, "learning_rate": 1e-3, "save_every": 4}
DATA = {"ka/ids.bin": "aa" * 32, "ka/starts.bin": "bb" * 32}


def trained_net(steps: int, seed: int = 1) -> tuple[nn.Module, torch.optim.AdamW]:
    """A net and its optimizer after some steps; the same bits every time."""
    torch.manual_seed(seed)
    net = nn.Linear(40, 3)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        torch.sin(net(torch.full((1, 40), float(step + 1)))).sum().backward()
        optimizer.step()
    return net, optimizer


_NETS = {step: trained_net(step) for step in (4, 8, 12)}


def save(directory: Path, step: int, *, keep: int = 3, **more: Any) -> Path:
    """The checkpoint after `step` steps (4, 8 or 12)."""
    net, optimizer = _NETS[step]
    state = {
        "step": step,
        "tokens": 10 * step,
        "seconds": 0.5,
        "stage": "all",
        "configuration": CONFIGURATION,
        "data": DATA,
        **more,
    }
    trained = dict(net.named_parameters())
    return save_checkpoint(directory, state=state, model=net, optimizer=optimizer, trained=trained, keep=keep)


def is_whole(saved: SavedState | None, step: int) -> bool:
    """Whether `saved` is the state after `step` steps, to the last bit."""
    if saved is None or (saved.step, saved.tokens) != (step, 10 * step):
        return False
    net, optimizer = _NETS[step]
    weights = {name: parameter.detach() for name, parameter in net.named_parameters()}
    moments = {
        f"{name}.{moment}": optimizer.state[parameter][moment]
        for name, parameter in net.named_parameters()
        for moment in ("exp_avg", "exp_avg_sq")
    }
    return all(
        ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
        for ours, theirs in ((weights, saved.weights), (moments, saved.moments))
    )


def loaded_step(directory: Path) -> int | None:
    """The step of the newest sound checkpoint, after looking at every bit of it; None where there is none."""
    saved = latest_checkpoint(directory)
    if saved is None:
        return None
    assert is_whole(saved, saved.step), saved.directory
    return saved.step


def fresh_net() -> nn.Module:
    """A net of the same shape with other weights."""
    return copy.deepcopy(trained_net(0, seed=2)[0])
