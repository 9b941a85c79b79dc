"""Weights kept of a training: the best epoch's, and the mean over all."""

import copy
import math
from dataclasses import dataclass, field

from torch import Tensor, nn

State = dict[str, Tensor]


@dataclass
class Best:
    """The first of the best epochs. A score that is no number is never best; the first epoch is kept."""

    f1: float = -math.inf
    epoch: int = 0
    weights: State = field(default_factory=dict)

    def offer(self, f1: float, epoch: int, module: nn.Module) -> None:
        """Keep the weights of `module` when `f1` is higher than any before it."""
        if not self.epoch or f1 > self.f1 or (math.isnan(self.f1) and not math.isnan(f1)):
            self.f1, self.epoch, self.weights = f1, epoch, copied(module)


class Average:
    """The mean of the weights after every epoch, summed in fp64.

    Schmidt, Vulić, Glavaš (2023), "Free Lunch: Robust Cross-Lingual Transfer via Model Checkpoint Averaging";
    there of ten checkpoints a training.
    """

    def __init__(self) -> None:
        self._sums: State = {}
        self._count = 0

    def add(self, module: nn.Module) -> None:
        self._count += 1
        for name, value in module.state_dict().items():
            if value.is_floating_point() and name in self._sums:
                self._sums[name] += value
            else:
                self._sums[name] = value.double() if value.is_floating_point() else value.clone()

    def mean(self, module: nn.Module) -> State:
        """In the dtypes of `module`; what is no float is that of the last epoch."""
        return {
            name: (self._sums[name] / self._count).to(value.dtype)
            if value.is_floating_point()
            else self._sums[name]
            for name, value in module.state_dict().items()
        }


def copied(module: nn.Module) -> State:
    """The weights of `module`, in memory of their own."""
    return copy.deepcopy(dict(module.state_dict()))
