"""extend: bring a new language to a multilingual encoder."""

from extend.types import Document as Document
from extend.types import Manifest as Manifest
from extend.types import Score as Score
from extend.types import SpecialIds as SpecialIds
from extend.types import StepReport as StepReport
from extend.types import Subword as Subword
from extend.types import Vocabulary as Vocabulary
from extend.types import VocabularyExtension as VocabularyExtension

__version__ = "0.1.0"
