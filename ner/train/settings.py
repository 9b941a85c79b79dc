"""How heads are trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from ner.crf import Start
from ner.tagger import Constrain, Head, TaggerSettings, TagScheme

POOL = 20


@dataclass(frozen=True)
class TrainSettings:
    """How heads are trained; sizes and optimisation are by default those of EXTEND's release (Adam).

    Args:
        seeds: heads trained a setting. epochs, patience: at most, and without a better dev F1.
        hidden_size, layers, dropout, head, scheme, constrain, start_end, initial: see `TaggerSettings`.
        learning_rate: of the head, also when the encoder is trained with it. clip: largest gradient norm.
        pool: sentences are shuffled, and sorted by length within this many batches; 1 sorts nothing.
        encoder_learning_rate, warmup: when the encoder is trained too: its rate, and the share of steps in
            which both rates rise; after them they fall to 0 (all linearly).
    """

    seeds: int = 5
    epochs: int = 75
    patience: int = 25
    batch_size: int = 32
    hidden_size: int = 200
    layers: int = 2
    dropout: float = 0.5
    learning_rate: float = 1e-3
    clip: float = 5.0
    head: Head = "bilstm-crf"
    scheme: TagScheme = "IOB2"
    constrain: Constrain = "train"
    start_end: bool = True
    initial: Start = "uniform"
    pool: int = POOL
    encoder_learning_rate: float = 5e-5
    warmup: float = 0.1

    def tagger(self, features: int, labels: Sequence[str], *, mixed_layers: int = 0) -> TaggerSettings:
        """The tagger that is trained on vectors of size `features` (a word's `mixed_layers` of them)."""
        return TaggerSettings(
            features,
            tuple(sorted(set(labels))),
            mixed_layers=mixed_layers,
            head=self.head,
            scheme=self.scheme,
            constrain=self.constrain,
            hidden_size=self.hidden_size,
            layers=self.layers,
            dropout=self.dropout,
            start_end=self.start_end,
            initial=self.initial,
        )
