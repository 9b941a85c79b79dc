"""Checkpoint folders, hub names and hub datasets: taken only when whole, plain and finite."""

import json
import math
import pickle
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from extend.architectures import ARCHITECTURES as EXTENDABLE
from extend.errors import (
    CheckpointError,
    ExtendError,
    RefusedError,
    UsageError,
)
from extend.growth import grow_
from extend.hub import (
    load_encoder,
    load_pretraining_model,
    save_model,
)
from extend.hub.load import LOADABLE
from extend.store import publish_directory
from tests.models import ARCHITECTURES, tiny_checkpoint, tiny_model

SIZES = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def folder(tmp_path):
    return tiny_checkpoint(tmp_path / "base", hidden=16, layers=1)


def edit(path: Path, **changes) -> None:
    settings = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))


def reweigh(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def test_what_can_be_loaded_is_what_can_be_grown():
    assert {name: part.model_class for name, part in EXTENDABLE.items()} == dict(LOADABLE)


# loading and saving


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_load_gives_every_weight_and_save_gives_them_back(architecture, tmp_path):
    folder = tiny_checkpoint(tmp_path / "base", architecture=architecture)
    model = load_pretraining_model(folder)
    expected = tiny_model(architecture).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert not model.training
    with publish_directory(tmp_path / "copy") as copy:
        save_model(model, copy)
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {"config.json", "model.safetensors"}
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == (
        folder / "model.safetensors"
    ).read_bytes()
    assert type(load_pretraining_model(tmp_path / "copy")) is type(model)


def test_the_global_random_state_stays(folder):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    load_pretraining_model(folder)
    load_encoder(folder)
    assert torch.equal(torch.get_rng_state(), state)


def test_loading_and_saving_is_silent(folder, tmp_path, capfd):
    capfd.readouterr()
    save_model(load_pretraining_model(folder), tmp_path / "copy")
    load_encoder(folder)
    assert capfd.readouterr() == ("", "")


def test_a_masked_lm_keeps_the_next_sentence_head_that_its_file_has(folder):
    """mBERT's config.json names BertForMaskedLM, its file holds both heads."""
    edit(folder / "config.json", architectures=["BertForMaskedLM"])
    model = load_pretraining_model(folder)
    assert type(model) is BertForPreTraining
    expected = tiny_model(hidden=16, layers=1).cls.seq_relationship.weight
    assert torch.equal(model.cls.seq_relationship.weight, expected)


def test_a_masked_lm_without_it_stays_one(tmp_path):
    folder = tiny_checkpoint(tmp_path / "base", architecture="bert-mlm")
    assert type(load_pretraining_model(folder)) is BertForMaskedLM


def test_half_precision_is_widened(folder):
    reweigh(folder, lambda tensors: {name: value.bfloat16() for name, value in tensors.items()})
    edit(folder / "config.json", dtype="bfloat16")
    assert load_pretraining_model(folder).dtype == torch.float32
    assert load_encoder(folder).dtype == torch.float32


def test_shards_are_one_model(folder):
    model = load_pretraining_model(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="8KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    again = load_pretraining_model(folder).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    gone = sorted(folder.glob("model-*.safetensors"))[0]
    gone.unlink()
    with pytest.raises(CheckpointError, match=gone.name):
        load_pretraining_model(folder)


def test_grown_saved_and_loaded_by_transformers_alone(tmp_path):
    folder = tiny_checkpoint(tmp_path / "base")
    model = load_pretraining_model(folder)
    grow_(model, torch.ones(3, 32), torch.zeros(3))
    save_model(model, tmp_path / "grown")
    plain = AutoModelForMaskedLM.from_pretrained(tmp_path / "grown").eval()
    ids = torch.tensor([[2, 66, 68, 3]])
    with torch.no_grad():
        assert torch.equal(plain(ids).logits, model(ids).prediction_logits)
    assert sum(path.stat().st_size for path in (tmp_path / "grown").iterdir()) < 2 * 69 * 32 * 4 + 200_000


def test_published_weights_can_be_read_by_others(tmp_path):
    with publish_directory(tmp_path / "model") as folder:
        save_model(tiny_model(), folder)
    assert stat.S_IMODE((tmp_path / "model" / "model.safetensors").stat().st_mode) & 0o044 == 0o044


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(folder, value, tmp_path):
    def spoil(tensors):
        tensors["bert.pooler.dense.weight"][2, 5] = value
        return tensors

    reweigh(folder, spoil)
    for load in (load_pretraining_model, load_encoder):
        with pytest.raises(CheckpointError, match=r"pooler\.dense\.weight\[2, 5\]") as told:
            load(folder)
        assert told.value.name == "E-NONFINITE"
    model = tiny_model()
    model.get_input_embeddings().weight.data[3, 1] = value
    with pytest.raises(CheckpointError, match=r"\[3, 1\]"):
        save_model(model, tmp_path / "never")
    assert not (tmp_path / "never").exists()


HEAD = "cls.predictions.transform.dense.weight"
BROKEN = {
    "a tensor is missing": lambda tensors: {k: v for k, v in tensors.items() if k != HEAD},
    "a shape is wrong": lambda tensors: {**tensors, HEAD: torch.zeros(16, 17)},
    "the embedding has other rows": lambda tensors: {
        **tensors,
        "bert.embeddings.word_embeddings.weight": torch.zeros(9, 16),
    },
    "nothing of it": lambda tensors: {"other": torch.zeros(2)},
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_weights_never_become_random_ones(folder, what):
    reweigh(folder, BROKEN[what])
    with pytest.raises(CheckpointError) as told:
        load_pretraining_model(folder)
    assert told.value.exit_code == 8
    assert told.value.name in ("E-TENSORS", "E-WEIGHTS")


def test_missing_tensors_are_named_and_counted(folder):
    reweigh(folder, BROKEN["a tensor is missing"])
    with pytest.raises(CheckpointError, match=HEAD):
        load_pretraining_model(folder)
    reweigh(folder, BROKEN["nothing of it"])
    with pytest.raises(CheckpointError, match=r"lacks \d\d tensors: .* and \d+ more"):
        load_pretraining_model(folder)


FILES = {
    "weights are cut": ("model.safetensors", lambda data: data[: len(data) // 2]),
    "weights are html": ("model.safetensors", lambda data: b"<!DOCTYPE html>" * 50),
    "weights are empty": ("model.safetensors", lambda data: b""),
    "config is cut": ("config.json", lambda data: data[:40]),
    "config is a list": ("config.json", lambda data: b"[1]"),
    "config is deep": ("config.json", lambda data: b"[" * 100_000),
}


@pytest.mark.parametrize("load", [load_pretraining_model, load_encoder])
@pytest.mark.parametrize("what", FILES)
def test_broken_files(folder, what, load):
    name, change = FILES[what]
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(CheckpointError) as told:
        load(folder)
    assert name in told.value.what


CONFIGS = (
    {"hidden_size": 17},
    {"hidden_size": -1},
    {"vocab_size": 0},
    {"num_hidden_layers": "two"},
    {"hidden_act": "os.system"},
    {"model_type": "roberta"},
)


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_a_config_that_does_not_fit_the_weights(folder, changes):
    edit(folder / "config.json", **changes)
    with pytest.raises(ExtendError) as told:
        load_pretraining_model(folder)
    assert told.value.exit_code in (2, 8)


@pytest.mark.parametrize(
    "named", [["BertModel"], ["BertForSequenceClassification"], ["XLMRobertaForMaskedLM"], [], None]
)
def test_other_architectures_are_told_what_is_supported(folder, named):
    edit(folder / "config.json", architectures=named)
    with pytest.raises(UsageError) as told:
        load_pretraining_model(folder)
    assert told.value.name == "E-ARCHITECTURE"
    assert told.value.exit_code == 2
    assert all(name in told.value.why for name in LOADABLE)


def test_a_base_without_the_head(tmp_path):
    BertForSequenceClassification(BertConfig(**SIZES)).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="BertForSequenceClassification"):
        load_pretraining_model(tmp_path)


# code and pickles from outside


class Canary:
    def __reduce__(self):
        return (Path.touch, (Path("canary"),))


@pytest.mark.parametrize("load", [load_pretraining_model, load_encoder])
def test_pickles_are_never_read(folder, load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary()))
    with pytest.raises(RefusedError) as told:
        load(folder)
    assert told.value.name == "E-PICKLE"
    assert told.value.exit_code == 11
    assert not (tmp_path / "canary").exists()


def test_a_pickle_beside_safetensors_is_left_alone(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary()))
    load_pretraining_model(folder)
    load_encoder(folder)
    assert not (tmp_path / "canary").exists()


REMOTE = (
    ("config.json", {"auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}}),
    ("config.json", {"_attn_implementation_internal": "someone/kernel"}),
    ("config.json", {"attn_implementation": "someone/kernel"}),
    ("config.json", {"text_config": {"auto_map": {"AutoModel": "evil.Model"}}}),
    ("config.json", {"custom_pipelines": {"x": {"impl": "evil.Pipeline"}}}),
    ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
)


@pytest.mark.parametrize("load", [load_pretraining_model, load_encoder])
@pytest.mark.parametrize(("name", "changes"), REMOTE, ids=str)
def test_code_from_a_checkpoint_is_refused(folder, name, changes, load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "from pathlib import Path\nPath('canary').touch()\nclass Model: pass\nclass Config: pass\n"
    (folder / "evil.py").write_text(code)
    edit(folder / name, **changes)
    with pytest.raises(RefusedError) as told:
        load(folder)
    assert told.value.name == "E-REMOTE-CODE"
    assert name in told.value.what
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/etc/passwd", "a\\b.safetensors", "x.bin"])
def test_an_index_that_points_elsewhere_is_refused(folder, shard):
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"bert.embeddings.word_embeddings.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(RefusedError, match="names the file"):
        load_pretraining_model(folder)


# encoders


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_encoder_gives_the_states_of_the_whole_model(architecture, tmp_path):
    folder = tiny_checkpoint(tmp_path, architecture=architecture)
    encoder = load_encoder(folder)
    ids = torch.tensor([[2, 7, 60, 3]])
    whole = tiny_model(architecture)
    with torch.no_grad():
        expected = whole(ids, output_hidden_states=True).hidden_states[-1]
        if architecture == "modernbert":
            expected = whole.model(ids).last_hidden_state
        assert torch.equal(encoder(input_ids=ids).last_hidden_state, expected)
    assert not encoder.training


def test_an_encoder_of_another_family_and_without_a_pooler(tmp_path):
    sizes = {**SIZES, "max_position_embeddings": 40, "intermediate_size": 32}
    model = XLMRobertaModel(XLMRobertaConfig(**sizes), add_pooling_layer=False)
    model.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    assert encoder.pooler is None
    assert encoder(input_ids=torch.tensor([[4, 5]])).last_hidden_state.shape == (1, 2, 16)


def test_an_encoder_whose_layers_are_missing_is_refused(tmp_path):
    BertModel(BertConfig(**SIZES)).save_pretrained(tmp_path)
    edit(tmp_path / "config.json", num_hidden_layers=2)
    with pytest.raises(CheckpointError, match=r"encoder\.layer\.1"):
        load_encoder(tmp_path)


def test_a_model_type_that_transformers_lacks(folder):
    edit(folder / "config.json", model_type="nothing-known")
    with pytest.raises(UsageError, match="nothing-known") as told:
        load_encoder(folder)
    assert told.value.name == "E-ARCHITECTURE"
