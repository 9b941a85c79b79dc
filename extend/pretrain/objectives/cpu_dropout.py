"""Dropout for training on a CPU, from cheap bits: torch's own draws a number for every value."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@contextlib.contextmanager
def dropout_for_cpu(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the dropout modules of a model that trains on a CPU, not compiled, drop by `dropped`."""
    here = model.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    modules = [module for module in model.modules() if here and _drops(module)]
    for module in modules:
        module.__dict__["forward"] = functools.partial(dropped, rate=cast(nn.Dropout, module).p)
    try:
        yield
    finally:
        for module in modules:
            del module.__dict__["forward"]


def _drops(module: nn.Module) -> bool:
    return type(module) is nn.Dropout and module.training and 0 < module.p < 1


def dropped(values: Tensor, rate: float) -> Tensor:
    """Dropout with 16 random bits for each value: the rate is met to 1 in 131,072."""
    kept = 65536 - round(rate * 65536)
    if kept == 65536:
        return values
    return cast(Tensor, _Dropped.apply(values, kept))


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, kept: int) -> Tensor:
        words = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        drawn = words.view(torch.int16)[: values.numel()].view(values.shape)
        mask = torch.lt(drawn, kept - 32768, out=torch.empty_like(values))  # of a type that multiplies fast
        ctx.save_for_backward(mask)
        ctx.scale = 65536 / kept
        return (values * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (mask,) = ctx.saved_tensors
        return (gradient * mask).mul_(ctx.scale), None
