"""Which objective trains what a stage wants."""

from collections.abc import Mapping, Sequence

from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.errors import UsageError
from extend.pretrain.keeping import Keeper
from extend.pretrain.objectives.abstract import AbstractObjective
from extend.pretrain.objectives.all_weights import AllWeights
from extend.pretrain.objectives.embeddings import Embeddings
from extend.pretrain.objectives.memory import keep_freed_memory
from extend.pretrain.objectives.new_rows import NewRows
from extend.pretrain.schedule import Trained


def objective_of(
    model: PreTrainedModel,
    trains: Trained,
    *,
    first_new: int | None,
    active: Int[Tensor, " active"] | None = None,
    keepers: Sequence[Keeper] = (),
    more: Mapping[str, nn.Parameter] | None = None,
) -> AbstractObjective:
    """The objective that trains `trains`; rows from `first_new` on are the new ones.

    `active` are the ids, ascending, that the softmax runs over: those that occur in the text and those of
    special tokens, whose rows are to be trained; None for all. `more` are parameters of the model that are
    trained beside rows. From here on the process keeps memory that it frees (`keep_freed_memory`).

    Raises UsageError when new rows are to be trained and there are none.
    """
    keep_freed_memory()
    if trains == "all":
        return AllWeights(model, active=active, keepers=keepers)
    if trains == "embeddings":
        return Embeddings(model, active=active, keepers=keepers, more=more)
    new = 0 if first_new is None else len(model.get_input_embeddings().weight) - first_new
    if first_new is None or not new:
        raise UsageError("there are no new rows to train", name="E-CONFIG", next="set pretrain.train = 'all'")
    return NewRows(model, first_new=first_new, active=active, keepers=keepers, more=more)
