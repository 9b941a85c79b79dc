"""The door to the Hugging Face Hub and to checkpoint folders in its format: resolve, load, save, push.

Nothing else in the toolkit imports `huggingface_hub` or `datasets`. No code from a checkpoint is ever run
and no pickle ever read.
"""

from extend.hub.load import load_encoder as load_encoder
from extend.hub.load import load_pretraining_model as load_pretraining_model
from extend.hub.load import save_model as save_model
from extend.hub.pull import resolve_base as resolve_base
from extend.hub.push import PushResult as PushResult
from extend.hub.push import push_checkpoint as push_checkpoint
from extend.hub.streaming import stream_dataset as stream_dataset
from extend.hub.tagged import stream_tagged as stream_tagged
