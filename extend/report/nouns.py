"""What a run's files say, frozen. A number nobody measured is None and is shown as an em dash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extend.report.nouns_run import Language, Provenance, Published

ALPHA = 0.05
"""A difference whose p, corrected for the number of languages, is not under this is called noise."""

ENCODERS = ("base", "extended", "bilingual")
"""The order in which encoders are told; others follow in the order of the files."""


@dataclass(frozen=True, slots=True)
class TextRates:
    """Fertility is pieces a word, `unk_rate` the fraction of words with an unknown piece."""

    fertility: float | None = None
    unk_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One word and its pieces under the base tokenizer and under the extended one."""

    word: str
    count: int | None
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SizePoint:
    """What `size` new pieces would do to held-out text, and the parameters and bytes they would add."""

    size: int
    rates: TextRates
    added_parameters: float | None
    added_bytes: float | None


@dataclass(frozen=True, slots=True)
class SizeChoice:
    """The size that was asked for (`auto` or a number), the one taken, and why."""

    asked: str
    chosen: int | None
    why: str


@dataclass(frozen=True, slots=True)
class MixPoint:
    """Scores of new pieces mixed in by `share`: rates on held-out text; `drift` is the share of words of the
    base's languages that are cut otherwise than before."""

    share: float
    rates: TextRates
    drift: float | None


@dataclass(frozen=True, slots=True)
class ProtectedText:
    """A text whose segmentation was to stay: shares of its words cut otherwise, and become unknown."""

    name: str
    words: int | None
    words_changed: float | None
    words_newly_unknown: float | None


@dataclass(frozen=True, slots=True)
class Protection:
    """`max_drift` is the share of words that might change; `left_out` candidates were given up for it."""

    texts: tuple[ProtectedText, ...]
    max_drift: float | None
    left_out: int | None


@dataclass(frozen=True, slots=True)
class VocabularyStage:
    """`vocab/`: `counts` holds every number of the report by its dotted name (`corpus.lines`).

    `mix` is the chosen share of `mixes`; `repairs` count what was mended while the corpus was read.
    `certificate` names the checks that held when the written tokenizer was read again, `lost` the characters
    that the base's normaliser takes away or changes most, and how often; `warnings` what the stage told.
    """

    counts: Mapping[str, float]
    corpus_sha256: str
    held_out: Mapping[str, TextRates]
    pieces: tuple[str, ...]
    examples: tuple[Example, ...]
    sizes: tuple[SizePoint, ...] = ()
    choice: SizeChoice | None = None
    mixes: tuple[MixPoint, ...] = ()
    mix: float | None = None
    protection: Protection | None = None
    repairs: Mapping[str, int] = field(default_factory=dict)
    certificate: tuple[str, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewRow:
    """How one added row was made: `method` is the one used, `reason` why the chosen one could not be.

    `sources` are base pieces with their weights; a base id stands as `id 123` when no vocabulary names it.
    """

    piece: str
    method: str
    sources: tuple[tuple[str, float], ...]
    reason: str


@dataclass(frozen=True, slots=True)
class GrowthStage:
    """`grown/`: `methods` and `reasons` (of fallbacks) count rows; `examples` are spread over all rows.

    `distilled` are the batches of distillation and its mean losses at the first and the last of them.
    """

    initializer: str
    added: int | None
    methods: Mapping[str, int]
    reasons: Mapping[str, int]
    examples: tuple[NewRow, ...]
    seconds: float | None
    distilled: tuple[int, float, float] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComparedStart:
    """One initialiser on the same held-out blocks: the loss at once and after the probe, in nats a masked
    piece, and the seconds that its rows took."""

    method: str
    loss: float
    probed: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`compare.json`: the initialisers tried; in the probe the rows alone were trained for `probe_steps`."""

    starts: tuple[ComparedStart, ...]
    probe_steps: int


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One line of `pretrain/metrics.jsonl`; losses in nats a prediction."""

    step: int
    stage: str
    mlm_loss: float | None
    nsp_loss: float | None
    learning_rate: float | None
    tokens: float | None
    tokens_per_second: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """Loss in nats a prediction on held-out text of one language, its standard error and its perplexity."""

    loss: float
    standard_error: float | None = None
    perplexity: float | None = None


@dataclass(frozen=True, slots=True)
class Forgetting:
    """An old language's held-out loss before and now on the same predictions of old pieces, in nats.

    `standard_error` is that of `change`, which is above 0 for what was forgotten.
    """

    before: float
    now: float
    change: float
    standard_error: float | None

    @property
    def noise(self) -> bool | None:
        """Whether zero lies within the 95 % interval of the change; None when no error is known."""
        return None if self.standard_error is None else abs(self.change) <= 1.96 * self.standard_error


@dataclass(frozen=True, slots=True)
class TrainingEvent:
    """What happened at a step: `kind` is spike, left-out or stopped; `why` and `action` as the file has them.

    A spike's `loss` stands against `mean` and `deviation` of the steps before; `samples` are first and last.
    """

    step: int
    kind: str
    why: str = ""
    action: str = ""
    loss: float | None = None
    mean: float | None = None
    deviation: float | None = None
    samples: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PretrainStage:
    """`pretrain/`: held-out losses by language, after training and of the base (`base_held_out`).

    `evaluations` are step and held-out losses by language, from step 0 on. `facts` are how it was trained
    (precision, processes, devices); `ended` is why it ended before its last step, if it did.
    """

    steps: int | None
    tokens: float | None
    tokens_per_second: float | None
    seconds: float | None
    resumed_from: int | None
    held_out: Mapping[str, HeldOutLoss]
    base_held_out: Mapping[str, HeldOutLoss]
    log: tuple[LoggedStep, ...]
    evaluations: tuple[tuple[int, Mapping[str, HeldOutLoss]], ...]
    forgetting: Mapping[str, Forgetting] = field(default_factory=dict)
    events: tuple[TrainingEvent, ...] = ()
    ended: str = ""
    left_out: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TypeScore:
    """Span scores of one entity type, in percent; `support` counts gold entities."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int | None


@dataclass(frozen=True, slots=True)
class StratumScore:
    """F1 in percent of some of the entities (`seen`, `with_unk`, `words_2`, ...), `support` of them gold."""

    name: str
    f1: float | None
    interval: tuple[float, float] | None
    support: int | None


@dataclass(frozen=True, slots=True)
class NerScore:
    """One encoder on one language. F1 and its interval in percent, one F1 a seed; rates are fractions.

    `lenient` has the mean F1 of scores that forgive: of the type (`span`), of the bounds (`overlap`).
    """

    encoder: str
    language: str
    f1_mean: float | None
    f1_std: float | None
    f1: tuple[float, ...]
    interval: tuple[float, float] | None
    strict_f1_mean: float | None
    illegal: float | None
    rates: TextRates
    collapsed: int | None
    mistakes: Mapping[str, int]
    types: tuple[TypeScore, ...]
    median: float | None = None
    lenient: Mapping[str, float] = field(default_factory=dict)
    strata: tuple[StratumScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference of two encoders on the same sentences, in F1 points.

    `p` is adjusted for the number of languages (Holm); `identical` says that the tags were the very same.
    """

    language: str
    encoder: str
    against: str
    points: float
    interval: tuple[float, float] | None
    p: float | None = None
    identical: bool = False

    @property
    def noise(self) -> bool | None:
        """Whether it may be chance: zero lies inside the interval, or p is 0.05 or more. None when no
        interval was computed."""
        if self.interval is None:
            return None
        return self.interval[0] <= 0 <= self.interval[1] or (self.p is not None and self.p >= ALPHA)

    @property
    def kind(self) -> str:
        """gain, loss, noise, kept (the very same tags) or note (no interval was computed)."""
        if self.identical:
            return "kept"
        if self.noise is None:
            return "note"
        return "noise" if self.noise else "gain" if self.points > 0 else "loss"


@dataclass(frozen=True, slots=True)
class GroupAverage:
    """The mean F1 over some languages, which are named, by encoder with its interval; in percent."""

    name: str
    languages: tuple[str, ...]
    means: tuple[tuple[str, float | None, tuple[float, float] | None], ...]


@dataclass(frozen=True, slots=True)
class NerStage:
    """One `ner/NAME/results.json`. `data` counts each test set by its dotted name (`si.test.entities`)."""

    name: str
    protocol: str
    source: str
    labels: tuple[str, ...]
    scores: tuple[NerScore, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    data: Mapping[str, float]
    fingerprints: Mapping[str, str]
    seconds: float | None
    groups: tuple[GroupAverage, ...] = ()

    def score(self, encoder: str, language: str) -> NerScore | None:
        pairs = ((score.encoder, score.language) for score in self.scores)
        found = [index for index, pair in enumerate(pairs) if pair == (encoder, language)]
        return self.scores[found[0]] if found else None


@dataclass(frozen=True, slots=True)
class EncoderText:
    """What one encoder does with held-out text of the new language."""

    rates: TextRates = TextRates()
    mlm_loss: float | None = None
    mlm_loss_per_word: float | None = None


@dataclass(frozen=True)
class RunReport:
    """Everything the page, the card and the terminal table show. Any stage may be missing."""

    directory: Path
    language: Language
    provenance: Provenance
    settings: Mapping[str, str]
    vocabulary: VocabularyStage | None
    growth: GrowthStage | None
    pretraining: PretrainStage | None
    ner: tuple[NerStage, ...]
    encoder_texts: Mapping[str, EncoderText]
    comparison: Comparison | None = None
    published: Published | None = None

    @property
    def encoders(self) -> Sequence[str]:
        """Every encoder that some file measured, base first."""
        named = [*self.encoder_texts, *(score.encoder for stage in self.ner for score in stage.scores)]
        if self.vocabulary and self.vocabulary.held_out:
            named += self.vocabulary.held_out
        return sorted(dict.fromkeys(named), key=_place)

    def protocol(self, protocol: str) -> NerStage | None:
        return next((stage for stage in self.ner if stage.protocol == protocol), None)


def _place(encoder: str) -> int:
    return ENCODERS.index(encoder) if encoder in ENCODERS else len(ENCODERS)
