"""The door to the Hugging Face Hub and to checkpoint folders in its format: resolve, load, save, push, pull.

Nothing else in the toolkit imports `huggingface_hub` or `datasets`. No code from a checkpoint is ever run
and no pickle ever read.
"""

from extend.hub.address import is_public as is_public  # before the client, for which it turns Xet off
from extend.hub.cards import card_values as card_values
from extend.hub.cards import check_card as check_card
from extend.hub.cards import check_results as check_results
from extend.hub.connection import hub_note as hub_note
from extend.hub.load import load_encoder as load_encoder
from extend.hub.load import load_pretraining_model as load_pretraining_model
from extend.hub.load import save_model as save_model
from extend.hub.publication import LocalFile as LocalFile
from extend.hub.publication import files_to_publish as files_to_publish
from extend.hub.publication import refuse_secrets as refuse_secrets
from extend.hub.pull import local_base as local_base
from extend.hub.pull import resolve_base as resolve_base
from extend.hub.push import PushResult as PushResult
from extend.hub.push import push_checkpoint as push_checkpoint
from extend.hub.snapshot import PullResult as PullResult
from extend.hub.snapshot import pull_checkpoint as pull_checkpoint
from extend.hub.snapshot import pulled_checkpoint as pulled_checkpoint
from extend.hub.streaming import stream_dataset as stream_dataset
from extend.hub.tagged import stream_tagged as stream_tagged
