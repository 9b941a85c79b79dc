"""What an encoder takes beside embeddings, so that packed documents are encoded as if each stood alone.

Transformers builds masks from padding alone: BERT and its kin ignore restarted positions when they attend, so
that documents in one sample see each other. Here the mask is given whole, as numbers that are added to the
scores (0 inside a document, very negative elsewhere), which `sdpa` and `eager` read alike; a mask of truth
values would be right in `sdpa` only.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.errors import UsageError
from extend.masking import MaskedBatch

_PATHS = ("sdpa", "eager")


def attention_inputs(model: PreTrainedModel, batch: MaskedBatch) -> dict[str, Any]:
    """Keyword arguments of the encoder for a batch: those of attention_mask, token_type_ids, position_ids.

    Full blocks need none. Padded samples have a mask of shape (batch, seq). Packed samples have positions
    that start anew in each document, and an additive mask of shape (batch, 1, seq, seq) in the model's type;
    where some layers see a window only, a dictionary of one such mask for each kind of layer.

    Raises UsageError E-PACKING for a model that cannot take packed samples: DeBERTa, whose embeddings want a
    mask of padding, and attention that is neither `sdpa` nor `eager`.
    """
    given: dict[str, Any] = {"token_type_ids": batch.segments, "attention_mask": batch.attention_mask}
    if batch.documents is not None:
        given |= packed_inputs(model, batch.documents)
    return {name: value for name, value in given.items() if value is not None}


def packed_inputs(model: PreTrainedModel, documents: Int[Tensor, "batch seq"]) -> dict[str, Any]:
    """`attention_inputs` of packed samples, from each token's document (-1: padding)."""
    _refuse(model)
    positions = restarted_positions(documents)
    if architecture_of(model).positions_skip_padding:
        pad = model.config.pad_token_id
        positions = torch.where(documents < 0, pad, positions + pad + 1)
    same = documents.unsqueeze(2) == documents.unsqueeze(1)
    dtype, window = model.dtype, _window(model)
    mask: Any = _additive(same, dtype)
    if window is not None and documents.shape[1] > window + 1:
        place = torch.arange(documents.shape[1], device=documents.device)
        near = (place.unsqueeze(0) - place.unsqueeze(1)).abs() <= window
        mask = {"full_attention": mask, "sliding_attention": _additive(same & near, dtype)}
    return {"attention_mask": mask, "position_ids": positions}


def restarted_positions(documents: Int[Tensor, "batch seq"]) -> Int[Tensor, "batch seq"]:
    """Positions that count from 0 in each document; 0 on padding. Documents lie one after the other."""
    place = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    first = torch.where(begins, place, 0).cummax(dim=1).values
    return torch.where(documents < 0, 0, place - first)


def _additive(allowed: Bool[Tensor, "batch seq seq"], dtype: torch.dtype) -> Float[Tensor, "batch 1 seq seq"]:
    """0 where attention is allowed, else the least number that neither `dtype` nor bfloat16 takes for -inf.

    Every token may attend to itself, padding to padding: no row is empty, none becomes NaN.
    """
    least = max(torch.finfo(dtype).min, torch.finfo(torch.bfloat16).min)
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, least).unsqueeze(1)


def _window(model: PreTrainedModel) -> int | None:
    """How far a token sees to each side in the layers that do not see everything; None without such."""
    kinds = getattr(model.config, "layer_types", None) or ()
    return int(model.config.sliding_window) if "sliding_attention" in kinds else None


def _refuse(model: PreTrainedModel) -> None:
    path = model.config._attn_implementation
    why = ""
    if model.config.model_type.startswith("deberta"):
        why = "DeBERTa's embeddings take a mask of padding, and no mask of documents beside it"
    elif path not in _PATHS:
        why = f"attention {path} takes no additive mask; {' and '.join(_PATHS)} do"
    if why:
        raise UsageError(
            f"a {type(model).__name__} cannot be trained on packed documents",
            name="E-PACKING",
            why=why,
            next="set pretrain.packing = 'blocks'",
        )
