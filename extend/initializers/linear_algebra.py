"""Products and factors whose bits depend on the numbers alone, not on threads or on chunks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

_GRID = 2.0**26
_ROWS = 8192


def unit_rows(vectors: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
    """Rows of length one in float64, on a grid of 2^-26; rows of zeros stay zeros.

    Dot products of two such rows are sums of whole numbers below 2^53, which float64 holds exactly: every
    order of summation, so every thread count, block size and library, gives the same bits. What the grid
    costs (1e-8 a component) is less than what float32 would.
    """
    wide = vectors.detach().double()
    lengths = wide.square().sum(dim=1, keepdim=True).sqrt()
    return (wide / lengths.where(lengths > 0, 1.0) * _GRID).round() / _GRID


def cosine_blocks(
    queries: Float[Tensor, "queries width"], keys: Float[Tensor, "keys width"], *, rows_at_once: int
) -> Iterator[tuple[slice, Float[Tensor, "block keys"]]]:
    """Cosines of unit rows, exact, a block of queries at a time: memory 8 bytes * rows_at_once * keys."""
    for start in range(0, len(queries), rows_at_once):
        block = slice(start, start + rows_at_once)
        yield block, queries[block] @ keys.T


@contextmanager
def one_thread() -> Iterator[None]:
    """Factorisations and long sums run on one thread, because splitting them moves their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def gram(rows: Float[Tensor, "rows width"], center: Float[Tensor, " width"]) -> Float[Tensor, "width width"]:
    """The sum over rows of (row - center)(row - center)^T in float64; memory is a block, not a copy."""
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    with one_thread():
        for start in range(0, len(rows), _ROWS):
            block = rows[start : start + _ROWS].detach().double() - center
            total += block.T @ block
    return total


def times(rows: Float[Tensor, "rows width"], matrix: Float[Tensor, "width out"]) -> Float[Tensor, "rows out"]:
    """`rows @ matrix` in float64 on one thread."""
    with one_thread():
        return rows.double() @ matrix.double()
