"""Which objective trains what a stage wants."""

from transformers import PreTrainedModel

from extend.errors import UsageError
from extend.pretrain.objectives.abstract import AbstractObjective
from extend.pretrain.objectives.all_weights import AllWeights
from extend.pretrain.objectives.new_rows import NewRows
from extend.pretrain.schedule import Trained


def objective_of(model: PreTrainedModel, trains: Trained, *, first_new: int | None) -> AbstractObjective:
    """The objective that trains `trains`; rows from `first_new` on are the new ones.

    Raises UsageError when new rows are to be trained and there are none.
    """
    if trains == "all":
        return AllWeights(model)
    if first_new is None:
        raise UsageError("there are no new rows to train", name="E-CONFIG", next="set pretrain.train = 'all'")
    return NewRows(model, first_new=first_new)
