"""New rows alone are trained, as parameters of their own beside frozen old rows.

Artetxe, Ruder and Yogatama 2020 (arXiv 1910.11856): what is old cannot move, whatever the optimizer does.
"""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.pretrain.keeping import Keeper
from extend.pretrain.objectives.abstract import AbstractObjective
from extend.pretrain.objectives.vocabulary import ChosenRows


@final
class NewRows(AbstractObjective):
    """Trains the rows and biases from `first_new` on, and `more`, adapters perhaps; everything older is
    frozen and not even decayed.

    With `active`, ids in ascending order, the softmax runs over their rows and biases alone, old and new, and
    of the new ones no others are trained.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        first_new: int,
        active: Int[Tensor, " active"] | None = None,
        keepers: Sequence[Keeper] = (),
        more: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        model.requires_grad_(False)
        if active is None:
            ids = torch.arange(first_new, len(model.get_input_embeddings().weight))
            vocabulary = ChosenRows(model, ids, beside=slice(0, first_new))
        else:
            vocabulary = ChosenRows(model, active[active >= first_new], beside=active[active < first_new])
        super().__init__(model, vocabulary, keepers)
        self.rows = vocabulary.rows
        self.more = dict(more or {})
        for parameter in self.more.values():
            parameter.requires_grad_(True)

    def trained(self) -> dict[str, nn.Parameter]:
        return self.vocabulary.trained() | self.more
