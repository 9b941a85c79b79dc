"""Loss on text that training never sees, under masks that never change."""

import math

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.blocks import Ids, Stream, in_order
from extend.masking import MaskingRule, mask_batch
from extend.pretrain.watching import BlockLosses, Sums
from extend.types import SpecialIds

HELD_OUT_SEED = 20_200_101
HELD_OUT_BLOCKS = 512
_ROWS = 512
"""Predictions that have logits at one time: 512 of 150,000 pieces are 300 MB."""


def held_out_loss(
    model: PreTrainedModel,
    stream: Stream,
    *,
    length: int,
    special: SpecialIds,
    rule: MaskingRule,
    batch_size: int = 32,
    dtype: torch.dtype | None = None,
) -> float:
    """Mean MLM loss in nats a masked token over at most 512 whole blocks; NaN when there is no block.

    The masks depend on the block's number alone, so that two models over one vocabulary are compared on
    the same predictions.
    """
    losses, _ = held_out_losses(
        model,
        stream,
        length=length,
        special=special,
        rule=rule,
        batch_size=batch_size,
        dtype=dtype,
    )
    measured = losses.measured()
    return measured.loss if measured else math.nan


def held_out_losses(
    model: PreTrainedModel,
    stream: Stream,
    *,
    length: int,
    special: SpecialIds,
    rule: MaskingRule,
    old_pieces: int | None = None,
    batch_size: int = 32,
    dtype: torch.dtype | None = None,
) -> tuple[BlockLosses, BlockLosses]:
    """MLM loss by block over at most 512 whole blocks: of all predictions, and of those of old pieces.

    With `old_pieces`, the ids below it are old: only they replace tokens at random, and the second result
    leaves out the predictions of newer ones, so that a model before and after its training is asked for the
    same pieces that it always knew. Without, all pieces are old.
    """
    blocks = list(in_order(stream, length=length, most=HELD_OUT_BLOCKS, special=special))
    pieces = np.arange(special.vocab_size if old_pieces is None else old_pieces)
    replacements = np.setdiff1d(pieces, np.fromiter(special.unmaskable, dtype=np.int64))
    sums, counts = np.zeros((2, len(blocks))), np.zeros((2, len(blocks)), dtype=np.int64)
    training = model.training
    model.eval()
    for begin in range(0, len(blocks), batch_size):
        part = blocks[begin : begin + batch_size]
        ids, starts = (np.stack(column) for column in zip(*part, strict=True))
        numbers = np.arange(begin, begin + len(part))
        masked, positions = mask_batch(
            ids,
            starts,
            numbers,
            rule=rule,
            special=special,
            seed=HELD_OUT_SEED,
            replacements=replacements,
        )
        targets = ids.reshape(-1)[positions]
        losses = _losses_at(model, masked, positions, targets, dtype)
        places = begin + positions // length
        for kind, counted in enumerate((targets >= 0, targets < len(pieces))):
            np.add.at(sums[kind], places[counted], losses[counted])
            np.add.at(counts[kind], places[counted], 1)
    model.train(training)
    return BlockLosses(sums[0], counts[0]), BlockLosses(sums[1], counts[1])


@torch.no_grad()
def _losses_at(
    model: PreTrainedModel, ids: Ids, positions: Ids, targets: Ids, dtype: torch.dtype | None
) -> Sums:
    """The cross-entropy of each prediction, by transformers' own modules; logits for a few rows at a time."""
    architecture = architecture_of(model)
    embedding, output = architecture.embedding(model), architecture.output(model)
    bias, device = architecture.bias(model), embedding.device
    places, wanted = (torch.from_numpy(array.astype(np.int64)).to(device) for array in (positions, targets))
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        embedded = nn.functional.embedding(torch.from_numpy(ids.astype(np.int64)).to(device), embedding)
        hidden = architecture.encode(model, embedded).flatten(0, 1)
        losses = [
            nn.functional.cross_entropy(
                nn.functional.linear(architecture.prepare(model, hidden[rows]), output, bias).float(),
                labels,
                reduction="none",
            )
            for rows, labels in zip(places.split(_ROWS), wanted.split(_ROWS), strict=True)
        ]
    together: Sums = torch.cat(losses).double().cpu().numpy() if losses else np.zeros(0)
    return together
