"""Attention for training in bfloat16 on a CPU: two products and a softmax.

Torch's flash kernel for CPUs is made for float32; in bfloat16 its backward pass takes three times as long as
plain products do. What is computed is the same.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from extend.pretrain.objectives.cpu_dropout import dropped

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


ALL_ATTENTION_FUNCTIONS.register(NAME, plain_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
