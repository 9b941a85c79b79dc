"""The sets of one evaluation: read, checked, fingerprinted, and searched for what was seen before."""

from ner.sets.leaks import leaks as leaks
from ner.sets.nouns import Experiment as Experiment
from ner.sets.nouns import LanguageSets as LanguageSets
from ner.sets.reading import HELD_OUT as HELD_OUT
from ner.sets.reading import NAME as NAME
from ner.sets.reading import Files as Files
from ner.sets.reading import check_names as check_names
from ner.sets.reading import experiments as experiments
from ner.sets.reading import read_sets as read_sets
from ner.sets.warnings import data_warnings as data_warnings
