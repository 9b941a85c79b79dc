"""Text in, entities out: words with their places, tagged by a saved head, as JSON lines or columns."""

from ner.tagging.engine import EntityTagger as EntityTagger
from ner.tagging.engine import entity_tagger as entity_tagger
from ner.tagging.passages import Entity as Entity
from ner.tagging.passages import Passage as Passage
from ner.tagging.passages import Tagged as Tagged
from ner.tagging.reading import Account as Account
from ner.tagging.reading import InputForm as InputForm
from ner.tagging.reading import check_forms as check_forms
from ner.tagging.reading import read_passages as read_passages
from ner.tagging.reading import text_passage as text_passage
from ner.tagging.words import word_bounds as word_bounds
from ner.tagging.writing import OutputForm as OutputForm
from ner.tagging.writing import as_bytes as as_bytes
from ner.tagging.writing import as_lines as as_lines
from ner.tagging.writing import as_record as as_record
from ner.tagging.writing import is_record as is_record
