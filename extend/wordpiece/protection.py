"""Words of other languages that new pieces must not cut otherwise, or only few of them."""

import numpy as np

from extend.wordpiece.order import Flags, Longs
from extend.wordpiece.segmentation import Segmentation


def changed_share(segmentation: Segmentation, guarded: Longs) -> float:
    """The share of the guarded words (one weight a word) that are cut with a piece that is not known."""
    total = int(guarded.sum())
    added = segmentation.on & ~segmentation.lattice.candidates.known
    return int(guarded[segmentation.words_with(added)].sum()) / total if total else 0.0


def protect_(segmentation: Segmentation, *, guarded: Longs, max_share: float, offered: Flags) -> None:
    """Turn off pieces until at most `max_share` of the guarded words are cut otherwise.

    Those go first that cost the counted words least for each guarded word they cut; none of them is
    offered again. A word with two such pieces needs both gone, so it is measured again after each round.
    Fewer pieces never change more words, so that a bound that held before holds afterwards.
    """
    known = segmentation.lattice.candidates.known
    allowed = max_share * int(guarded.sum())
    while True:
        cut = guarded[segmentation.words_with(segmentation.on & ~known)]
        excess = int(cut.sum()) - allowed
        if excess <= 0:
            return
        harm = segmentation.usage(segmentation.flow_of(guarded))
        costs, harmful = segmentation.removal_costs(), np.flatnonzero(harm > 0)
        ratio = costs[harmful] / harm[harmful]
        order = harmful[np.lexsort((harmful, ratio))]
        number = int(np.searchsorted(np.cumsum(harm[order]), excess)) + 1
        offered[order[:number]] = False
        segmentation.remove(np.sort(order[:number]))


def withdraw_harmful_(segmentation: Segmentation, *, guarded: Longs, offered: Flags) -> None:
    """Take off the offer what would cut a guarded word otherwise if it came in now."""
    flow = segmentation.flow_of(guarded)
    entries = segmentation.lattice.entries
    reachable = (flow[entries.node] > 0) & (np.arange(len(entries.node)) > segmentation.longest[entries.node])
    offered[entries.piece[reachable]] = False
