"""A linear-chain CRF and a softmax a word, with one interface. See the package."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchcrf import CRF

from ner.crf.likelihood import log_likelihood
from ner.crf.sums import Scores, path_sums
from ner.crf.viterbi import best_paths

FORBIDDEN = -1e4  # not -inf, whose gradient is NaN
Start = Literal["uniform", "xavier"]


class LinearChainCRF(nn.Module):
    """Scores tag sequences: emissions plus start, transition and end scores.

    Args:
        num_tags: how many tags.
        start: tags that may open a sentence; default all.
        allowed: `allowed[i, j]` when tag `j` may follow tag `i`; default all.
        end: tags that may close a sentence; default all.
        in_training: forbid in the likelihood too; False forbids in decoding and marginals only, as AllenNLP
            and so EXTEND do.
        start_end: whether start and end have scores (EXTEND's have not).
        initial: transitions at birth: `uniform` within 0.1 (pytorch-crf), or `xavier` (-normal, AllenNLP).

    All inputs are computed in fp32 (or fp64 when given), under autocast too: bf16 loses whole nats.
    """

    start_penalty: Tensor
    penalty: Tensor
    end_penalty: Tensor

    def __init__(
        self,
        num_tags: int,
        *,
        start: Bool[Tensor, " tags"] | None = None,
        allowed: Bool[Tensor, "tags tags"] | None = None,
        end: Bool[Tensor, " tags"] | None = None,
        in_training: bool = True,
        start_end: bool = True,
        initial: Start = "uniform",
    ) -> None:
        super().__init__()
        self.crf = CRF(num_tags, batch_first=True)
        self.num_tags = num_tags
        self.in_training = in_training
        if initial == "xavier":
            nn.init.xavier_normal_(self.crf.transitions)
        if not start_end:
            for ends in (self.crf.start_transitions, self.crf.end_transitions):
                nn.init.zeros_(ends).requires_grad_(False)
        self.register_buffer("start_penalty", _penalty(start, (num_tags,)))
        self.register_buffer("penalty", _penalty(allowed, (num_tags, num_tags)))
        self.register_buffer("end_penalty", _penalty(end, (num_tags,)))

    def log_likelihood(
        self,
        emissions: Float[Tensor, "batch seq tags"],
        tags: Int[Tensor, "batch seq"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """ln p(tags | emissions) of each sentence, in nats. What stands beyond a length has no effect.

        Raises ValueError for a length below 1 or above the number of steps, and for a tag out of range.
        """
        inside, precise = _checked(emissions, tags, lengths, self.num_tags)
        with torch.autocast(emissions.device.type, enabled=False):
            scores = self._scores(penalised=self.in_training)
            result = log_likelihood(precise, scores, inside, lengths.to(emissions.device))
        return result

    @torch.no_grad()
    def decode(
        self, emissions: Float[Tensor, "batch seq tags"], lengths: Int[Tensor, " batch"]
    ) -> Int[Tensor, "batch seq"]:
        """The best tags of each sentence (Viterbi), on the CPU, 0 beyond its length. Ties: the lower tag."""
        return _viterbi(emissions, self._scores(penalised=True), lengths)

    @torch.no_grad()
    def marginals(
        self, emissions: Float[Tensor, "batch seq tags"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch seq tags"]:
        """p(tag of word t = k | emissions), 0 beyond each length; forbidden paths have no share."""
        return _marginals(emissions, self._scores(penalised=True), lengths)

    def _scores(self, *, penalised: bool) -> Scores:
        crf = self.crf
        if not penalised:
            return crf.start_transitions, crf.transitions, crf.end_transitions
        return (
            crf.start_transitions + self.start_penalty,
            crf.transitions + self.penalty,
            crf.end_transitions + self.end_penalty,
        )


class IndependentTags(nn.Module):
    """A softmax a word: each tag for itself in training, the best legal sequence in decoding.

    Lester et al. (2020), "Constrained Decoding for Computationally Efficient Named Entity Recognition
    Taggers". Arguments and methods are those of `LinearChainCRF`, which this is with all transitions at 0.
    """

    start_penalty: Tensor
    penalty: Tensor
    end_penalty: Tensor

    def __init__(
        self,
        num_tags: int,
        *,
        start: Bool[Tensor, " tags"] | None = None,
        allowed: Bool[Tensor, "tags tags"] | None = None,
        end: Bool[Tensor, " tags"] | None = None,
    ) -> None:
        super().__init__()
        self.num_tags = num_tags
        self.register_buffer("start_penalty", _penalty(start, (num_tags,)))
        self.register_buffer("penalty", _penalty(allowed, (num_tags, num_tags)))
        self.register_buffer("end_penalty", _penalty(end, (num_tags,)))

    def log_likelihood(
        self,
        emissions: Float[Tensor, "batch seq tags"],
        tags: Int[Tensor, "batch seq"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The sum of ln p(tag | emissions of its word) of each sentence, in nats."""
        inside, precise = _checked(emissions, tags, lengths, self.num_tags)
        with torch.autocast(emissions.device.type, enabled=False):
            chosen = precise.log_softmax(dim=2).gather(2, inside[:, :, None])[:, :, 0]
            result: Tensor = chosen.masked_fill(~_mask(emissions, lengths), 0).sum(dim=1)
        return result

    @torch.no_grad()
    def decode(
        self, emissions: Float[Tensor, "batch seq tags"], lengths: Int[Tensor, " batch"]
    ) -> Int[Tensor, "batch seq"]:
        """As `LinearChainCRF.decode`."""
        return _viterbi(emissions, (self.start_penalty, self.penalty, self.end_penalty), lengths)

    @torch.no_grad()
    def marginals(
        self, emissions: Float[Tensor, "batch seq tags"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch seq tags"]:
        """As `LinearChainCRF.marginals`: of the legal sequences."""
        return _marginals(emissions, (self.start_penalty, self.penalty, self.end_penalty), lengths)


def _marginals(emissions: Tensor, scores: Scores, lengths: Tensor) -> Tensor:
    mask = _mask(emissions, lengths)
    precise = _at_least_fp32(emissions).masked_fill(~mask[:, :, None], 0)
    with torch.autocast(emissions.device.type, enabled=False):
        sums = path_sums(precise, scores, lengths.to(emissions.device))
    return sums.chances.to(precise.dtype).masked_fill(~mask[:, :, None], 0)


def _viterbi(emissions: Tensor, scores: Scores, lengths: Tensor) -> Tensor:
    mask = _mask(emissions, lengths)
    precise = _at_least_fp32(emissions).masked_fill(~mask[:, :, None], 0)
    with torch.autocast(emissions.device.type, enabled=False):
        paths = best_paths(precise, scores, lengths.to(emissions.device))
    return paths.masked_fill(~mask, 0).cpu()


def _checked(emissions: Tensor, tags: Tensor, lengths: Tensor, num_tags: int) -> tuple[Tensor, Tensor]:
    """Tags and emissions with nothing beyond the lengths, the latter in fp32 at least."""
    mask = _mask(emissions, lengths)
    inside = tags.masked_fill(~mask, 0)
    if int(inside.min()) < 0 or int(inside.max()) >= num_tags:
        raise ValueError(f"tags lie in 0..{num_tags - 1} within the lengths")
    return inside, _at_least_fp32(emissions).masked_fill(~mask[:, :, None], 0)


def _mask(emissions: Tensor, lengths: Tensor) -> Tensor:
    steps = emissions.shape[1]
    if int(lengths.min()) < 1 or int(lengths.max()) > steps:
        raise ValueError(f"lengths lie in 1..{steps}, got {lengths.tolist()}")
    mask: Tensor = torch.arange(steps, device=emissions.device) < lengths.to(emissions.device)[:, None]
    return mask


def _penalty(allowed: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if allowed is None:
        return torch.zeros(shape)
    if tuple(allowed.shape) != shape:
        raise ValueError(f"expected shape {shape}, got {tuple(allowed.shape)}")
    return torch.where(allowed, 0.0, FORBIDDEN)


def _at_least_fp32(emissions: Tensor) -> Tensor:
    return emissions if emissions.dtype == torch.float64 else emissions.float()
