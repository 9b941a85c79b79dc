"""Span precision, recall and F1 from tags, vectorised, with intervals from per-sentence counts.

`repaired` scores equal seqeval's default mode and conlleval.pl on IOB tags, `strict` ones seqeval's strict
mode in IOB2, BIOES and BILOU. Bootstrap intervals resample seeds and sentences together.
"""

from ner.score.bootstrap import REPLICATES as REPLICATES
from ner.score.bootstrap import Difference as Difference
from ner.score.bootstrap import Interval as Interval
from ner.score.bootstrap import average as average
from ner.score.bootstrap import difference as difference
from ner.score.bootstrap import difference_of as difference_of
from ner.score.bootstrap import f1_of as f1_of
from ner.score.bootstrap import holm as holm
from ner.score.bootstrap import interval as interval
from ner.score.bootstrap import intervals as intervals
from ner.score.bootstrap import resampled_f1 as resampled_f1
from ner.score.bootstrap import verdict as verdict
from ner.score.counts import Lenient as Lenient
from ner.score.counts import Rates as Rates
from ner.score.counts import SpanCounts as SpanCounts
from ner.score.counts import TagPair as TagPair
from ner.score.counts import count_spans as count_spans
from ner.score.counts import rates as rates
from ner.score.dominance import dominance as dominance
from ner.score.dominance import violation_bound as violation_bound
from ner.score.encoding import OPEN_SCHEMES as OPEN_SCHEMES
from ner.score.encoding import Ints as Ints
