"""Rows belong to pieces: a tokenizer that moves a piece, or is another model's, is refused before growing."""

import pytest
import torch
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

from extend.errors import CheckpointError
from extend.growth import check_base, extension_of, grow_
from extend.tokenizer import kind_of, new_unigram_tokenizer, special_ids
from extend.types import SpecialIds, Vocabulary, VocabularyExtension
from tests.models import PIECES, tiny_model, tiny_tokenizer
from tests.unigram_models import HANDFUL, SPECIAL, handful_tokenizer

ADDED = {"▁xy": -6.5, "zx": -7.5}


def pieces_of(tokenizer):
    return kind_of(tokenizer).vocabulary(tokenizer)


def glot500_tokenizer():
    """New pieces at the end of the SentencePiece model, `<mask>` after them, as every converter puts it."""
    special = [(token, 0.0) for token in SPECIAL]
    return new_unigram_tokenizer([*special, *HANDFUL.items(), *ADDED.items(), ("<mask>", 0.0)])


def extended_tokenizer():
    base = handful_tokenizer()
    extension = VocabularyExtension(pieces_of(base), tuple(ADDED))
    return kind_of(base).extended(base, extension, scores=list(ADDED.values()))


def xlm_roberta(vocab_size=None):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    size = vocab_size or handful_tokenizer().get_vocab_size()
    return XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=size, **sizes, pad_token_id=1)).eval()


def test_an_extension_keeps_every_piece_in_its_row():
    base, extended = handful_tokenizer(), extended_tokenizer()
    assert extension_of(pieces_of(base), pieces_of(extended)).added == tuple(ADDED)
    model = xlm_roberta()
    before = model.get_input_embeddings().weight.detach().clone()
    grow_(model, torch.ones(2, 16), torch.zeros(2))
    after = model.get_input_embeddings().weight
    for piece, at in pieces_of(base).ids.items():
        assert torch.equal(after[extended.token_to_id(piece)], before[at]), piece
    assert special_ids(extended).mask == special_ids(base).mask


def test_a_mask_that_moved_is_refused():
    """Glot500: what the trained `<mask>` row has by position is a new piece's."""
    base, moved = handful_tokenizer(), glot500_tokenizer()
    mask = base.token_to_id("<mask>")
    assert moved.id_to_token(mask) == "▁xy"
    message = rf"moves 1 of .*<mask> had id {mask} and has id {mask + 2}"
    with pytest.raises(CheckpointError, match=message) as told:
        extension_of(pieces_of(base), pieces_of(moved))
    assert (told.value.name, told.value.exit_code) == ("E-ALIGNMENT", 8)


@pytest.mark.parametrize(
    ("extended", "told"),
    [
        (("x", "b", "c", "d"), "moves 1 of the base's 3 pieces: a had id 0 and is gone"),
        (("b", "a", "c"), "moves 2 of the base's 3 pieces: a had id 0 and has id 1"),
        (("a", "b"), "c had id 2 and is gone"),
        (("a", "b", "d", "c"), "c had id 2 and has id 3"),
    ],
)
def test_the_first_piece_that_moved_is_named(extended, told):
    with pytest.raises(CheckpointError, match=told):
        extension_of(Vocabulary(("a", "b", "c")), Vocabulary(extended))


def test_pieces_from_files_are_escaped():
    with pytest.raises(CheckpointError) as told:
        extension_of(Vocabulary(("a\u202eb",)), Vocabulary(("c",)))
    assert "\u202e" not in told.value.what


def test_nothing_added_is_an_extension():
    vocabulary = Vocabulary(PIECES)
    assert extension_of(vocabulary, vocabulary).added == ()


class TestBase:
    def test_its_own_tokenizer(self):
        for name in ("bert-mlm", "modernbert", "roberta", "deberta-v3", "eurobert"):
            check_base(tiny_model(name), special_ids(tiny_tokenizer()))
        check_base(xlm_roberta(), special_ids(handful_tokenizer()))

    def test_a_padded_embedding_is_one(self):
        check_base(tiny_model("bert-mlm", vocab_size=128), special_ids(tiny_tokenizer()))

    def test_an_embedding_with_fewer_rows(self):
        with pytest.raises(CheckpointError, match="60 embedding rows, its tokenizer 66 pieces") as told:
            check_base(tiny_model("bert-mlm", vocab_size=60), special_ids(tiny_tokenizer()))
        assert told.value.name == "E-VOCABULARY-SIZE"

    @pytest.mark.parametrize(
        ("architecture", "role", "change"),
        [("xlm-roberta", "padding", {"pad": 1}), ("eurobert", "mask", {"mask": 6})],
    )
    def test_ids_that_the_configuration_contradicts(self, architecture, role, change):
        ids = {"mask": 4, "pad": 0, "unk": 1, "start": 2, "end": 3, **change}
        special = SpecialIds(**ids, unmaskable=frozenset(), vocab_size=len(PIECES))
        with pytest.raises(CheckpointError, match=f"gives {role} the id") as told:
            check_base(tiny_model(architecture), special)
        assert told.value.name == "E-ALIGNMENT"
