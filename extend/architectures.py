"""The models that can be grown and trained: where each keeps its encoder, its decoder and its heads.

The foreign attribute names live here, as data; a new architecture is one line in ARCHITECTURES and its test.
"""

from dataclasses import dataclass
from typing import cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
)

from extend.errors import UsageError
from extend.types import SpecialIds


@final
@dataclass(frozen=True)
class Architecture:
    """One masked-language-model class of transformers.

    `encoder`, `transform` and `decoder` are attribute paths: the encoder gives hidden states, the transform
    prepares them for the decoder, the decoder (weights tied to the input embedding, and a bias) gives
    logits. `next_sentence` is the path of the two-way next-sentence head, if there is one.
    """

    model_class: type[PreTrainedModel]
    encoder: str
    transform: str
    decoder: str
    next_sentence: str | None
    segments: bool

    def encode(
        self, model: PreTrainedModel, embedded: Float[Tensor, "batch seq hidden"], **inputs: Tensor
    ) -> Float[Tensor, "batch seq hidden"]:
        """Last hidden states of embedded tokens (before positions and normalisation)."""
        output = model.get_submodule(self.encoder)(inputs_embeds=embedded, **inputs)
        return cast(Tensor, output.last_hidden_state)

    def embedding(self, model: PreTrainedModel) -> nn.Parameter:
        """The input embedding, shape (vocab, hidden), which is the decoder's weight too."""
        return cast(nn.Parameter, model.get_input_embeddings().weight)

    def bias(self, model: PreTrainedModel) -> nn.Parameter:
        """The decoder's bias, shape (vocab,)."""
        return cast(nn.Parameter, model.get_submodule(self.decoder).bias)

    def prepare(
        self, model: PreTrainedModel, hidden: Float[Tensor, "*rows hidden"]
    ) -> Float[Tensor, "*rows hidden"]:
        """What the decoder multiplies with its rows."""
        return cast(Tensor, model.get_submodule(self.transform)(hidden))

    def next_sentence_logits(
        self, model: PreTrainedModel, hidden: Float[Tensor, "batch seq hidden"]
    ) -> Float[Tensor, "batch 2"]:
        """Logits of (B follows A, B does not) from the first position's hidden state."""
        assert self.next_sentence is not None
        pooled = model.get_submodule(f"{self.encoder}.pooler")(hidden)
        return cast(Tensor, model.get_submodule(self.next_sentence)(pooled))


ARCHITECTURES: dict[str, Architecture] = {
    "BertForPreTraining": Architecture(
        BertForPreTraining,
        "bert",
        "cls.predictions.transform",
        "cls.predictions.decoder",
        "cls.seq_relationship",
        True,
    ),
    "BertForMaskedLM": Architecture(
        BertForMaskedLM, "bert", "cls.predictions.transform", "cls.predictions.decoder", None, True
    ),
    "ModernBertForMaskedLM": Architecture(ModernBertForMaskedLM, "model", "head", "decoder", None, False),
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
