"""Taggers over word vectors: BiLSTM-CRF (the head of EXTEND's NER experiments), BiLSTM-softmax, linear."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ner.crf import IndependentTags, LinearChainCRF, Start
from ner.lstm import bidirectional
from ner.tags import OUTSIDE, Scheme, may_follow, spans_of, tags_of

Head = Literal["bilstm-crf", "bilstm-softmax", "linear"]
TagScheme = Literal["IOB2", "BIOUL"]
Constrain = Literal["decode", "train", "none"]
SCHEMES: dict[TagScheme, Scheme] = {"IOB2": Scheme.IOB2, "BIOUL": Scheme.BILOU}


@dataclass(frozen=True)
class TaggerSettings:
    """Everything a tagger is built from; what a saved head has beside its weights.

    Args:
        features: size of a word vector.
        labels: entity types.
        mixed_layers: layers mixed by trained weights; 0 when a word has one vector.
        head: BiLSTM and CRF, BiLSTM and softmax, or a softmax on the vector itself.
        scheme: the tags inside; what comes out is always IOB2.
        constrain: forbid illegal sequences in decoding (`decode`), in decoding and in the loss of the CRF
            (`train`), or nowhere (`none`).
        hidden_size: LSTM units a direction. layers: LSTM layers.
        dropout: on the word vectors, between the LSTM's layers and on its output.
        start_end, initial: see `LinearChainCRF`.
    """

    features: int
    labels: tuple[str, ...]
    mixed_layers: int = 0
    head: Head = "bilstm-crf"
    scheme: TagScheme = "IOB2"
    constrain: Constrain = "train"
    hidden_size: int = 200
    layers: int = 2
    dropout: float = 0.5
    start_end: bool = True
    initial: Start = "uniform"

    @property
    def tag_names(self) -> tuple[str, ...]:
        """The tags by index, in the scheme inside: `O` first, then by type."""
        prefixes = "BI" if self.scheme == "IOB2" else "BILU"
        kinds = sorted(set(self.labels))
        return (OUTSIDE, *(f"{prefix}-{label}" for label in kinds for prefix in prefixes))


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


class ScalarMix(nn.Module):
    """One vector of several layers: scale * sum of softmax(weights) * layer (Peters et al. 2018, eq. 1)."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, vectors: Float[Tensor, "words layers features"]) -> Float[Tensor, "words features"]:
        mixed: Tensor = self.scale * (self.weights.softmax(dim=0) @ vectors)
        return mixed


class Tagger(nn.Module):
    """Mix (or nothing), dropout, BiLSTM (or nothing), dropout, a linear layer, CRF or softmax.

    Lample et al. (2016), with EXTEND's sizes by default. Two taggers of the same settings have the same
    weights by name and shape.
    """

    def __init__(self, settings: TaggerSettings) -> None:
        super().__init__()
        self.settings = settings
        self.tag_names = settings.tag_names
        self.mix = ScalarMix(settings.mixed_layers) if settings.mixed_layers else None
        self.dropout = SeededDropout(settings.dropout)
        layers = 0 if settings.head == "linear" else settings.layers
        sizes = [settings.features] + [2 * settings.hidden_size] * layers
        self.lstm = nn.ModuleList(
            nn.LSTM(size, settings.hidden_size, bidirectional=True) for size in sizes[:-1]
        )
        self.linear = nn.Linear(sizes[-1], len(self.tag_names))
        self.output = _output(settings)

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Take the chance of dropout from `generator`, which lies on the tagger's device."""
        self.dropout.generator = generator

    def emissions(
        self, vectors: Float[Tensor, "batch words *features"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch words tags"]:
        """Scores of each tag for each word; padding never reaches a word, whatever its content."""
        packed = pack_padded_sequence(vectors, lengths.cpu(), batch_first=True, enforce_sorted=False)
        if self.mix is not None:
            packed = packed._replace(data=self.mix(packed.data))
        packed = self._dropped(packed)
        for lstm in self.lstm:
            packed = self._dropped(bidirectional(cast(nn.LSTM, lstm), packed))
        scores = packed._replace(data=self.linear(packed.data))
        result: Tensor = pad_packed_sequence(scores, batch_first=True, total_length=vectors.shape[1])[0]
        return result

    def _dropped(self, packed: PackedSequence) -> PackedSequence:
        return packed._replace(data=self.dropout(packed.data))

    def loss(
        self,
        vectors: Float[Tensor, "batch words *features"],
        tags: Int[Tensor, "batch words"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Negative log-likelihood of the batch, summed over its sentences as in EXTEND's release."""
        return -self.output.log_likelihood(self.emissions(vectors, lengths), tags, lengths).sum()

    def decode(
        self, vectors: Float[Tensor, "batch words *features"], lengths: Int[Tensor, " batch"]
    ) -> Int[Tensor, "batch words"]:
        """The best tags, on the CPU, 0 beyond each length."""
        return self.output.decode(self.emissions(vectors, lengths), lengths)

    def decode_with_confidence(
        self, vectors: Float[Tensor, "batch words *features"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Int[Tensor, "batch words"], Float[Tensor, "batch words"]]:
        """The best tags and the marginal probability of each, on the CPU, 0 beyond each length."""
        emissions = self.emissions(vectors, lengths)
        tags = self.output.decode(emissions, lengths)
        chance = self.output.marginals(emissions, lengths).cpu()
        return tags, chance.gather(2, tags[:, :, None])[:, :, 0]


def _output(settings: TaggerSettings) -> LinearChainCRF | IndependentTags:
    names, scheme = settings.tag_names, SCHEMES[settings.scheme]
    legal = {}
    if settings.constrain != "none":
        legal = {
            "start": torch.tensor([may_follow(OUTSIDE, tag, scheme=scheme) for tag in names]),
            "allowed": torch.tensor(
                [[may_follow(before, after, scheme=scheme) for after in names] for before in names]
            ),
            "end": torch.tensor([may_follow(tag, OUTSIDE, scheme=scheme) for tag in names]),
        }
    if settings.head != "bilstm-crf":
        return IndependentTags(len(names), **legal)
    return LinearChainCRF(
        len(names),
        **legal,
        in_training=settings.constrain == "train",
        start_end=settings.start_end,
        initial=settings.initial,
    )


def tags_inside(tags: Sequence[str], scheme: TagScheme) -> tuple[str, ...]:
    """IOB2 tags in the scheme that a tagger uses inside."""
    if scheme == "IOB2":
        return tuple(tags)
    return tags_of(spans_of(tags), len(tags), scheme=SCHEMES[scheme])


def tags_outside(tags: Iterable[str], scheme: TagScheme) -> tuple[str, ...]:
    """The tags of a tagger in IOB2. An illegal sequence of another scheme is repaired as conlleval does."""
    inside = tuple(tags)
    if scheme == "IOB2":
        return inside
    return tags_of(spans_of(inside, scheme=SCHEMES[scheme]), len(inside))
