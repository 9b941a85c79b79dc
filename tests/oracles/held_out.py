"""The held-out rule with the whole corpus in memory, by trying every threshold."""

from collections.abc import Sequence

from xxhash import xxh3_64_intdigest


def held_out_texts(texts: Sequence[str], *, share: float, least: int, seed: int) -> set[str]:
    """The texts that the rule of `extend.corpus.find_held_out` holds out."""
    values = {text: xxh3_64_intdigest(text.encode(), seed) for text in texts}

    def lines_below(threshold: int) -> int:
        return sum(values[text] < threshold for text in texts)

    just_above = sorted(value + 1 for value in values.values())
    wanted = int(share * 2**64)
    if lines_below(wanted) < least and just_above:
        enough = [threshold for threshold in just_above if lines_below(threshold) >= least]
        wanted = max(wanted, enough[0] if enough else just_above[-1])
    if lines_below(wanted) > len(texts) // 2:
        share_buckets = [value >> 48 << 48 for value in values.values() if value < int(share * 2**64)]
        tried = [0, int(share * 2**64), *just_above[:least], *share_buckets]
        wanted = max(threshold for threshold in tried if lines_below(threshold) <= len(texts) // 2)
    return {text for text in texts if values[text] < wanted}
