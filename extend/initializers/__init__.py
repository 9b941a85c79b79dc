"""First values for added embedding rows and decoder biases: one final frozen dataclass a method.

A method's fields are its settings and what it `needs` (tensors and tuples, read by others), its call is the
formula: tensors in, tensors out, no file, no log line. Every method computes in float32 or float64, leaves
`base` as it is, and gives the same bytes for the same generator state whatever the threads. A new method is
a file here and its line in INITIALIZERS.
"""

from collections.abc import Mapping

from extend.initializers.biases import BIASES as BIASES
from extend.initializers.biases import BiasRule as BiasRule
from extend.initializers.clp import Clp as Clp
from extend.initializers.dictionary import DictionaryMean as DictionaryMean
from extend.initializers.draws import MeanOfRows as MeanOfRows
from extend.initializers.draws import NormalOfRows as NormalOfRows
from extend.initializers.draws import NormalWithCovariance as NormalWithCovariance
from extend.initializers.draws import Paper as Paper
from extend.initializers.focus import Focus as Focus
from extend.initializers.nouns import Initializer as Initializer
from extend.initializers.nouns import NewRows as NewRows
from extend.initializers.nouns import RowOrigin as RowOrigin
from extend.initializers.ofa import Ofa as Ofa
from extend.initializers.script import NormalOfScript as NormalOfScript
from extend.initializers.subword import SubwordMean as SubwordMean
from extend.initializers.wechsel import Wechsel as Wechsel

INITIALIZERS: Mapping[str, type[Initializer]] = {
    "subword": SubwordMean,
    "paper": Paper,
    "normal": NormalOfRows,
    "mean": MeanOfRows,
    "mvn": NormalWithCovariance,
    "script": NormalOfScript,
    "dictionary": DictionaryMean,
    "focus": Focus,
    "wechsel": Wechsel,
    "ofa": Ofa,
    "clp": Clp,
}
