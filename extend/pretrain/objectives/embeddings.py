"""The vocabulary is trained, the encoder is not.

What Artetxe, Ruder and Yogatama 2020 (arXiv 1910.11856) do for a new language, section 2, step 2, but here
for the rows of all languages at once.
"""

from collections.abc import Mapping, Sequence
from typing import final

from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.pretrain.keeping import Keeper
from extend.pretrain.objectives.abstract import AbstractObjective
from extend.pretrain.objectives.vocabulary import ChosenRows, WholeVocabulary


@final
class Embeddings(AbstractObjective):
    """Trains input embedding, decoder and its bias; everything else is frozen but `more`, adapters perhaps.

    With `active`, ids in ascending order, the softmax runs over their rows and biases alone, and no others
    are trained.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        active: Int[Tensor, " active"] | None = None,
        keepers: Sequence[Keeper] = (),
        more: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        model.requires_grad_(False)
        vocabulary = WholeVocabulary(model) if active is None else ChosenRows(model, active)
        super().__init__(model, vocabulary, keepers)
        self.more = dict(more or {})
        for parameter in self.trained().values():
            parameter.requires_grad_(True)

    def trained(self) -> dict[str, nn.Parameter]:
        return self.vocabulary.trained() | self.more
