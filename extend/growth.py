"""Grow a model in place: a new entry for every added piece wherever the model keeps one a piece.

What the base did stays as it was: old rows and biases keep their bits, a tie keeps holding. Rows are only
ever appended, so that row i stays the row of piece i; `extension_of` asserts that the pieces do the same.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from extend.architectures import Architecture, architecture_of
from extend.errors import CheckpointError, UsageError, escaped
from extend.types import SpecialIds, Vocabulary, VocabularyExtension

_COPIED_BYTES = 1 << 26


def _nothing() -> None: ...


def grow_(
    model: PreTrainedModel,
    rows: Float[Tensor, "added width"],
    bias: Float[Tensor, " added"],
    *,
    output_rows: Float[Tensor, "added width"] | None = None,
    first_id: int | None = None,
    release: Callable[[], object] = _nothing,
) -> None:
    """Append `rows` to the embedding, and so to a tied decoder, and `bias` to the decoder bias.

    A decoder that is not tied gets `output_rows`, by default `rows` too. `first_id` is the id of the first
    new row, by default the number of rows the model has. It is given for a base whose embedding was padded
    beyond its tokenizer: padding rows, which no id reaches, give way. Build optimizers afterwards: the
    parameters stay the same objects but get new storage, and gradients are dropped. `release` is called
    after every 64 MiB of old entries that were copied, for whoever mapped them to let their pages go: so a
    large embedding is never in memory twice.

    Raises UsageError for a model that cannot be extended, whose decoder differs from the embedding it should
    be tied to (E-UNTIED), or that adds no bias when `bias` is not zero (E-BIAS); CheckpointError for values
    that are not finite or an embedding with fewer rows than `first_id`; ValueError for shapes that do not
    fit and for output rows of a tied model. The model is changed only when nothing is raised.
    """
    architecture = architecture_of(model)
    parameters = architecture.vocabulary_parameters(model)
    old = parameters["embedding"].shape[0]
    first = old if first_id is None else first_id
    _check_tie(model, tied="output" not in parameters)
    if output_rows is not None and "output" not in parameters:
        raise ValueError("a tied model has one row for input and output: it takes no output rows")
    output = rows if output_rows is None else output_rows
    _check_shapes(parameters["embedding"], rows, bias)
    _check_shapes(parameters.get("output", parameters["embedding"]), output, bias)
    for values, kind in ((rows, "row"), (output, "output row"), (bias[:, None], "bias")):
        _check_finite(values, kind)
    if not architecture.has_bias(model) and bool(bias.any()):
        raise UsageError(
            f"a {type(model).__name__} without a decoder bias cannot take one for its new pieces",
            name="E-BIAS",
            next="start new biases at zero",
        )
    if first > old:
        raise CheckpointError(
            f"the base has {old} embedding rows, its tokenizer {first} pieces", name="E-VOCABULARY-SIZE"
        )
    new = {"embedding": rows, "output": output, "bias": bias, "twin": bias}
    for name, parameter in parameters.items():
        _append_(parameter, new[name], first=first, release=release)
    _tell_size_(architecture, model, first + len(rows))


def _append_(
    parameter: torch.nn.Parameter, values: Tensor, *, first: int, release: Callable[[], object]
) -> None:
    """New storage under the same parameter: every name and tie of it, and `requires_grad`, stay."""
    old = parameter.data
    grown = old.new_empty(first + len(values), *old.shape[1:])
    step = max(1, _COPIED_BYTES // max(1, old[:1].nbytes))
    for begin in range(0, first, step):
        part = slice(begin, min(begin + step, first))
        grown[part] = old[part]
        release()
    grown[first:] = values.detach()
    parameter.data, parameter.grad = grown, None


def _tell_size_(architecture: Architecture, model: PreTrainedModel, size: int) -> None:
    model.config.vocab_size = size
    model.get_input_embeddings().num_embeddings = size
    decoder = architecture.head(model).decoder
    if decoder is not None:
        model.get_submodule(decoder).out_features = size
    for module in (model, model.get_submodule(architecture.encoder)):
        if hasattr(module, "vocab_size"):
            module.vocab_size = size


def extension_of(base: Vocabulary, extended: Vocabulary) -> VocabularyExtension:
    """The extension that `extended` is of `base`, when every piece of the base kept its id.

    Growing appends rows by position, which is right only then. A tokenizer made by adding pieces to XLM-R's
    SentencePiece model, as for Glot500 (ImaniGooghari et al. 2023), gives `<mask>` a new last id: its trained
    row would become that of a new piece. Raises CheckpointError (E-ALIGNMENT) naming the first piece that
    moved or is gone.
    """
    moved = [piece for piece, index in base.ids.items() if extended.ids.get(piece) != index]
    if moved:
        first = min(moved, key=base.ids.__getitem__)
        now = extended.ids.get(first)
        where = "is gone" if now is None else f"has id {now}"
        raise CheckpointError(
            f"the extended tokenizer moves {len(moved)} of the base's {len(base)} pieces: "
            f"{escaped(first)} had id {base.ids[first]} and {where}",
            name="E-ALIGNMENT",
            why="rows keep their places, so a piece that moves would take the row of another",
            next="append new pieces after the base's last, as extend vocab does",
        )
    return VocabularyExtension(base, extended.pieces[len(base) :])


def check_base(model: PreTrainedModel, special: SpecialIds) -> None:
    """Whether a tokenizer with these ids can be the model's own.

    An embedding with more rows than the tokenizer has pieces is taken as padded. Raises CheckpointError
    E-VOCABULARY-SIZE for one with fewer, and E-ALIGNMENT when the configuration gives the mask another id,
    or the padding where positions are counted by it (RoBERTa's). Other special ids of a configuration are
    not asserted: nothing in a masked-language model reads them.
    """
    architecture = architecture_of(model)
    rows = architecture.embedding(model).shape[0]
    if special.vocab_size > rows:
        raise CheckpointError(
            f"the base has {rows} embedding rows, its tokenizer {special.vocab_size} pieces",
            name="E-VOCABULARY-SIZE",
            why="ids without a row cannot be read: the tokenizer is of another model",
        )
    wanted = {"mask": (getattr(model.config, "mask_token_id", None), special.mask)}
    if architecture.positions_skip_padding:
        wanted["padding"] = (model.config.pad_token_id, special.pad)
    for role, (configured, found) in wanted.items():
        if configured is not None and configured != found:
            raise CheckpointError(
                f"the base's config.json gives {role} the id {configured}, its tokenizer {found}",
                name="E-ALIGNMENT",
                why="the tokenizer is of another model, or its pieces were moved",
            )


def _check_tie(model: PreTrainedModel, *, tied: bool) -> None:
    if model.config.tie_word_embeddings and not tied:
        raise UsageError(
            "the base's decoder differs from the input embedding that its config.json ties it to",
            name="E-UNTIED",
            why="one of the two would be lost when the grown model is loaded",
            next="set tie_word_embeddings to false in config.json if the decoder has rows of its own",
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
