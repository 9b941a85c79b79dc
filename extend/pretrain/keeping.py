"""Keeping what the base knew while a new language is learned: in the loss, and in the weights.

`BaseDistillation` is a `Keeper`: an objective adds its `loss` to that of its batch, while the scores at the
masked positions can be had. `PullToBase` changes weights: the trainer calls `pull_` after every update of the
optimizer, with the rate of that update. Both compare with the model as it was before training, taken by
`frozen` from the grown checkpoint before any saved weights are put back, so that neither has a state to save:
a run that was interrupted and resumed is compared with the same bits. They are for stages that train old
weights. Where new rows alone are trained nothing old can move, and they would be a waste of time.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.attention import attention_inputs
from extend.masking import MaskedBatch

Scores = Callable[[Tensor], Tensor]
"""Logits, shape (chosen, ids), of the predictions whose numbers (chosen,) it is given, with their graph.

`ids` are those that the loss's own softmax runs over, ascending.
"""

_PER_SAMPLE = ("input_ids", "attention_mask", "segments", "next_sentence", "documents", "replayed")


@runtime_checkable
class Keeper(Protocol):
    """What adds to the loss of a batch."""

    def loss(self, batch: MaskedBatch, scores: Scores, *, predictions: int) -> Tensor:
        """A scalar, divided by `predictions`, the count over all parts and processes of the step."""
        ...


def frozen(model: PreTrainedModel) -> PreTrainedModel:
    """A copy that is never trained: in eval mode, without gradients, on the same device."""
    return copy.deepcopy(model).eval().requires_grad_(False)


@final
class BaseDistillation:
    """Kullback-Leibler divergence from the base's masked-token distribution to the model's, on replayed text.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 2, as Li and Hoiem 2016 (arXiv 1606.09282) use
    it against forgetting: with p the base's and q the model's distribution at a masked position,
    `weight` * T^2 * KL(softmax(log p / T) || softmax(log q / T)), where T^2 keeps its gradients at the size
    of the cross-entropy's. It is summed over the predictions of replayed samples and divided by all
    predictions, so each of them counts cross-entropy + `weight` * divergence. We differ in three things:

    - The teacher is the model as grown, before training, and not the base: it reads the same ids. Where a
      replayed text holds new pieces (longest match may cut old words anew) it reads rows as they started.
    - Both distributions are over the `old` pieces alone, renormalised. The base says nothing of new pieces,
      and its rows for them are guesses; how likely they are is left to the cross-entropy.
    - Predictions whose target is a new piece are left out: the base never stood before such a choice.

    Dropout is off in the teacher. It reads replayed samples alone, under the autocast of its caller, and
    logits of both are held for `at_once` predictions at a time.

    Args:
        base: the model as it was before training, from `frozen`.
        old: how many pieces the base knew; ids from there on are new.
        ids: what the loss's softmax runs over, ascending; by default every id.
    """

    def __init__(
        self,
        base: PreTrainedModel,
        *,
        old: int,
        weight: float,
        temperature: float = 2.0,
        ids: Int[Tensor, " ids"] | None = None,
        at_once: int = 512,
    ) -> None:
        self.base, self.old, self.weight, self.temperature, self.at_once = (
            base,
            old,
            weight,
            temperature,
            at_once,
        )
        architecture = architecture_of(base)
        known: Any = slice(0, old) if ids is None else ids[ids < old]
        self.rows = architecture.output(base).detach()[known]
        self.biases = architecture.bias(base).detach()[known]

    def loss(self, batch: MaskedBatch, scores: Scores, *, predictions: int) -> Tensor:
        """The divergence over this part's predictions; 0 for a part without replayed samples."""
        if batch.replayed is None:
            return torch.zeros((), device=batch.input_ids.device)
        chosen = self._chosen(batch, batch.replayed).nonzero().flatten()
        if not len(chosen):
            return torch.zeros((), device=batch.input_ids.device)
        states = self._states(batch, batch.replayed, chosen)
        parts = list(zip(chosen.split(self.at_once), states.split(self.at_once), strict=True))
        if len(parts) == 1:
            summed = self._divergence(chosen, states, scores)
        else:
            summed = torch.stack([self._in_passing(*part, scores) for part in parts]).sum()
        return self.weight * self.temperature**2 * summed / max(1, predictions)

    def _chosen(self, batch: MaskedBatch, replayed: Bool[Tensor, " batch"]) -> Bool[Tensor, " predictions"]:
        told = (batch.targets >= 0) & (batch.targets < self.old)
        return told & replayed[batch.positions // batch.input_ids.shape[1]]

    @torch.no_grad()
    def _states(
        self, batch: MaskedBatch, replayed: Bool[Tensor, " batch"], chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, "chosen width"]:
        """What the base's decoder multiplies with its rows, at the chosen predictions."""
        samples = replayed.nonzero().flatten()
        part, length = _of_samples(batch, samples), batch.input_ids.shape[1]
        architecture = architecture_of(self.base)
        embedded = nn.functional.embedding(part.input_ids, architecture.embedding(self.base))
        hidden = architecture.encode(self.base, embedded, **attention_inputs(self.base, part))
        positions = batch.positions[chosen]
        place = torch.searchsorted(samples, positions // length)
        rows = hidden.flatten(0, 1).index_select(0, place * length + positions % length)
        return architecture.prepare(self.base, rows)

    def _divergence(
        self, chosen: Int[Tensor, " chosen"], states: Float[Tensor, "chosen width"], scores: Scores
    ) -> Float[Tensor, ""]:
        with torch.no_grad():
            theirs = nn.functional.linear(states, self.rows, self.biases)
            wanted = (theirs.float() / self.temperature).log_softmax(dim=-1)
        ours = scores(chosen)[:, : len(self.rows)].float() / self.temperature
        return nn.functional.kl_div(ours.log_softmax(dim=-1), wanted, reduction="sum", log_target=True)

    def _in_passing(
        self, chosen: Int[Tensor, " chosen"], states: Float[Tensor, "chosen width"], scores: Scores
    ) -> Tensor:
        """The same, made once more when gradients are wanted, so that no logits wait for them."""
        summed: Tensor = checkpoint(
            self._divergence, chosen, states, scores, use_reentrant=False, preserve_rng_state=False
        )
        return summed


@final
class PullToBase:
    """After each update, w <- w - min(1, rate * strength) * (w - w_base), for old weights alone.

    L2-SP (Li, Grandvalet and Davoine 2018, arXiv 1802.01483) adds strength / 2 * |w - w_base|^2
    to the loss. We differ as AdamW differs from Adam with a penalty (Loshchilov and Hutter 2019, arXiv
    1711.05101): the pull does not go through the moments, which would divide it by the gradient's size and so
    hold least the weights that move most. Rows of new pieces have no base and are left to weight decay, the
    paper's second term. A weight that has not moved stays where it is.

    Args:
        base: the model as it was before training, from `frozen`.
        old: how many pieces the base knew; rows from there on are new.
        ids: what the loss's softmax runs over, ascending, where an objective trains their rows alone, as
            parameters `rows`, `outputs` and `biases` of its own.
    """

    def __init__(
        self,
        base: PreTrainedModel,
        *,
        strength: float,
        old: int,
        ids: Int[Tensor, " ids"] | None = None,
    ) -> None:
        self.strength, architecture = strength, architecture_of(base)
        self.anchors = {name: parameter.detach() for name, parameter in base.named_parameters()}
        tables = architecture.vocabulary_parameters(base).values()
        named = base.named_parameters()
        self.known = {name: old for name, one in named if any(one is table for table in tables)}
        if ids is not None:
            chosen = {"rows": architecture.embedding, "outputs": architecture.output}
            for name, table in {**chosen, "biases": architecture.bias}.items():
                self.anchors[name] = table(base).detach()[ids]
                self.known[name] = int((ids < old).sum())

    @torch.no_grad()
    def pull_(self, trained: Mapping[str, nn.Parameter], *, rate: float) -> None:
        """Pull those of `trained` that the base has, by the objective's names; `rate` is the update's."""
        share = min(1.0, rate * self.strength)
        for name, parameter in trained.items():
            anchor = self.anchors.get(name)
            if anchor is not None and anchor.shape == parameter.shape:
                known = slice(self.known.get(name))
                parameter[known].lerp_(anchor[known], share)


def _of_samples(batch: MaskedBatch, samples: Int[Tensor, " samples"]) -> MaskedBatch:
    """The samples alone, without what is predicted."""
    there = {part.name for part in fields(batch)} & set(_PER_SAMPLE)
    kept = {name: getattr(batch, name) for name in there if getattr(batch, name) is not None}
    nothing = batch.positions.new_zeros(0)
    chosen = {name: value.index_select(0, samples) for name, value in kept.items()}
    return replace(batch, positions=nothing, targets=nothing, **chosen)
