"""Checkpoint folders, hub names and hub datasets: taken only when whole, plain and finite."""

import io
import json
import math
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pyarrow
import pyarrow.parquet
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
    DataError,
    ExtendError,
    NetworkError,
    PathError,
    RefusedError,
    UsageError,
)
from extend.growth import grow_
from extend.hub import (
    load_encoder,
    load_pretraining_model,
    resolve_base,
    save_model,
    stream_dataset,
)
from extend.hub.load import LOADABLE
from extend.hub.streaming import parse_spec
from extend.store import publish_directory
from tests.loopback_hub import Fault, LoopbackHub
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


# resolving a base


def test_a_folder_is_taken_as_it_is(folder):
    base = resolve_base(str(folder), revision=None)
    assert (base.name, base.revision, base.directory) == (str(folder), None, folder)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "nowhere/", "a b/c", "x\u202ey"])
def test_a_path_that_is_not_there(name):
    with pytest.raises(PathError) as told:
        resolve_base(name, revision=None)
    assert told.value.exit_code == 4
    assert "\u202e" not in told.value.message("vocab")


def test_a_file_and_an_empty_folder_are_no_base(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PathError):
        resolve_base(str(tmp_path / "file"), revision=None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        resolve_base(str(tmp_path / "empty"), revision=None)


def test_offline_and_not_in_the_cache(tmp_path):
    with pytest.raises(NetworkError) as told:
        resolve_base("someone/base", revision=None, cache=tmp_path)
    assert told.value.name == "E-OFFLINE"
    assert told.value.exit_code == 6
    assert "--offline" in told.value.next


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return monkeypatch


@pytest.fixture
def published(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def resolve(hub, cache, **options):
    options = {"revision": None, "endpoint": hub.url, "cache": cache, "wait": lambda seconds: None, **options}
    return resolve_base("someone/base", **options)


def test_a_hub_name_becomes_a_folder_pinned_to_its_commit(published, tmp_path, online):
    with LoopbackHub() as hub:
        others = {"pytorch_model.bin": b"x", "evil.py": b"x", "onnx/model.onnx": b"x", "big.json": b"{}"}
        first = hub.add("someone/base", {**published, **others})
        hub.add("someone/base", {**published, "vocab.txt": b"other\n"})
        base = resolve(hub, tmp_path / "cache", revision=first)
        head = resolve(hub, tmp_path / "cache")
        assert base.revision == first
        assert head.revision == hub.repositories["someone/base"].head
        got = {path.name: path.read_bytes() for path in base.directory.rglob("*") if path.is_file()}
        assert got == published
        assert (head.directory / "vocab.txt").read_bytes() == b"other\n"
    load_pretraining_model(base.directory)
    online.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert resolve_base("someone/base", revision=first, cache=tmp_path / "cache") == base
    assert resolve_base("someone/base", revision=None, cache=tmp_path / "cache") == head


def test_what_is_in_the_cache_is_not_fetched_again(published, tmp_path, online):
    with LoopbackHub() as hub:
        hub.add("someone/base", published)
        base = resolve(hub, tmp_path / "cache")
        before = len(hub.requests)
        assert resolve(hub, tmp_path / "cache") == base
        assert not any("/resolve/" in path for method, path in hub.requests[before:] if method == "GET")


def test_only_pickles_on_the_hub_are_refused_before_any_download(published, tmp_path, online):
    del published["model.safetensors"]
    with LoopbackHub() as hub:
        hub.add("someone/base", {**published, "pytorch_model.bin": b"x"})
        with pytest.raises(RefusedError) as told:
            resolve(hub, tmp_path / "cache")
        assert told.value.name == "E-PICKLE"
        assert not any("/resolve/" in path for _, path in hub.requests)


@pytest.mark.parametrize("gone", ["config.json", "model.safetensors"])
def test_a_hub_name_that_is_no_checkpoint(published, tmp_path, online, gone):
    del published[gone]
    with LoopbackHub() as hub:
        hub.add("someone/base", published)
        with pytest.raises(CheckpointError):
            resolve(hub, tmp_path / "cache")


def test_unknown_names_and_revisions(published, tmp_path, online):
    with LoopbackHub() as hub:
        with pytest.raises(NetworkError) as told:
            resolve(hub, tmp_path / "cache")
        assert told.value.name == "E-NOT-FOUND"
        hub.add("someone/base", published)
        with pytest.raises(NetworkError, match="no such revision"):
            resolve(hub, tmp_path / "cache", revision="v9")


@pytest.mark.parametrize("kind", [500, "reset", 403])
def test_a_hub_that_fails(published, tmp_path, online, kind):
    online.setattr("time.sleep", lambda seconds: None)
    with LoopbackHub(fault=Fault(0, kind, times=10**6)) as hub:
        hub.add("someone/base", published)
        with pytest.raises(NetworkError) as told:
            resolve(hub, tmp_path / "cache")
        assert told.value.exit_code == 6
        hub.fault = Fault(len(hub.requests), kind if kind != 403 else 503)
        assert resolve(hub, tmp_path / "cache").directory.is_dir()


def test_a_download_that_does_not_match_is_removed(published, tmp_path, online):
    with LoopbackHub() as hub:
        hub.add("someone/base", published)
        hub.served["model.safetensors"] = b"\0" * len(published["model.safetensors"])
        with pytest.raises(CheckpointError, match=r"model\.safetensors .* arrived damaged") as told:
            resolve(hub, tmp_path / "cache")
        assert told.value.name == "E-DOWNLOAD"
        hub.served.clear()
        base = resolve(hub, tmp_path / "cache")
        assert (base.directory / "model.safetensors").read_bytes() == published["model.safetensors"]


# datasets


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("hf:a/b", ("a/b", None, "train")),
        ("hf:a/b:20231101.ug", ("a/b", "20231101.ug", "train")),
        ("hf:a/b:c:test", ("a/b", "c", "test")),
        ("hf:a/b::test", ("a/b", None, "test")),
    ],
)
def test_dataset_names(spec, parts):
    assert parse_spec(spec) == parts


@pytest.mark.parametrize("spec", ["a/b", "hf:", "hf::x", "hf:a:b:c:d"])
def test_dataset_names_that_are_none(spec):
    with pytest.raises(UsageError):
        next(stream_dataset(spec))


def records(folder: Path, rows: list[object]) -> str:
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    return f"hf:{folder}"


def test_records_become_documents(tmp_path):
    texts = ["මම ගෙදර", " \n", "b\nc"]
    spec = records(tmp_path / "set", [{"id": str(index), "text": text} for index, text in enumerate(texts)])
    documents = list(stream_dataset(spec, language="si"))
    assert [document.text for document in documents] == ["මම ගෙදර", "b\nc"]
    assert all(document.language == "si" and document.source == spec for document in documents)
    assert all(document.starts_document for document in documents)


def test_the_column_of_text(tmp_path):
    one = records(tmp_path / "one", [{"n": 1, "sentence": "x"}])
    assert [document.text for document in stream_dataset(one)] == ["x"]
    two = records(tmp_path / "two", [{"a": "x", "b": "y"}])
    assert [document.text for document in stream_dataset(two, column="b")] == ["y"]
    with pytest.raises(DataError, match="no column `text`") as told:
        next(stream_dataset(two))
    assert "a, b" in told.value.why


def test_a_missing_split_and_an_empty_folder(tmp_path):
    spec = records(tmp_path / "set", [{"text": "x"}])
    with pytest.raises(UsageError, match="no such configuration or split"):
        next(stream_dataset(f"{spec}::validation"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExtendError) as told:
        next(stream_dataset(f"hf:{tmp_path / 'empty'}"))
    assert told.value.exit_code in (3, 6)


def test_a_dataset_of_the_hub_when_offline():
    with pytest.raises(NetworkError) as told:
        next(stream_dataset("hf:nobody/nothing:xx"))
    assert told.value.exit_code == 6


STREAM = """
import json, sys
from extend.errors import ExtendError
from extend.hub import stream_dataset
for spec in sys.argv[1:]:
    try:
        print(json.dumps([document.text for document in stream_dataset(spec)]))
    except ExtendError as error:
        print(json.dumps(error.name))
"""


def test_streamed_from_a_hub_by_a_fresh_process(tmp_path):
    """The client reads its endpoint when it is imported, so it takes a process of its own."""
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"id": ["1", "2"], "text": ["මම", "ගෙදර"]}), table)
    card = (
        "---\nconfigs:\n- config_name: 20231101.si\n  data_files:\n  - split: train\n"
        "    path: 20231101.si/train-*\n---\n"
    )
    wikipedia = {"README.md": card.encode(), "20231101.si/train-0.parquet": table.getvalue()}
    asked = {
        "hf:wiki/pedia:20231101.si": ["මම", "ගෙදර"],
        "hf:wiki/pedia:20231101.xx": "E-CORPUS",
        "hf:wiki/pedia:20231101.si:dev": "E-CORPUS",
        "hf:no/such": "E-NOT-FOUND",
        "hf:no/files": "E-CORPUS",
        "hf:some/script": "E-REMOTE-CODE",
    }
    with LoopbackHub() as hub:
        hub.add("wiki/pedia", wikipedia)
        hub.add("no/files", {"README.md": b"nothing\n"})
        hub.add("some/script", {"script.py": b"raise SystemExit('run')\n"})
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", STREAM, *asked]
        done = subprocess.run(
            command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120, check=True
        )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert dict(zip(asked, answers, strict=True)) == asked
