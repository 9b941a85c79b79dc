"""Attention for training in bfloat16 on a CPU: two products and a softmax, and dropout from cheap bits.

Torch's flash kernel for CPUs is made for float32; in bfloat16 its backward pass takes three times as long as
plain products do. What is computed is the same.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "extend_cpu"


@contextlib.contextmanager
def attention_for_cpu(model: PreTrainedModel) -> Iterator[None]:
    """Inside, a model that attends by `sdpa` attends by `plain_attention` where that is faster: on a CPU,
    under autocast to bfloat16."""
    config = model.config
    path = config._attn_implementation
    if path != "sdpa" or model.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        yield
        return
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = path


def plain_attention(
    module: nn.Module,
    query: Float[Tensor, "batch heads seq size"],
    key: Float[Tensor, "batch groups seq size"],
    value: Float[Tensor, "batch groups seq size"],
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Float[Tensor, "batch seq heads size"], None]:
    """As transformers' attention functions: masks of truth values, or numbers that are added."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    shares = scores.softmax(dim=-1).to(value.dtype)
    return (dropped(shares, dropout) @ value).transpose(1, 2).contiguous(), None


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
        mask = (words.view(torch.int16)[: values.numel()] < kept - 32768).view(values.shape)
        ctx.save_for_backward(mask)
        ctx.scale = 65536 / kept
        dropped: Tensor = values * mask * ctx.scale
        return dropped

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (mask,) = ctx.saved_tensors
        return gradient * mask * ctx.scale, None


ALL_ATTENTION_FUNCTIONS.register(NAME, plain_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
