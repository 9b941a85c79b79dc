"""A linear-chain CRF over words: pytorch-crf with lengths, fp32, forbidden transitions and batched decoding.

Lafferty, McCallum, Pereira (2001). pytorch-crf holds the parameters and computes the likelihood; around it:
lengths instead of masks (a mask with holes runs there and gives wrong results), transitions that the tag
scheme forbids at a score of -10,000 both in training and decoding (AllenNLP, and so EXTEND, forbids them in
decoding only), and Viterbi on the whole batch with one copy from the device.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchcrf import CRF

FORBIDDEN = -1e4  # not -inf, whose gradient is NaN


class LinearChainCRF(nn.Module):
    """Scores tag sequences: emissions plus start, transition and end scores.

    Args:
        num_tags: how many tags.
        start: tags that may open a sentence; default all.
        allowed: `allowed[i, j]` when tag `j` may follow tag `i`; default all.
        end: tags that may close a sentence; default all.

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
    ) -> None:
        super().__init__()
        self.crf = CRF(num_tags, batch_first=True)
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
        """ln p(tags | emissions) of each sentence, in nats. What stands beyond a length has no effect.

        Raises ValueError for a length below 1 or above the number of steps, and for a tag out of range.
        """
        mask = self._mask(emissions, lengths)
        inside = tags.masked_fill(~mask, 0)
        if int(inside.min()) < 0 or int(inside.max()) >= self.num_tags:
            raise ValueError(f"tags lie in 0..{self.num_tags - 1} within the lengths")
        with torch.autocast(emissions.device.type, enabled=False):
            precise = _at_least_fp32(emissions).masked_fill(~mask[:, :, None], 0)
            start, transitions, end = self._scores()
            parameters = {"start_transitions": start, "transitions": transitions, "end_transitions": end}
            result: Tensor = torch.func.functional_call(
                self.crf, parameters, (precise, inside, mask), {"reduction": "none"}
            )
        return result

    @torch.no_grad()
    def decode(
        self, emissions: Float[Tensor, "batch seq tags"], lengths: Int[Tensor, " batch"]
    ) -> Int[Tensor, "batch seq"]:
        """The best tags of each sentence (Viterbi), on the CPU, 0 beyond its length. Ties: the lower tag."""
        mask = self._mask(emissions, lengths)
        with torch.autocast(emissions.device.type, enabled=False):
            precise = _at_least_fp32(emissions)
            start, transitions, end = self._scores()
            score = start + precise[:, 0]
            steps = precise.shape[1]
            stay = torch.arange(self.num_tags, device=score.device).expand_as(score)
            pointers = [stay] * steps
            for step in range(1, steps):
                best, pointer = (score[:, :, None] + transitions).max(dim=1)
                here = mask[:, step, None]
                score = torch.where(here, best + precise[:, step], score)
                pointers[step] = torch.where(here, pointer, stay)
            last = (score + end).argmax(dim=1)
            path = [last]
            for step in range(steps - 1, 0, -1):
                last = pointers[step].gather(1, last[:, None])[:, 0]
                path.append(last)
        return torch.stack(path[::-1], dim=1).masked_fill(~mask, 0).cpu()

    def marginals(
        self, emissions: Float[Tensor, "batch seq tags"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch seq tags"]:
        """p(tag of word t = k | emissions), 0 beyond each length.

        The gradient of a path's log-likelihood by the emissions is (1 on the path) - marginals.
        """
        mask = self._mask(emissions, lengths)
        path = self.decode(emissions, lengths).to(emissions.device)
        with torch.enable_grad():
            leaf = _at_least_fp32(emissions).detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_likelihood(leaf, path, lengths).sum(), leaf)
        on_path = nn.functional.one_hot(path, self.num_tags).to(gradient.dtype)
        return (on_path - gradient).masked_fill(~mask[:, :, None], 0)

    def _scores(self) -> tuple[Tensor, Tensor, Tensor]:
        return (
            self.crf.start_transitions + self.start_penalty,
            self.crf.transitions + self.penalty,
            self.crf.end_transitions + self.end_penalty,
        )

    @staticmethod
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
