"""Continued (or first) masked-language-model training: a plain loop, exact to resume."""

from extend.pretrain.checkpoints import latest_checkpoint as latest_checkpoint
from extend.pretrain.devices import autocast_dtype as autocast_dtype
from extend.pretrain.devices import deterministic_kernels as deterministic_kernels
from extend.pretrain.devices import device_name as device_name
from extend.pretrain.devices import device_of_choice as device_of_choice
from extend.pretrain.devices import is_reproducible as is_reproducible
from extend.pretrain.dropout import set_dropout_ as set_dropout_
from extend.pretrain.held_out import held_out_loss as held_out_loss
from extend.pretrain.loop import train as train
from extend.pretrain.nouns import Hooks as Hooks
from extend.pretrain.nouns import LeftOut as LeftOut
from extend.pretrain.nouns import LoopSettings as LoopSettings
from extend.pretrain.nouns import Outcome as Outcome
from extend.pretrain.nouns import Verdict as Verdict
from extend.pretrain.schedule import Stage as Stage
from extend.pretrain.signals import signals_noted as signals_noted
from extend.pretrain.team import Team as Team
from extend.pretrain.team import check_agreement as check_agreement
from extend.pretrain.team import check_shares as check_shares
from extend.pretrain.team import joined as joined
from extend.pretrain.trainer import StageTrainer as StageTrainer
from extend.pretrain.trainer import StepOptions as StepOptions
