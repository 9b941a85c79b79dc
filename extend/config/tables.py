"""The settings, table by table: frozen, strictly typed, every key with what it means."""

import re
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]

_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([MGT])B")
Memory = Annotated[str, Field(pattern=f"^{_MEMORY.pattern}$")]


def _size(value: Any) -> Any:
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("a whole number of at least 1, or auto")
    return value


Size = Annotated[int | Literal["auto"], pydantic.BeforeValidator(_size)]


class Settings(pydantic.BaseModel):
    """Frozen; unknown keys are errors; strict types (a number is not a string)."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class VocabSettings(Settings):
    """`extend vocab`."""

    size: Size = Field(30_000, description="new pieces at most (EXTEND: 30,000); auto: the knee of the curve")
    min_count: AtLeastOne = Field(2, description="a piece is used at least this often in the corpus")
    max_piece_length: AtLeastOne = Field(64, description="characters of the longest new piece")
    protect: list[str] = Field(default_factory=list, description="text whose words must not be cut otherwise")
    max_drift: Fraction = Field(0.001, description="share of `protect`'s words that may be cut otherwise")
    veto: str | None = Field(None, description="file of pieces that are never taken, one a line")
    score_mix: Annotated[float, Field(gt=0, le=1)] = Field(
        0.03, description="share of the new pieces in the mixture of scores (Unigram bases)"
    )
    max_unk: Fraction = Field(1.0, description="refuse when more of the held-out words stay unknown")
    memory: Memory = Field("4GB", description="memory that counting may use")
    processes: AtLeastOne | None = Field(None, description="counting processes; default: one a core")
    held_out_share: Fraction = Field(0.02, description="share of lines kept out of counting")
    held_out_lines: AtLeastOne = Field(200, description="held-out lines at least")

    @property
    def memory_bytes(self) -> int:
        found = _MEMORY.fullmatch(self.memory)
        assert found, "checked when it was read"
        return int(float(found[1]) * 1000 ** (" MGT".index(found[2]) + 1))


class ReadingSettings(Settings):
    """How text files are read, by every command."""

    strict: bool = Field(False, description="refuse bytes that are not UTF-8 instead of replacing them")
    on_bad_file: Literal["stop", "skip"] = Field("stop", description="skip: leave out broken files whole")


class GrowSettings(Settings):
    """`extend grow`."""

    init: str = Field("subword", description="how new rows start: one of extend.initializers.INITIALIZERS")
    bias: str | None = Field(None, description="zero, mean, pieces or frequency; default: the method's own")
    vectors: str | None = Field(None, description="word vectors of the new language (focus, ofa, wechsel)")
    base_vectors: str | None = Field(None, description="word vectors of a language the base knows (wechsel)")
    dictionary: str | None = Field(None, description="pairs: new word, its translation (dictionary, wechsel)")
    helper: str | None = Field(None, description="a model of the new language: folder or hub name (clp)")
    distil_lines: Count = Field(0, description="lines of text on which started rows are distilled")
    options: dict[str, bool | int | float] = Field(
        default_factory=dict, description="the method's own settings, as scale of mvn or sparse of clp"
    )


class ScratchSettings(Settings):
    """A base trained from nothing by `extend pretrain --from-scratch`."""

    languages: dict[str, list[str]] = Field(default_factory=dict, description="corpus files by language")
    architecture: Literal["bert", "modernbert"] = Field("modernbert", description="of the encoder")
    hidden_size: AtLeastOne = Field(192, description="dimensions of a vector")
    layers: AtLeastOne = Field(3, description="transformer layers")
    heads: AtLeastOne = Field(3, description="attention heads a layer")
    intermediate_size: AtLeastOne = Field(
        576, description="dimensions between a feed-forward block's two maps"
    )
    vocab_size: AtLeastOne = Field(16_000, description="pieces to learn when no vocabulary is given")
    vocabulary: str | None = Field(None, description="a vocab.txt to cut to the pieces that occur")
    min_count: AtLeastOne = Field(3, description="occurrences that keep a piece of `vocabulary`")


class PretrainSettings(Settings):
    """`extend pretrain`. The defaults are the paper's (EXTEND, section 4) but for NSP, which is off."""

    steps: Count = Field(500_000, description="optimizer steps in all, new_rows_steps among them")
    new_rows_steps: Count = Field(0, description="first steps, which train the new rows and biases alone")
    train: Literal["all", "embeddings", "new-rows"] = Field("all", description="what the other steps train")
    batch_size: AtLeastOne = Field(32, description="samples a step, over all processes")
    micro_batch: AtLeastOne | None = Field(
        None, description="samples a forward pass; default: a process's share"
    )
    length: Annotated[int, Field(ge=8, le=8192)] = Field(128, description="tokens a block")
    packing: Literal["blocks", "documents"] = Field(
        "blocks", description="blocks: text to the brim; documents: whole documents, apart in attention"
    )
    learning_rate: Positive = Field(2e-5, description="highest rate, after the warm-up")
    new_rows_learning_rate: Positive = Field(1e-3, description="the same in the steps of the new rows alone")
    warmup_steps: Count = Field(10_000, description="steps in which the rate rises")
    new_rows_warmup_steps: Count = Field(100, description="the same in the steps of the new rows alone")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="AdamW's, of weight matrices")
    clip: Positive = Field(1.0, description="largest gradient norm")
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = Field(None, description="default: the base's own")
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = Field(0.15, description="share of tokens to predict")
    max_predictions: AtLeastOne | None = Field(None, description="masked tokens a sample at most (paper: 20)")
    duplicates: Count = Field(0, description="epochs after which masks come again; 0: never (paper: 5)")
    whole_word: bool = Field(True, description="mask all pieces of a word together")
    nsp: bool = Field(False, description="next-sentence prediction beside MLM (BertForPreTraining)")
    softmax: Literal["full", "active"] = Field("full", description="active: over ids that occur in the text")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="of the forward and backward pass")
    compile: bool = Field(False, description="torch.compile the step")
    deterministic: bool = Field(False, description="only kernels that give the same bits again (GPU)")
    processes: AtLeastOne | None = Field(None, description="tokenising processes; default: one a core")
    mix_exponent: Fraction = Field(0.7, description="languages are drawn by (their lines)^exponent")
    replay: dict[str, list[str]] = Field(default_factory=dict, description="corpus files of old languages")
    replay_share: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="share of replayed blocks")
    distil_weight: NotNegative = Field(0.0, description="of the KL divergence to the base on replayed text")
    distil_temperature: Positive = Field(2.0, description="of both distributions in that divergence")
    l2_to_base: NotNegative = Field(0.0, description="pull of the old weights towards the base's")
    adapt: Literal["none", "lora"] = Field("none", description="lora: adapters beside a frozen encoder")
    lora_rank: AtLeastOne = Field(16, description="rank of the adapters")
    lora_alpha: Positive = Field(32.0, description="their scale, divided by the rank")
    watch: dict[str, list[str]] = Field(
        default_factory=dict, description="corpus files of languages to protect: measured, not trained on"
    )
    max_forgetting: Positive | None = Field(
        None, description="stop when a watched or replayed language loses more (nats of held-out loss)"
    )
    patience: Count = Field(0, description="evaluations without gain before stopping; 0: never")
    bad_steps: Count = Field(3, description="steps in a row that may be left out as not finite")
    on_spike: Literal["warn", "skip", "rewind", "stop"] = Field("warn", description="when the loss jumps")
    watchdog: Count = Field(600, description="seconds without a step before the run is ended; 0: never")
    report_to: list[Literal["tensorboard", "trackio", "wandb"]] = Field(
        default_factory=list, description="trackers beside metrics.jsonl"
    )
    save_every: AtLeastOne = Field(1000, description="steps between checkpoints")
    keep: AtLeastOne = Field(2, description="checkpoints kept")
    log_every: AtLeastOne = Field(20, description="steps between lines of metrics.jsonl")
    eval_every: Count = Field(0, description="steps between held-out evaluations; 0: only at the end")
    seed: Count | None = Field(None, description="default: the run's seed")


class NerData(Settings):
    """Files of one language's NER set."""

    train: str | None = None
    dev: str | None = None
    test: str | None = None
    format: str | None = Field(None, description="jsonl, conll:1:4, ...; default: as the content shows")


class NerSettings(Settings):
    """`extend ner-eval`: the paper's protocol (BiLSTM-CRF on the frozen encoder)."""

    data: dict[str, NerData] = Field(default_factory=dict, description="files, or hf:DATASET, by language")
    source: str = Field("en", description="the language that zero-shot heads are trained on")
    targets: list[str] = Field(default_factory=list, description="default: the run's language")
    labels: list[str] = Field(default_factory=list, description="entity types kept; default all")
    map: dict[str, str] = Field(
        default_factory=dict, description="new names of entity types by old name; O: none"
    )
    seeds: AtLeastOne = Field(5, description="heads trained, each from its own seed")
    epochs: AtLeastOne = Field(75, description="at most")
    patience: AtLeastOne = Field(25, description="epochs without gain on the selection set before stopping")
    batch_size: AtLeastOne = Field(32, description="sentences a step")
    hidden_size: AtLeastOne = Field(200, description="of the BiLSTM, a direction")
    layers: AtLeastOne = Field(2, description="of the BiLSTM")
    dropout: Fraction = Field(0.5, description="on word vectors, and within and after the BiLSTM")
    learning_rate: Positive = Field(1e-3, description="of the head")
    clip: Positive = Field(5.0, description="largest gradient norm")
    seed: Count | None = Field(None, description="of the first head; default: the run's seed")
    paper: bool = Field(False, description="EXTEND's released configuration; changed settings win")
    encoders: dict[str, str] = Field(default_factory=dict, description="more encoders by name: folder or hub")
    mode: Literal["frozen", "finetune"] = Field("frozen", description="finetune: train the encoder too")
    encoder_layers: Literal["last", "mean", "mix"] = Field("last", description="mix: a trained one of all")
    pooling: Literal["first", "mean"] = Field("first", description="vector of a word from its pieces")
    window: AtLeastOne | None = Field(None, description="pieces read at once; default: at most 512")
    precision: Literal["float32", "float16"] = Field("float32", description="of word vectors that are kept")
    head: Literal["bilstm-crf", "bilstm-softmax", "linear"] = Field("bilstm-crf", description="the tagger")
    scheme: Literal["IOB2", "BIOUL"] = Field("IOB2", description="tags inside the head")
    constrain: Literal["train", "decode", "none"] = Field(
        "train", description="where illegal tag sequences are forbidden; train: in the loss too"
    )
    start_end: bool = Field(True, description="whether the CRF scores first and last tags")
    pool: AtLeastOne = Field(20, description="batches within which sentences are sorted by length; 1: none")
    select: list[Literal["source-dev", "target-dev oracle", "last", "averaged"]] = Field(
        ["source-dev", "target-dev oracle", "last", "averaged"],
        min_length=1,
        description="the weights tested; the first are scored, the others told beside",
    )
    few_shot: list[AtLeastOne] = Field(
        default_factory=list, description="sentences of the target beside the source's; a protocol each"
    )
    encoder_learning_rate: Positive = Field(5e-5, description="of the encoder, with mode finetune")
    warmup: Fraction = Field(0.1, description="share of steps in which rates rise, with mode finetune")
    groups: dict[str, list[str]] = Field(
        default_factory=dict, description="languages averaged over, by name; default: all there are"
    )
    keep: Literal["best", "all", "none"] = Field("best", description="heads saved, for extend ner-tag")
    cache: str = Field("", description="folder for word vectors; default: in the run folder; off: none")
    cache_gib: Positive = Field(20.0, description="largest size of that folder")


class RunSettings(Settings):
    """One run: one language brought to one base."""

    lang: str = Field("", description="language code, name or autonym")
    base: str = Field(
        "google-bert/bert-base-multilingual-cased", description="encoder to start from: hub name or folder"
    )
    revision: str | None = Field(None, description="commit or branch of the base; default: its main one")
    corpus: list[str] = Field(default_factory=list, description="files, folders, globs or hf:DATASET")
    seed: Count = Field(1, description="of everything drawn")
    licenses: dict[str, str] = Field(
        default_factory=dict, description="licences by what they cover: model, corpus, ner"
    )
    reading: ReadingSettings = ReadingSettings()
    vocab: VocabSettings = VocabSettings()
    grow: GrowSettings = GrowSettings()
    scratch: ScratchSettings = ScratchSettings()
    pretrain: PretrainSettings = PretrainSettings()
    ner: NerSettings = NerSettings()

    @property
    def pretrain_seed(self) -> int:
        return self.seed if self.pretrain.seed is None else self.pretrain.seed

    @property
    def ner_seed(self) -> int:
        return self.seed if self.ner.seed is None else self.ner.seed
