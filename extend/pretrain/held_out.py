"""Loss on text that training never sees, under masks that never change."""

import math

import numpy as np
import torch
from transformers import PreTrainedModel

from extend.blocks import Stream, in_order
from extend.masking import MaskingRule, as_batch, mask_batch
from extend.pretrain.objectives import AllWeights
from extend.types import SpecialIds

HELD_OUT_SEED = 20_200_101


@torch.no_grad()
def held_out_loss(
    model: PreTrainedModel,
    stream: Stream,
    *,
    length: int,
    special: SpecialIds,
    rule: MaskingRule,
    batch_size: int = 32,
    most: int = 512,
    dtype: torch.dtype | None = None,
) -> float:
    """Mean MLM loss in nats a masked token over at most `most` whole blocks; NaN when there is no block.

    The masks depend on the block's number alone, so that two models over one vocabulary are compared on
    the same predictions.
    """
    blocks = list(in_order(stream, length=length, most=most, special=special))
    flags = [parameter.requires_grad for parameter in model.parameters()]
    objective, training, device = AllWeights(model), model.training, next(model.parameters()).device
    model.eval()
    total, predictions = 0.0, 0
    for begin in range(0, len(blocks), batch_size):
        part = blocks[begin : begin + batch_size]
        ids, starts = (np.stack(column) for column in zip(*part, strict=True))
        numbers = np.arange(begin, begin + len(part))
        masked, positions = mask_batch(ids, starts, numbers, rule=rule, special=special, seed=HELD_OUT_SEED)
        batch = as_batch(ids, masked, positions).to(device)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            loss = objective(batch).mlm
        total += float(loss) * len(batch.targets)
        predictions += len(batch.targets)
    model.train(training)
    for parameter, flag in zip(model.parameters(), flags, strict=True):
        parameter.requires_grad_(flag)
    return total / predictions if predictions else math.nan
