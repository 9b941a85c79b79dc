"""Files of tagged words in every form that NER sets come in, read without loss; all end in IOB2 sentences.

A file that cannot be read is an error of `extend.errors` that names `file:line` and shows the line escaped.
"""

from ner.data.columns import read_columns as read_columns
from ner.data.columns import read_commented as read_commented
from ner.data.columns import read_wikiann as read_wikiann
from ner.data.conllu import read_conllu as read_conllu
from ner.data.conllu import read_uner as read_uner
from ner.data.formats import DATASETS as DATASETS
from ner.data.formats import NerReader as NerReader
from ner.data.formats import reader_of as reader_of
from ner.data.formats import recognised as recognised
from ner.data.reading import NerData as NerData
from ner.data.reading import check_label_map as check_label_map
from ner.data.reading import read_data as read_data
from ner.data.records import read_jsonl as read_jsonl
from ner.data.records import read_parquet as read_parquet
from ner.data.sentences import LocatedSentence as LocatedSentence
