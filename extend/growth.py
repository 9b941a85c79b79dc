"""Grow a model in place: new rows in the tied embedding and decoder, new entries in the decoder bias.

What the base did stays as it was: old rows and biases keep their bits, the tie keeps holding.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from extend.architectures import Architecture, architecture_of
from extend.errors import CheckpointError, UsageError


def grow_(
    model: PreTrainedModel,
    rows: Float[Tensor, "added hidden"],
    bias: Float[Tensor, " added"],
    *,
    first_id: int | None = None,
) -> None:
    """Append `rows` to the embedding (and so to the tied decoder) and `bias` to the decoder bias.

    `first_id` is the id of the first new row, by default the number of rows the model has. It is given for
    a base whose embedding was padded beyond its tokenizer: padding rows, which no id reaches, give way.
    Build optimizers afterwards: the parameters get new storage. `requires_grad` stays as it was.

    Raises UsageError for a model that cannot be extended or is not tied, CheckpointError for values that
    are not finite or an embedding with fewer rows than `first_id`, ValueError for shapes that do not fit.
    """
    architecture = architecture_of(model)
    old = architecture.embedding(model).shape[0]
    first = old if first_id is None else first_id
    _check_tied(architecture, model)
    _check_shapes(architecture.embedding(model), rows, bias)
    _check_finite(rows, "row")
    _check_finite(bias[:, None], "bias")
    if first > old:
        raise CheckpointError(
            f"the base has {old} embedding rows, its tokenizer {first} pieces", name="E-VOCABULARY-SIZE"
        )
    trained = (architecture.embedding(model).requires_grad, architecture.bias(model).requires_grad)
    # mean_resizing would spend minutes on values that are overwritten below
    model.resize_token_embeddings(first + len(rows), mean_resizing=False)
    weight, decoder_bias = architecture.embedding(model), architecture.bias(model)
    with torch.no_grad():
        weight[first:] = rows.to(weight)
        decoder_bias[first:] = bias.to(decoder_bias)
    weight.requires_grad_(trained[0])
    decoder_bias.requires_grad_(trained[1])  # resizing gives the bias the weight's flag
    _check_tied(architecture, model)


def _check_tied(architecture: Architecture, model: PreTrainedModel) -> None:
    decoder = model.get_submodule(architecture.decoder)
    if decoder.weight is not architecture.embedding(model):
        raise UsageError(
            "the base does not tie its decoder to its input embedding",
            name="E-UNTIED",
            why="only tied models can be grown: one row serves as input and output",
        )


def _check_shapes(weight: Tensor, rows: Tensor, bias: Tensor) -> None:
    if rows.ndim != 2 or rows.shape[1] != weight.shape[1] or bias.shape != rows.shape[:1]:
        raise ValueError(
            f"expected rows (added, {weight.shape[1]}) and a bias (added,), "
            f"got {tuple(rows.shape)} and {tuple(bias.shape)}"
        )


def _check_finite(values: Float[Tensor, "added width"], kind: str) -> None:
    finite = torch.isfinite(values).all(dim=1)
    if not bool(finite.all()):
        raise CheckpointError(
            f"new {kind} {int((~finite).nonzero()[0])} holds a value that is not finite", name="E-NONFINITE"
        )
