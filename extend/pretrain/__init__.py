"""Continued (or first) masked-language-model training: a plain loop, exact to resume."""

from extend.pretrain.checkpoints import latest_checkpoint as latest_checkpoint
from extend.pretrain.devices import autocast_dtype as autocast_dtype
from extend.pretrain.devices import device_of_choice as device_of_choice
from extend.pretrain.held_out import held_out_loss as held_out_loss
from extend.pretrain.loop import Hooks as Hooks
from extend.pretrain.loop import LoopSettings as LoopSettings
from extend.pretrain.loop import train as train
from extend.pretrain.schedule import Stage as Stage
from extend.pretrain.trainer import StageTrainer as StageTrainer
