"""What is minimised, and which parameters that trains: one file an objective."""

from extend.pretrain.objectives.abstract import AbstractObjective as AbstractObjective
from extend.pretrain.objectives.abstract import Losses as Losses
from extend.pretrain.objectives.all_weights import AllWeights as AllWeights
from extend.pretrain.objectives.choosing import objective_of as objective_of
from extend.pretrain.objectives.new_rows import NewRows as NewRows
