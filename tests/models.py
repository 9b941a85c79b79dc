"""Tiny real checkpoints for tests: every architecture the toolkit grows, with a WordPiece tokenizer.

The folders have what a published checkpoint has and load with AutoModel and AutoTokenizer, offline.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    EuroBertConfig,
    EuroBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

SPECIAL_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD_PIECES = ("the", "house", "river", "##er", "##ing", "walk", "stone", ".", ",")
PIECES = (*SPECIAL_PIECES, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORD_PIECES)
ARCHITECTURES = ("bert-pretraining", "bert-mlm", "modernbert")
TIED = (*ARCHITECTURES, "roberta", "xlm-roberta", "deberta-v2", "deberta-v3", "modernbert-no-bias")
UNTIED = ("eurobert", "eurobert-bias", "bert-untied", "xlm-roberta-untied")
EVERY_ARCHITECTURE = (*TIED, *UNTIED)


def tiny_model(
    architecture: str = "bert-pretraining",
    *,
    vocab_size: int = len(PIECES),
    hidden: int = 32,
    layers: int = 2,
    seed: int = 0,
) -> PreTrainedModel:
    """A seeded model in eval mode; the decoder bias is drawn too, so that a lost bias is seen."""
    sizes = {
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": 128,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(architecture, sizes)
        for name, parameter in model.named_parameters():
            if name.endswith("bias") and parameter.shape == (vocab_size,):
                torch.nn.init.normal_(parameter, mean=-0.3, std=0.1)
    return model.eval()


def _build(architecture: str, sizes: Mapping[str, int]) -> PreTrainedModel:
    """`deberta-v2` has the head transformers gives it, `deberta-v3` that of Microsoft's own files."""
    bare = architecture.removesuffix("-untied").removesuffix("-bias").removesuffix("-no")
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    more: dict[str, Any] = {"cls_token_id": 2, "sep_token_id": 3} if bare == "modernbert" else {}
    more |= {"tie_word_embeddings": False} if architecture.endswith("-untied") else {}
    more |= {"decoder_bias": False} if architecture == "modernbert-no-bias" else {}
    more |= {"mlp_bias": True} if architecture == "eurobert-bias" else {}
    more |= {"mask_token_id": 4} if bare == "eurobert" else {}
    if bare.startswith("deberta"):
        more |= {"relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]}
        more |= {"position_biased_input": False, "type_vocab_size": 0, "norm_rel_ebd": "layer_norm"}
        more |= {"legacy": bare == "deberta-v2", "share_att_key": True}
    kinds: dict[str, tuple[Any, Any]] = {
        "bert-pretraining": (BertForPreTraining, BertConfig),
        "bert-mlm": (BertForMaskedLM, BertConfig),
        "bert": (BertForMaskedLM, BertConfig),
        "modernbert": (ModernBertForMaskedLM, ModernBertConfig),
        "roberta": (RobertaForMaskedLM, RobertaConfig),
        "xlm-roberta": (XLMRobertaForMaskedLM, XLMRobertaConfig),
        "deberta-v2": (DebertaV2ForMaskedLM, DebertaV2Config),
        "deberta-v3": (DebertaV2ForMaskedLM, DebertaV2Config),
        "eurobert": (EuroBertForMaskedLM, EuroBertConfig),
    }
    if bare not in kinds:
        raise ValueError(f"architecture is one of {EVERY_ARCHITECTURE}, got {architecture!r}")
    model_class, config_class = kinds[bare]
    if bare.startswith("bert"):
        special = {}
    return model_class(config_class(**sizes, **special, **more))


def tiny_tokenizer(pieces: Sequence[str] = PIECES) -> Tokenizer:
    """BERT cased rules over `pieces`, which hold the five special ones."""
    ids = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL_PIECES))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return tokenizer


def write_tokenizer(directory: Path, pieces: Sequence[str] = PIECES) -> Path:
    """vocab.txt, tokenizer.json and tokenizer_config.json of a cased BERT."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    tiny_tokenizer(pieces).save(str(directory / "tokenizer.json"))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    settings: dict[str, Any] = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": False,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "model_max_length": 128,
        **dict(zip(names, SPECIAL_PIECES, strict=True)),
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return directory


def tiny_checkpoint(
    directory: Path,
    *,
    architecture: str = "bert-pretraining",
    pieces: Sequence[str] | None = None,
    hidden: int = 32,
    layers: int = 2,
    seed: int = 0,
) -> Path:
    """A checkpoint folder: `architecture` is in EVERY_ARCHITECTURE, `pieces` the vocabulary in id order."""
    pieces = PIECES if pieces is None else pieces
    write_tokenizer(directory, pieces)
    model = tiny_model(architecture, vocab_size=len(pieces), hidden=hidden, layers=layers, seed=seed)
    model.save_pretrained(directory)
    return directory
