"""Strings as rows of numbers, put in order without making Python strings of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.integer[Any]]

_KEY_BITS = 63
_EXACT = 1 << 53


def sorted_rows(codes: Codes, starts: Longs, lengths: Ints, *, bits: int, step: int) -> Longs:
    """The order of the strings of `lengths` that begin at `starts` of `codes` and go on by `step`.

    By code, a prefix before what it begins, equal strings in the order given. Codes are at least 1 and
    below 2**`bits`. As many characters as fit are compared at once, and only ties are looked at again.
    """
    at_once = max(_KEY_BITS // bits, 1)
    order = np.arange(len(starts))
    group = np.zeros(len(starts), np.int64)
    tied, column = order.copy(), 0
    while len(tied):
        rows = order[tied]
        key = np.zeros(len(rows), np.int64)
        for place in range(column, column + at_once):
            there = np.flatnonzero(lengths[rows] > place)
            key <<= bits
            key[there] |= codes[starts[rows[there]] + step * place]
        sorting = np.argsort(key, kind="stable") if column == 0 else np.lexsort((key, group[tied]))
        order[tied], key = rows[sorting], key[sorting]
        groups = group[tied]
        first = run_starts((groups[1:] != groups[:-1]) | (key[1:] != key[:-1]))
        sizes = run_sizes(first, len(tied))
        group[tied] = np.repeat(tied[first], sizes)
        column += at_once
        longer = np.maximum.reduceat(lengths[order[tied]], first) > column
        tied = tied[np.repeat(longer & (sizes > 1), sizes)]
    return order


def run_starts(changes: Flags) -> Longs:
    """Where runs begin, when `changes` says for every element but the first whether one does."""
    return np.append(0, np.flatnonzero(changes) + 1)


def run_sizes(starts: Longs, total: int) -> Longs:
    """Sizes of the runs that begin at `starts` and fill `total` elements."""
    return np.diff(np.append(starts, total))


def ranges(starts: Longs, sizes: Longs) -> Ints:
    """`starts[0], starts[0] + 1, ...` for `sizes[0]` numbers, then the same for the next, in one row."""
    shifted = (starts - (np.cumsum(sizes) - sizes)).astype(np.int32)
    numbers = np.repeat(shifted, sizes)
    numbers += np.arange(len(numbers), dtype=np.int32)
    return numbers


def sums(index: Ints, values: Longs, size: int) -> Longs:
    """The sum of `values` by `index`, exactly; `np.bincount` adds in floating point, exact to 2**53."""
    if len(values) and int(np.abs(values).max()) * len(values) >= _EXACT:
        total = np.zeros(size, np.int64)
        np.add.at(total, index, values)
        return total
    return np.bincount(index, weights=values, minlength=size).astype(np.int64)
