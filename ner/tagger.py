"""BiLSTM-CRF over word vectors: the head of EXTEND's NER experiments."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ner.crf import LinearChainCRF
from ner.tags import OUTSIDE, may_follow


def constrained_crf(tags: Sequence[str]) -> LinearChainCRF:
    """A CRF over IOB2 `tags` that forbids every illegal start, transition and end."""
    return LinearChainCRF(
        len(tags),
        start=torch.tensor([may_follow(OUTSIDE, tag) for tag in tags]),
        allowed=torch.tensor([[may_follow(before, after) for after in tags] for before in tags]),
        end=torch.tensor([may_follow(tag, OUTSIDE) for tag in tags]),
    )


class SeededDropout(nn.Module):
    """Dropout whose chance comes from a generator of its own, so that heads can be trained side by side.

    Without a generator (`generator` is None) torch's global one is used.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if not self.training or self.rate == 0:
            return values
        if self.rate == 1:
            return torch.zeros_like(values)
        kept = torch.empty_like(values).bernoulli_(1 - self.rate, generator=self.generator)
        return values * kept.div_(1 - self.rate)


class BiLstmCrfTagger(nn.Module):
    """Dropout, a bidirectional LSTM, dropout, a linear layer, a CRF (Lample et al. 2016).

    Args:
        features: size of a word vector.
        crf: the finished CRF; its `num_tags` sizes the linear layer.
        hidden_size: LSTM units a direction. layers: LSTM layers.
        dropout: on the word vectors, between the layers and on the output.
    """

    def __init__(
        self,
        features: int,
        crf: LinearChainCRF,
        *,
        hidden_size: int = 200,
        layers: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.dropout = SeededDropout(dropout)
        self.lstm = nn.ModuleList(
            nn.LSTM(2 * hidden_size if layer else features, hidden_size, bidirectional=True)
            for layer in range(layers)
        )
        self.linear = nn.Linear(2 * hidden_size, crf.num_tags)
        self.crf = crf

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Take the chance of dropout from `generator`, which lies on the tagger's device."""
        self.dropout.generator = generator

    def emissions(
        self, vectors: Float[Tensor, "batch words features"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch words tags"]:
        """Scores of each tag for each word; padding never reaches a word, whatever its content."""
        packed = pack_padded_sequence(vectors, lengths.cpu(), batch_first=True, enforce_sorted=False)
        for lstm in self.lstm:
            packed = lstm(self._dropped(packed))[0]
        packed = self._dropped(packed)
        scores = packed._replace(data=self.linear(packed.data))
        result: Tensor = pad_packed_sequence(scores, batch_first=True, total_length=vectors.shape[1])[0]
        return result

    def _dropped(self, packed: PackedSequence) -> PackedSequence:
        return packed._replace(data=self.dropout(packed.data))

    def loss(
        self,
        vectors: Float[Tensor, "batch words features"],
        tags: Int[Tensor, "batch words"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Negative log-likelihood of the batch, summed over its sentences as in EXTEND's release."""
        return -self.crf.log_likelihood(self.emissions(vectors, lengths), tags, lengths).sum()

    def decode(
        self, vectors: Float[Tensor, "batch words features"], lengths: Int[Tensor, " batch"]
    ) -> Int[Tensor, "batch words"]:
        """The best tags, on the CPU, 0 beyond each length."""
        return self.crf.decode(self.emissions(vectors, lengths), lengths)
