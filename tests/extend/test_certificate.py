"""Each assertion is broken on purpose in a folder that is otherwise right."""

import contextlib
import io
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining

from extend import certificate
from extend.certificate import PROBES, certify_model, certify_tokenizer
from extend.errors import CheckpointError
from extend.growth import grow_
from extend.tokenizer import kind_of, load_tokenizer, new_wordpiece_tokenizer, save_tokenizer
from extend.types import Vocabulary, VocabularyExtension
from tests.models import ARCHITECTURES, PIECES, tiny_checkpoint, write_tokenizer

ADDED = ("riverbed", "##walk", "ර")
SIZE = len(PIECES) + len(ADDED)
HELD_OUT = {
    "base": {"fertility": 2.0, "unk_rate": 0.1},
    "extended": {"fertility": 1.5, "unk_rate": 0.0},
}
DRIFT = {"sample": 10, "words_changed": 0.0, "words_newly_unk": 0.0}


class Written:
    """A base and its extension, both in folders."""

    def __init__(self, directory: Path) -> None:
        self.base = load_tokenizer(write_tokenizer(directory / "base"))
        self.extension = VocabularyExtension(Vocabulary(PIECES), ADDED)
        self.extended = kind_of(self.base).extended(self.base, self.extension)
        self.folder = directory / "extended"
        save_tokenizer(self.extended, self.folder, base=directory / "base")

    def certify(self, **changes: object) -> dict[str, object]:
        arguments = {
            "base": self.base,
            "extended": self.extended,
            "held_out": HELD_OUT,
            "drift": DRIFT,
            "texts": ["the riverbed ර"],
            **changes,
        }
        return certify_tokenizer(self.folder, self.extension, **arguments)

    def edit(self, name: str, change: object) -> None:
        value = json.loads((self.folder / name).read_text())
        change(value)
        (self.folder / name).write_text(json.dumps(value))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reloading program run in this process: a new one takes seconds to import transformers."""

    def reloaded(directory, probes):
        monkeypatch.setattr(sys, "argv", ["-c", str(directory)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(list(probes))))
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(certificate._RELOAD, "reload", "exec"), {})
        return json.loads(output.getvalue())

    monkeypatch.setattr(certificate, "_reloaded", reloaded)


def test_a_right_folder_is_certified_by_a_new_process(written):
    result = written.certify()
    assert result["probes"] == len(PROBES) + 1
    assert len(result["held"]) == 7


def swap_ids(state):
    vocabulary = state["model"]["vocab"]
    vocabulary["riverbed"], vocabulary["##walk"] = vocabulary["##walk"], vocabulary["riverbed"]


def drop_last(state):
    del state["model"]["vocab"]["ර"]


def move_mask(state):
    entry = next(token for token in state["added_tokens"] if token["content"] == "[MASK]")
    vocabulary = state["model"]["vocab"]
    vocabulary["[MASK]"], vocabulary["the"] = vocabulary["the"], vocabulary["[MASK]"]
    entry["id"] = vocabulary["[MASK]"]


@pytest.mark.parametrize(
    ("name", "change", "number"),
    [
        ("tokenizer.json", swap_ids, 1),
        ("tokenizer.json", drop_last, 1),
        ("tokenizer.json", move_mask, 1),
        ("tokenizer_config.json", lambda config: config.update(mask_token="[SEP]"), 2),
        ("tokenizer_config.json", lambda config: config.update(extra_special_tokens=["river"]), 3),
        ("tokenizer_config.json", lambda config: config.update(strip_accents=True), 4),
        ("tokenizer_config.json", lambda config: config.update(do_lower_case=True), 4),
    ],
)
def test_a_broken_folder_is_refused(here, written, name, change, number):
    written.edit(name, change)
    with pytest.raises(CheckpointError, match=rf"assertion {number} ") as caught:
        written.certify()
    assert (caught.value.name, caught.value.exit_code) == ("E-CERTIFICATE", 8)


def test_case_lost_on_the_way_to_the_extension_is_refused(here, tmp_path):
    written = Written(tmp_path)
    lower = new_wordpiece_tokenizer([*PIECES, *ADDED], lowercase=True)
    save_tokenizer(lower, written.folder, base=None)
    with pytest.raises(CheckpointError, match="assertion 7 "):
        written.certify(extended=lower)


@pytest.mark.parametrize(
    ("extended", "holds"),
    [
        ({"fertility": 1.9, "unk_rate": 0.1}, True),
        ({"fertility": 2.1, "unk_rate": 0.1}, False),
        ({"fertility": 2.1, "unk_rate": 0.05}, True),
        ({"fertility": 1.0, "unk_rate": 0.11}, False),
    ],
)
def test_held_out_words_must_be_spelt_better(here, written, extended, holds):
    held_out = {**HELD_OUT, "extended": extended}
    if holds:
        assert "held-out words" in written.certify(held_out=held_out)["held"]
    else:
        with pytest.raises(CheckpointError, match="assertion 6 "):
            written.certify(held_out=held_out)


def test_a_folder_that_does_not_load_is_refused(written):
    (written.folder / "tokenizer.json").write_text("no tokenizer")
    with pytest.raises(CheckpointError, match=r"assertion 4 .*cannot load"):
        written.certify()


def test_drift_must_have_been_measured(written):
    with pytest.raises(CheckpointError, match="assertion 8 "):
        written.certify(drift={"sample": 3})


class TestModel:
    @pytest.fixture(params=ARCHITECTURES)
    def grown(self, request, tmp_path: Path) -> tuple[Path, Path]:
        base = tiny_checkpoint(tmp_path / "base", architecture=request.param)
        model = AutoModelForMaskedLM.from_pretrained(base)
        if request.param == "bert-pretraining":
            model = AutoModelForPreTraining.from_pretrained(base)
        grow_(model, torch.full((len(ADDED), 32), 0.5), torch.zeros(len(ADDED)))
        model.save_pretrained(tmp_path / "grown")
        return base, tmp_path / "grown"

    def certify(self, grown, *, size=SIZE):
        return certify_model(grown[1], base=grown[0], old=len(PIECES), size=size)

    def change(self, grown, change):
        path = grown[1] / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    def embedding(self, tensors):
        return next(
            name for name in tensors if name.endswith(("word_embeddings.weight", "tok_embeddings.weight"))
        )

    def bias(self, tensors):
        return "cls.predictions.bias" if "cls.predictions.bias" in tensors else "decoder.bias"

    def test_a_grown_model_is_certified(self, grown):
        assert self.certify(grown)["rows"] == len(PIECES) + len(ADDED)

    def test_one_bit_of_an_old_row_is_seen(self, grown):
        def flip(tensors):
            row = tensors[self.embedding(tensors)][len(PIECES) - 1]
            row[31] = torch.nextafter(row[31], torch.tensor(9.0))

        self.change(grown, flip)
        with pytest.raises(CheckpointError, match=r"assertion 5 .*embedding"):
            self.certify(grown)

    def test_an_old_bias_is_seen(self, grown):
        self.change(grown, lambda tensors: tensors[self.bias(tensors)][0].add_(1))
        with pytest.raises(CheckpointError, match=r"assertion 5 .*decoder bias"):
            self.certify(grown)

    def test_new_rows_may_be_anything(self, grown):
        self.change(grown, lambda tensors: tensors[self.embedding(tensors)][len(PIECES) :].add_(1))
        assert "old rows" in self.certify(grown)["held"]

    def test_a_missing_bias_entry_is_seen(self, grown):
        def cut(tensors):
            tensors[self.bias(tensors)] = tensors[self.bias(tensors)][:-1].clone()

        self.change(grown, cut)
        with pytest.raises(CheckpointError, match=r"assertion 1 .*decoder bias"):
            self.certify(grown)

    def test_a_broken_tie_is_seen(self, grown):
        def untie(tensors):
            prefix = "cls.predictions." if "cls.predictions.bias" in tensors else ""
            tensors[f"{prefix}decoder.weight"] = tensors[self.embedding(tensors)] + 1

        self.change(grown, untie)
        with pytest.raises(CheckpointError, match=r"assertion 5 .*no longer the embedding"):
            self.certify(grown)

    def test_another_size_is_seen(self, grown):
        with pytest.raises(CheckpointError, match=r"assertion 1 .*vocab_size"):
            self.certify(grown, size=len(PIECES) + len(ADDED) + 1)

    @pytest.mark.parametrize("data", [b"", b"\xff" * 64])
    def test_a_file_that_is_no_checkpoint_is_told(self, grown, data):
        (grown[1] / "model.safetensors").write_bytes(data)
        with pytest.raises(CheckpointError, match="not a readable safetensors"):
            self.certify(grown)
