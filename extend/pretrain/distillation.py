"""New rows that make the grown encoder read a word as the base read its old spelling.

Token distillation (Dobler, Elliott and de Melo 2025, arXiv 2505.20133), made for bidirectional encoders: the
base, with its own pieces, is the teacher; the grown model, with the new pieces, learns the new rows and
nothing else. There a causal model is compared at positions after a new piece; an encoder sees both sides, so
here each word is compared, as the mean of the last hidden states of its pieces, in both spellings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.pretrain.objectives import NewRows

NO_WORD = -1


class Spelling(NamedTuple):
    """Padded texts: ids, the number of the word that each id belongs to (-1: none), which are no padding.

    All of shape (batch, positions).
    """

    ids: Tensor
    words: Tensor
    mask: Tensor


@dataclass(frozen=True)
class TwoSpellings:
    """The same texts with the base's pieces and with the extended tokenizer's.

    `comparable`, shape (batch, words), tells the words that both can spell.
    """

    old: Spelling
    new: Spelling
    comparable: Tensor


def spelling(texts: Sequence[Sequence[tuple[int, int]]], *, pad: int) -> Spelling:
    """Texts of (id, word) pairs, padded to the longest."""
    longest = max(map(len, texts))
    padded = [[*text, *[(pad, NO_WORD)] * (longest - len(text))] for text in texts]
    pairs = torch.tensor(padded, dtype=torch.long)
    lengths = torch.tensor([len(text) for text in texts])
    return Spelling(pairs[..., 0], pairs[..., 1], (torch.arange(longest) < lengths[:, None]).long())


def word_states(
    hidden: Float[Tensor, "batch seq hidden"], words: Int[Tensor, "batch seq"], *, count: int
) -> Float[Tensor, "batch words hidden"]:
    """The mean of the hidden states of each word's pieces, words numbered from 0 to `count` - 1; zeros for a
    word without pieces."""
    belongs = nn.functional.one_hot(words + 1, count + 1)[..., 1:].to(hidden.dtype)
    pieces = belongs.sum(dim=1).clamp(min=1)
    return torch.einsum("bsw,bsh->bwh", belongs, hidden) / pieces[..., None]


def distillation_loss(
    student: Float[Tensor, "batch words hidden"],
    teacher: Float[Tensor, "batch words hidden"],
    comparable: Bool[Tensor, "batch words"],
) -> Float[Tensor, ""]:
    """Mean squared difference over the comparable words and their dimensions; 0 when there are none."""
    squares = (student - teacher).square().mean(dim=-1)
    return (squares * comparable).sum() / comparable.sum().clamp(min=1)


def distil_rows_(
    model: PreTrainedModel,
    batches: Iterable[TwoSpellings],
    *,
    first_new: int,
    learning_rate: float = 1e-3,
) -> list[float]:
    """Train the embedding rows from `first_new` on, in place; returns the loss of each batch.

    One pass over `batches`, AdamW without weight decay at a constant rate. Biases stay as they are: hidden
    states do not see them. What is older than `first_new`, and every other weight, keeps its bits. Dropout
    is off on both sides. `requires_grad` and training mode end as they were.
    """
    flags, training = [parameter.requires_grad for parameter in model.parameters()], model.training
    objective = NewRows(model.eval(), first_new=first_new)
    optimizer = torch.optim.AdamW([objective.rows], lr=learning_rate, weight_decay=0.0)
    losses: list[float] = []
    for batch in batches:
        loss = _loss(objective, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    objective.finish_()
    model.train(training)
    for parameter, flag in zip(model.parameters(), flags, strict=True):
        parameter.requires_grad_(flag)
    return losses


def _loss(objective: NewRows, batch: TwoSpellings) -> Tensor:
    """The teacher is the model itself on old pieces: all that it uses there is frozen."""
    count = batch.comparable.shape[1]
    states = []
    for side, learns in ((batch.old, False), (batch.new, True)):
        with torch.set_grad_enabled(learns):
            embedded = objective.embed(side.ids)
            hidden = objective.architecture.encode(objective.model, embedded, attention_mask=side.mask)
        states.append(word_states(hidden, side.words, count=count))
    teacher, student = states
    return distillation_loss(student, teacher, batch.comparable)
