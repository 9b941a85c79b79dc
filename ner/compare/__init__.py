"""Scoring and paired significance alone: for files of tags, whoever made them."""

from ner.compare.paired import compare as compare
from ner.compare.scoring import score_files as score_files
from ner.compare.scoring import score_tags as score_tags
