"""The log-likelihood of tag sequences with its gradient in closed form."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from ner.crf.sums import Scores, normalised, path_scores, path_sums


def log_likelihood(emissions: Tensor, scores: Scores, tags: Tensor, lengths: Tensor) -> Tensor:
    """ln p(tags | emissions) of each sentence, in the emissions' dtype.

    Args:
        emissions: batch x steps x tags. tags: batch x steps. Both hold something valid beyond the lengths.
        scores: start, transition and end scores. lengths: from 1, on the same device.
    """
    result: Tensor = _LogLikelihood.apply(emissions, *scores, tags, lengths)
    return result


class _LogLikelihood(torch.autograd.Function):
    """d/d emission(t, k) = [tag t is k] - p(tag t is k); d/d transition(i, j) = how often the path has i, j
    minus how often it is expected to. No graph over the steps is kept."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes them by position
        ctx: FunctionCtx,
        emissions: Tensor,
        start: Tensor,
        transitions: Tensor,
        end: Tensor,
        tags: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad)  # type: ignore[attr-defined]
        scores = (start, transitions, end)
        sums = path_sums(emissions, scores, lengths, pairs=wanted)
        score, counts = path_scores(normalised(emissions), scores, tags, lengths)
        if wanted and sums.pairs is not None:
            inside = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]
            surprise = nn.functional.one_hot(tags, len(start)) - sums.chances
            surprise = surprise.masked_fill(~inside[:, :, None], 0)
            at_end = surprise.gather(1, (lengths[:, None, None] - 1).expand(-1, 1, len(start)))[:, 0]
            ctx.save_for_backward(surprise, counts - sums.pairs, at_end)
            ctx.dtypes = (emissions.dtype, start.dtype)  # type: ignore[attr-defined]
        return (score - sums.total).to(emissions.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        surprise, counts, at_end = ctx.saved_tensors  # type: ignore[attr-defined]
        of_emissions, of_scores = ctx.dtypes  # type: ignore[attr-defined]
        weights = upstream.double()
        emissions = surprise * weights[:, None, None]
        transitions = (weights @ counts.flatten(1)).view(counts.shape[1:])
        scores = (emissions[:, 0].sum(dim=0), transitions, weights @ at_end)
        return emissions.to(of_emissions), *(score.to(of_scores) for score in scores), None, None
