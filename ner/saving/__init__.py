"""Taggers as folders: written whole, read back to the bit, and given to transformers where it has a place."""

from ner.saving.encoders import TOKENIZER as TOKENIZER
from ner.saving.encoders import encoder_sha256 as encoder_sha256
from ner.saving.exporting import token_classifier as token_classifier
from ner.saving.folder import SavedTagger as SavedTagger
from ner.saving.folder import check_encoder as check_encoder
from ner.saving.folder import load_tagger as load_tagger
from ner.saving.folder import save_tagger as save_tagger
from ner.saving.heads import save_heads as save_heads
