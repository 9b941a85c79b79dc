"""Each assertion is broken on purpose in a folder that is otherwise right."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining

from extend.certificate import BERT_SPECIAL, PROBES, certify_model, read_folders, reload
from extend.certificate.probes import made_words, probes_for, sample_words
from extend.errors import CheckpointError
from extend.growth import grow_
from extend.tokenizer import new_wordpiece_tokenizer, save_tokenizer
from tests.extend.written_tokenizers import ADDED, HELD_OUT, SIZE, Written, read_here
from tests.models import ARCHITECTURES, PIECES, tiny_checkpoint


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    read_here(monkeypatch)


@pytest.mark.parametrize("unigram", [False, True])
def test_a_right_folder_is_certified_by_a_new_process(tmp_path, unigram):
    written = Written(tmp_path, unigram=unigram)
    result = written.certify()
    assert result["probes"] > len(PROBES) + 1
    assert len(result["held"]) == 7
    assert set(result["versions"]) == {"python", "transformers", "tokenizers"}


def test_every_role_must_have_the_token_it_had(here, written):
    with pytest.raises(CheckpointError, match=r"assertion 2 .*mask \[MASK\] 4 instead of mask \[SEP\] 3"):
        written.certify(special={**BERT_SPECIAL, "mask": "[SEP]"})


def test_a_moved_mask_of_xlmr_is_refused(here, tmp_path):
    """What adding pieces to the sentencepiece model does: `<mask>` goes last, all new ids are one off."""

    def move(state):
        vocabulary = state["model"]["vocab"]
        mask = next(entry for entry in vocabulary if entry[0] == "<mask>")
        vocabulary.remove(mask)
        vocabulary.append(mask)
        next(token for token in state["added_tokens"] if token["content"] == "<mask>")["id"] = (
            len(vocabulary) - 1
        )

    written = Written(tmp_path, unigram=True)
    written.edit("tokenizer.json", move)
    with pytest.raises(CheckpointError, match=r"assertion 1 .*<mask>"):
        written.certify()


def swap_ids(state):
    vocabulary = state["model"]["vocab"]
    vocabulary["riverbed"], vocabulary["##walk"] = vocabulary["##walk"], vocabulary["riverbed"]


def drop_last(state):
    del state["model"]["vocab"]["##ර"]


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


class TestProbes:
    def test_every_script_of_the_pieces_has_a_line(self):
        lines = probes_for(["▁house", "##er", "ර", "##ක", "да", "7", "[PAD]"])[len(PROBES) :]
        assert lines == ("да", "houseer", "රක")

    def test_special_tokens_are_written_out_and_texts_come_last(self):
        lines = probes_for([], special=["<s>", "<pad>", "<s>"], texts=["one", "two"])[len(PROBES) :]
        assert lines == ("x <s> and <pad> y", "one", "two")

    def test_words_are_pairs_of_pieces(self):
        assert made_words(["ab", "##cd", "ef", "##gh", "i"]) == {"LATIN": ["abgh", "cdi", "ef"]}

    def test_a_sample_takes_every_script_in_turn(self):
        pieces = [*(chr(97 + at) * 3 for at in range(20)), "да", "не"]
        sample = sample_words(pieces, most=4)
        assert len(sample) == 4
        assert "дане" in sample

    def test_the_kinds_of_text_that_broke_tokenizers_are_there(self):
        joined = "\n".join(PROBES)
        for part in ("e\u0301", "\u200c", "\u200d", "##ing", "▁word", "x" * 600, "[MASK]", "<mask>"):
            assert part in joined
        assert "" in PROBES


class TestProcess:
    def test_it_has_no_torch_and_opens_no_connection_and_no_process(self, written):
        program = (
            f"import runpy, sys; runpy.run_path({str(reload.PROGRAM)!r})['main']()\n"
            "import socket, subprocess\n"
            "print(sys.modules['torch'], file=sys.stderr)\n"
            "for attempt in (lambda: socket.create_connection(('127.0.0.1', int(sys.argv[1])), 1),\n"
            "                lambda: subprocess.run(['true'])):\n"
            "    try: attempt(); print('done', file=sys.stderr)\n"
            "    except PermissionError: print('refused', file=sys.stderr)\n"
        )
        request = json.dumps({"folders": [[str(written.folder), ["fast"]]], "texts": [], "case": ""})
        with socket.create_server(("127.0.0.1", 0)) as server:
            command = [sys.executable, "-c", program, str(server.getsockname()[1])]
            done = subprocess.run(command, input=request.encode(), capture_output=True, check=True)
        assert done.stderr.decode().split()[-3:] == ["None", "refused", "refused"]
        assert json.loads(done.stdout)["folders"][0]["fast"]["size"] == SIZE

    def test_one_that_takes_too_long_is_told(self, written, monkeypatch):
        monkeypatch.setattr(reload, "TIMEOUT_SECONDS", 0.01)
        with pytest.raises(CheckpointError, match=r"assertion 4 .*no answer in 0.01 seconds"):
            written.certify()

    def test_one_that_dies_is_told(self, written):
        (answer,), versions = read_folders({written.folder: ("fast",)}, [], case="", python="/bin/false")
        assert (answer.fast, answer.errors, versions) == (None, {"fast": "exit code 1"}, {})

    def test_secrets_stay_here(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_TOKEN", "hf_SENTINEL")
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\necho token: $HF_TOKEN >&2\nexit 1\n", encoding="utf-8")
        python.chmod(0o755)
        (answer,), _ = read_folders({tmp_path: ("fast",)}, [], case="", python=str(python))
        assert answer.errors == {"fast": "token:"}


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
        assert self.certify(grown)["rows"] == SIZE

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
            self.certify(grown, size=SIZE + 1)

    @pytest.mark.parametrize("data", [b"", b"\xff" * 64])
    def test_a_file_that_is_no_checkpoint_is_told(self, grown, data):
        (grown[1] / "model.safetensors").write_bytes(data)
        with pytest.raises(CheckpointError, match="not a readable safetensors"):
            self.certify(grown)
