"""The best tag sequence of every sentence of a batch."""

import torch
from torch import Tensor

from ner.crf.sums import Scores


def best_paths(emissions: Tensor, scores: Scores, lengths: Tensor) -> Tensor:
    """Viterbi (1967): batch x steps, on the emissions' device; anything beyond a length. Ties: the lower tag.

    Forward, the score of the best path to each tag is kept; which tag came before is looked for on the way
    back, for the tags on the path alone.
    """
    start, transitions, end = scores
    steps = emissions.transpose(0, 1)
    best = torch.empty_like(steps)
    best[0] = start + steps[0]
    across = transitions[:, None]
    for step in range(1, len(best)):
        torch.add((best[step - 1].t()[:, :, None] + across).amax(dim=0), steps[step], out=best[step])
    final = lengths - 1
    ends = best.gather(0, final[None, :, None].expand(1, -1, best.shape[2]))[0] + end
    tag = ends.argmax(dim=1)
    into = transitions.t().contiguous()
    path = torch.empty(best.shape[:2], dtype=torch.long, device=emissions.device)
    path[-1] = tag
    for step in range(len(best) - 1, 0, -1):
        before = (best[step - 1] + into[tag]).argmax(dim=1)
        tag = torch.where(final >= step, before, tag)
        path[step - 1] = tag
    return path.t()
