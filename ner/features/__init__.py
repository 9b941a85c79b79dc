"""Words to vectors by an encoder: what is read of it, a word and not a piece at a time."""

from ner.features.encoding import Batch as Batch
from ner.features.encoding import LiveFeatures as LiveFeatures
from ner.features.encoding import VectorSource as VectorSource
from ner.features.encoding import WordFeatures as WordFeatures
from ner.features.encoding import feature_chunks as feature_chunks
from ner.features.encoding import layer_count as layer_count
from ner.features.encoding import tokens_that_fit as tokens_that_fit
from ner.features.encoding import word_features as word_features
from ner.features.encoding import word_offsets as word_offsets
from ner.features.pieces import TokenStatistics as TokenStatistics
from ner.features.pieces import WordPieces as WordPieces
from ner.features.settings import FeatureSettings as FeatureSettings
from ner.features.settings import Layers as Layers
from ner.features.settings import Pooling as Pooling
from ner.features.settings import Precision as Precision
