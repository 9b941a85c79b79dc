"""A small base with unequal sizes, and for every initialiser something of each thing that it needs."""

from collections.abc import Callable
from typing import Any

import torch

from extend.initializers import BIASES, INITIALIZERS, NewRows

BASE, ADDED, HIDDEN, DIMENSION = 7, 3, 5, 4
UNKNOWN = 1
SEGMENTATIONS = [(2, 4), (1,), (6, 6, 1)]


def drawn(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_base(
    rows: int = BASE, hidden: int = HIDDEN, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    base = torch.randn(rows, hidden, generator=generator).to(dtype)
    return base, torch.randn(rows, generator=generator).to(dtype)


def _vectors(base: int, added: int) -> torch.Tensor:
    """Base pieces 0 and 1 (the unknown) and new piece 1 have none or must not use it."""
    vectors = drawn(base + added, DIMENSION, seed=6)
    vectors[0] = 0
    vectors[base + 1 : base + 2] = 0
    return vectors


NEEDED: dict[str, Callable[[int, int], Any]] = {
    "vectors": _vectors,
    "helper": lambda base, added: _vectors(base, added).abs(),
    "base_vectors": lambda base, added: _vectors(base, 0),
    "word_pairs": lambda base, added: (drawn(9, DIMENSION, seed=7), drawn(9, DIMENSION, seed=8)),
    "twins": lambda base, added: tuple(3 if place % 5 == 2 else -1 for place in range(added)),
    "classes": lambda base, added: (
        *("Latin initial" if index % 2 else "" for index in range(base)),
        *("Latin initial" if place % 2 == 0 else "Thai initial" for place in range(added)),
    ),
    "translations": lambda base, added: tuple(
        ((2, 3, UNKNOWN), (4,)) if place % 2 == 0 else () for place in range(added)
    ),
    "counts": lambda base, added: torch.arange(base + added) * 3 % 11,
}
SETTINGS: dict[str, dict[str, Any]] = {"ofa": {"dimensions": 3}, "script": {"least": 2}}


def needed(kind: Any, base: int = BASE, added: int = ADDED) -> dict[str, Any]:
    return {name: NEEDED[name](base, added) for name in kind.needs}


def made_initializer(name: str, base: int = BASE, added: int = ADDED, **settings: Any) -> Any:
    kind: Any = INITIALIZERS[name]
    return kind(**{**needed(kind, base, added), **SETTINGS.get(name, {}), **settings})


def made_rule(name: str, base: int = BASE, added: int = ADDED) -> Any:
    kind: Any = BIASES[name]
    return kind(**needed(kind, base, added))


def call(name: str, seed: int = 0, dtype: torch.dtype = torch.float32, **settings: Any) -> NewRows:
    base, bias = a_base(dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    made: NewRows = made_initializer(name, **settings)(base, bias, SEGMENTATIONS, generator, unknown=UNKNOWN)
    return made
