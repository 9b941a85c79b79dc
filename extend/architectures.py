"""The models that can be grown and trained: where each keeps its encoder, its decoder and its heads.

The foreign attribute names live here, as data; a new architecture is one line in ARCHITECTURES and its test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    DebertaV2ForMaskedLM,
    EuroBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaForMaskedLM,
    XLMRobertaForMaskedLM,
)

from extend.errors import UsageError
from extend.types import SpecialIds


@final
@dataclass(frozen=True)
class Head:
    """A masked-language-model head: hidden states are transformed, multiplied with a row a piece, shifted.

    `transform` lists what comes before the product, in order: paths of modules, or functions. `decoder` is
    the path of the linear layer that holds the rows, None for a head that takes them from the input
    embedding itself. `bias` names the parameter that is added, `twin` the other name it is stored under;
    None for a head that adds none.
    """

    transform: tuple[str | Callable[[Tensor], Tensor], ...]
    decoder: str | None
    bias: str | None
    twin: str | None = None

    def parameters(self) -> list[str]:
        """Paths of the parameters with an entry for each piece."""
        rows = None if self.decoder is None else f"{self.decoder}.weight"
        return [path for path in (rows, self.bias, self.twin) if path is not None]


@final
@dataclass(frozen=True)
class Architecture:
    """One masked-language-model class of transformers.

    `encoder` is the path of the part that gives hidden states; `heads` are the layouts its head comes in, a
    model has the first whose parts it has. `next_sentence` is the path of the two-way next-sentence head, if
    there is one. `positions_skip_padding` says that positions count the tokens that are not padding, starting
    after the padding id, as in fairseq.
    """

    model_class: type[PreTrainedModel]
    encoder: str
    heads: tuple[Head, ...]
    next_sentence: str | None = None
    positions_skip_padding: bool = False

    def encode(
        self,
        model: PreTrainedModel,
        embedded: Float[Tensor, "batch seq width"],
        **inputs: Tensor | dict[str, Tensor],
    ) -> Float[Tensor, "batch seq hidden"]:
        """Last hidden states of embedded tokens (before positions and normalisation).

        Transformers counts RoBERTa's positions from ids; embedded tokens it takes for tokens all, so here
        they are counted from `attention_mask`, shape (batch, seq).
        """
        mask = inputs.get("attention_mask")
        if self.positions_skip_padding and isinstance(mask, Tensor) and "position_ids" not in inputs:
            present = mask.long()
            inputs["position_ids"] = present.cumsum(dim=1) * present + model.config.pad_token_id
        output = model.get_submodule(self.encoder)(inputs_embeds=embedded, **inputs)
        return cast(Tensor, output.last_hidden_state)

    def head(self, model: PreTrainedModel) -> Head:
        """The layout of this model's head. Raises UsageError for one that is not known."""
        for head in self.heads:
            if all(_has_parameter(model, path) for path in head.parameters()):
                return head
        raise UsageError(
            f"this {self.model_class.__name__} has another head than its class", name="E-ARCHITECTURE"
        )

    def embedding(self, model: PreTrainedModel) -> nn.Parameter:
        """The input embedding, shape (vocab, width)."""
        return cast(nn.Parameter, model.get_input_embeddings().weight)

    def output(self, model: PreTrainedModel) -> nn.Parameter:
        """The decoder's rows, shape (vocab, width): the input embedding itself where the two are tied."""
        decoder = self.head(model).decoder
        if decoder is None:
            return self.embedding(model)
        return cast(nn.Parameter, model.get_submodule(decoder).weight)

    def bias(self, model: PreTrainedModel) -> nn.Parameter:
        """The decoder's bias, shape (vocab,); for a decoder without one frozen zeros, which no file holds."""
        path = self.head(model).bias
        if path is None:
            return nn.Parameter(self.embedding(model).new_zeros(len(self.embedding(model))), False)
        return cast(nn.Parameter, model.get_parameter(path))

    def has_bias(self, model: PreTrainedModel) -> bool:
        """Whether the decoder adds a bias that can be trained and is saved."""
        return self.head(model).bias is not None

    def vocabulary_parameters(self, model: PreTrainedModel) -> dict[str, nn.Parameter]:
        """Every parameter with an entry for each piece, each once, by the first of its names here.

        `embedding`, then `output` where it is another, then `bias`, then `twin` where an untied model keeps
        a second bias, which no logit sees but its file holds.
        """
        head = self.head(model)
        found = {"embedding": self.embedding(model), "output": self.output(model)}
        found |= {} if head.bias is None else {"bias": model.get_parameter(head.bias)}
        found |= {} if head.twin is None else {"twin": model.get_parameter(head.twin)}
        distinct: dict[int, str] = {}
        for name, parameter in found.items():
            distinct.setdefault(id(parameter), name)
        return {name: found[name] for name in distinct.values()}

    def prepare(
        self, model: PreTrainedModel, hidden: Float[Tensor, "*rows hidden"]
    ) -> Float[Tensor, "*rows width"]:
        """What the decoder multiplies with its rows."""
        for step in self.head(model).transform:
            hidden = model.get_submodule(step)(hidden) if isinstance(step, str) else step(hidden)
        return hidden

    def next_sentence_logits(
        self, model: PreTrainedModel, hidden: Float[Tensor, "batch seq hidden"]
    ) -> Float[Tensor, "batch 2"]:
        """Logits of (B follows A, B does not) from the first position's hidden state."""
        assert self.next_sentence is not None
        pooled = model.get_submodule(f"{self.encoder}.pooler")(hidden)
        return cast(Tensor, model.get_submodule(self.next_sentence)(pooled))


def _has_parameter(model: PreTrainedModel, path: str) -> bool:
    try:
        model.get_parameter(path)
    except AttributeError:
        return False
    return True


_BERT_HEADS = (
    Head(
        ("cls.predictions.transform",),
        "cls.predictions.decoder",
        "cls.predictions.decoder.bias",
        twin="cls.predictions.bias",
    ),
)
_ROBERTA_HEADS = (
    Head(
        ("lm_head.dense", nn.functional.gelu, "lm_head.layer_norm"),
        "lm_head.decoder",
        "lm_head.decoder.bias",
        twin="lm_head.bias",
    ),
)
_DEBERTA_V3 = "lm_predictions.lm_head"  # the layout of Microsoft's own files (config.legacy is false)
_DEBERTA_HEADS = (
    *_BERT_HEADS,
    Head(
        (f"{_DEBERTA_V3}.dense", f"{_DEBERTA_V3}.transform_act_fn", f"{_DEBERTA_V3}.LayerNorm"),
        None,
        f"{_DEBERTA_V3}.bias",
    ),
)
_MODERNBERT_HEADS = (Head(("head",), "decoder", "decoder.bias"), Head(("head",), "decoder", None))
_EUROBERT_HEADS = (Head((), "lm_head", "lm_head.bias"), Head((), "lm_head", None))

ARCHITECTURES: dict[str, Architecture] = {
    "BertForPreTraining": Architecture(
        BertForPreTraining, "bert", _BERT_HEADS, next_sentence="cls.seq_relationship"
    ),
    "BertForMaskedLM": Architecture(BertForMaskedLM, "bert", _BERT_HEADS),
    "ModernBertForMaskedLM": Architecture(ModernBertForMaskedLM, "model", _MODERNBERT_HEADS),
    "XLMRobertaForMaskedLM": Architecture(
        XLMRobertaForMaskedLM, "roberta", _ROBERTA_HEADS, positions_skip_padding=True
    ),
    "RobertaForMaskedLM": Architecture(
        RobertaForMaskedLM, "roberta", _ROBERTA_HEADS, positions_skip_padding=True
    ),
    "DebertaV2ForMaskedLM": Architecture(DebertaV2ForMaskedLM, "deberta", _DEBERTA_HEADS),
    "EuroBertForMaskedLM": Architecture(EuroBertForMaskedLM, "model", _EUROBERT_HEADS),
}


def architecture_of(model: PreTrainedModel) -> Architecture:
    """Raises UsageError, listing what is supported, for a model that cannot be grown and trained."""
    name = type(model).__name__
    if name not in ARCHITECTURES:
        raise UsageError(
            f"a {name} cannot be extended",
            name="E-ARCHITECTURE",
            why=f"supported with their masked-language-model heads: {', '.join(ARCHITECTURES)}",
        )
    return ARCHITECTURES[name]


def new_model(
    kind: str, *, special: SpecialIds, hidden: int, layers: int, heads: int, intermediate: int, seed: int
) -> PreTrainedModel:
    """A fresh model with random weights: `bert` (learned positions, NSP head) or `modernbert` (rotary).

    Both start weights from N(0, 0.02) and biases from 0, as their papers do; dropout is 0.1 in BERT and 0
    in ModernBERT. A small encoder from scratch leaves the plateau of word frequencies far sooner with
    rotary positions. Raises UsageError for sizes that do not fit each other.
    """
    if hidden % heads or (kind == "modernbert" and (hidden // heads) % 2):
        raise UsageError(
            f"hidden_size {hidden} cannot be split into {heads} attention heads",
            name="E-CONFIG",
            next="choose scratch.heads so that each head has an even whole number of dimensions",
        )
    sizes = {
        "vocab_size": special.vocab_size,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "pad_token_id": special.pad,
    }
    torch.manual_seed(seed)
    if kind == "bert":
        return BertForPreTraining(BertConfig(**sizes, architectures=["BertForPreTraining"]))
    return ModernBertForMaskedLM(
        ModernBertConfig(
            **sizes,
            max_position_embeddings=8192,
            bos_token_id=special.start,
            eos_token_id=special.end,
            cls_token_id=special.start,
            sep_token_id=special.end,
            layer_types=["full_attention"] * layers,
            architectures=["ModernBertForMaskedLM"],
        )
    )
