"""What is minimised, and which parameters that trains: one file an objective."""

from extend.pretrain.objectives.abstract import AbstractObjective as AbstractObjective
from extend.pretrain.objectives.abstract import Losses as Losses
from extend.pretrain.objectives.all_weights import AllWeights as AllWeights
from extend.pretrain.objectives.choosing import objective_of as objective_of
from extend.pretrain.objectives.embeddings import Embeddings as Embeddings
from extend.pretrain.objectives.memory import keep_freed_memory as keep_freed_memory
from extend.pretrain.objectives.new_rows import NewRows as NewRows
