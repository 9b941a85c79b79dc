"""Which candidates to take: those that save most come in, then those that cost least go out again."""

import numpy as np

from extend.wordpiece.order import Flags, Longs
from extend.wordpiece.segmentation import Segmentation

FIRST_SHARE, LEAST_STEP = 50, 20
STEP = 0.5
OVERSHOOT = 1.1


def grow_(segmentation: Segmentation, *, goal: int, offered: Flags) -> list[Longs]:
    """Turn on offered pieces until `goal` pieces beyond the known ones are on, or none saves anything.

    In rounds: gains are taken anew, and the best come in, half as many as are on already (at first, a
    fiftieth of `goal`). Returns each round's pieces, best first; ties by number.
    """
    rounds: list[Longs] = []
    while (missing := goal - taken(segmentation)) > 0:
        gains = segmentation.gains(offered)
        saving = np.flatnonzero(gains > 0)
        if not len(saving):
            break
        step = min(max(goal // FIRST_SHARE, LEAST_STEP, int(STEP * taken(segmentation))), missing)
        rounds.append(saving[np.argsort(-gains[saving], kind="stable")[:step]])
        segmentation.add(rounds[-1])
    return rounds


def shrink_(segmentation: Segmentation, *, size: int) -> None:
    """Turn off pieces until at most `size` beyond the known ones are on: cheapest first, later ones first
    among equals. Half of the surplus goes at a time (all once it is a hundredth of `size`), and costs are
    taken anew."""
    known = segmentation.lattice.candidates.known
    while (surplus := taken(segmentation) - size) > 0:
        costs, kept = segmentation.removal_costs(), np.flatnonzero(segmentation.on & ~known)
        number = surplus if surplus <= size // 100 else -(-surplus // 2)
        segmentation.remove(kept[np.lexsort((-kept, costs[kept]))[:number]])


def drop_rare_(segmentation: Segmentation, counts: Longs, *, min_count: int, offered: Flags) -> None:
    """Turn off pieces that words so often counted use less than `min_count` times, and take them off the
    offer. What replaces them may make others rare, so they are looked for until there are none."""
    known = segmentation.lattice.candidates.known
    while True:
        usage = segmentation.usage(segmentation.flow_of(counts))
        rare = np.flatnonzero(segmentation.on & ~known & (usage < min_count))
        if not len(rare):
            return
        offered[rare] = False
        segmentation.remove(rare)


def taken(segmentation: Segmentation) -> int:
    """Pieces that are on beyond the known ones."""
    return int(np.count_nonzero(segmentation.on & ~segmentation.lattice.candidates.known))
