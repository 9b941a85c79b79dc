"""Every weight is trained."""

from collections.abc import Sequence
from typing import final

from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.pretrain.keeping import Keeper
from extend.pretrain.objectives.abstract import AbstractObjective
from extend.pretrain.objectives.vocabulary import ChosenRows, WholeVocabulary


@final
class AllWeights(AbstractObjective):
    """Trains everything; where input embedding and decoder are tied they are one parameter.

    With `active`, ids in ascending order, the softmax runs over their rows and biases alone, and no others
    are trained, nor decayed: they keep their bits.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        active: Int[Tensor, " active"] | None = None,
        keepers: Sequence[Keeper] = (),
    ) -> None:
        model.requires_grad_(True)
        vocabulary = WholeVocabulary(model) if active is None else ChosenRows(model, active)
        super().__init__(model, vocabulary, keepers)

    def trained(self) -> dict[str, nn.Parameter]:
        own = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        return own | self.vocabulary.trained()
