"""Bases that are not what they say, of every architecture: told with tensor names, never random silently."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from extend.architectures import architecture_of
from extend.errors import CheckpointError, RefusedError, UsageError
from extend.hub import load_pretraining_model
from tests.models import EVERY_ARCHITECTURE, tiny_checkpoint


@pytest.fixture(params=EVERY_ARCHITECTURE)
def folder(request, tmp_path):
    return tiny_checkpoint(tmp_path / "base", architecture=request.param, hidden=16, layers=1)


def tensors_of(folder):
    return load_file(folder / "model.safetensors")


def reweigh(folder, tensors):
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def sharded(folder):
    """The weights in two shards and an index."""
    tensors = tensors_of(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, held in parts.items() for name in held}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return weight_map


def test_every_single_tensor_is_missed(folder):
    """One of the names of a tie is enough; every other tensor is needed."""
    tensors = tensors_of(folder)
    for name in tensors:
        reweigh(folder, {other: value for other, value in tensors.items() if other != name})
        with pytest.raises(CheckpointError) as told:
            load_pretraining_model(folder)
        assert told.value.name == "E-TENSORS"
        ending = name.rsplit(".", 1)[-1]
        assert name in told.value.what or (ending in told.value.what and "bias" in ending), name


def test_the_rows_that_do_not_fit_the_configuration(folder):
    """A vocabulary of another size than the file's: no row is drawn, none is cut off."""
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    for size in (rows - 1, rows + 1, 0):
        edit(folder, vocab_size=size)
        with pytest.raises((CheckpointError, UsageError)) as told:
            load_pretraining_model(folder)
        assert told.value.exit_code in (2, 8)


def test_shards_are_one_model_and_an_index_must_be_right(folder):
    expected = load_pretraining_model(folder).state_dict()
    weight_map = sharded(folder)
    again = load_pretraining_model(folder).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in expected.items())
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {**weight_map, "lost.weight": "model-2.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"lost\.weight"):
        load_pretraining_model(folder)
    index.write_text(json.dumps({"weight_map": {**weight_map, "lost.weight": "model-3.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"model-3\.safetensors"):
        load_pretraining_model(folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(weight_map, "model-1.safetensors")}))
    with pytest.raises(CheckpointError, match=r"lacks \d+ tensors") as told:
        load_pretraining_model(folder)
    assert told.value.name == "E-TENSORS"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(weight_map, "../model-1.safetensors")}))
    with pytest.raises(RefusedError):
        load_pretraining_model(folder)


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn], ids=str)
def test_weights_of_another_type_are_told(tmp_path, kind):
    """Read as numbers they would load, and mean nothing without their scales."""
    folder = tiny_checkpoint(tmp_path / "base", architecture="xlm-roberta", hidden=16, layers=1)
    tensors = tensors_of(folder)
    name = "roberta.encoder.layer.0.attention.self.query.weight"
    reweigh(folder, {**tensors, name: (tensors[name] * 100).to(kind)})
    with pytest.raises(CheckpointError, match=name) as told:
        load_pretraining_model(folder)
    assert told.value.name == "E-WEIGHTS"


def test_numbers_that_are_no_weights_may_be_whole(tmp_path):
    """Files of older libraries hold the positions 0, 1, 2, ..."""
    folder = tiny_checkpoint(tmp_path / "base", architecture="bert-mlm", hidden=16, layers=1)
    reweigh(folder, {**tensors_of(folder), "bert.embeddings.position_ids": torch.arange(128)[None]})
    load_pretraining_model(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rows_that_are_not_finite_are_named(folder, value):
    model = load_pretraining_model(folder)
    rows = architecture_of(model).embedding(model)
    name = next(name for name, parameter in model.named_parameters() if parameter is rows)
    tensors = tensors_of(folder)
    stored = name if name in tensors else next(other for other in tensors if "word_embeddings" in other)
    tensors[stored][7, 3] = value
    reweigh(folder, tensors)
    with pytest.raises(CheckpointError, match=r"\[7, 3\]") as told:
        load_pretraining_model(folder)
    assert told.value.name == "E-NONFINITE"


MEASURE = """
import resource, torch
from extend.growth import grow_
from tests.models import tiny_model
model = tiny_model({architecture!r}, vocab_size=100_000, hidden=256, layers=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
grow_(model, torch.zeros(1000, 256), torch.zeros(1000))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("architecture", ["xlm-roberta", "eurobert"])
def test_growing_needs_one_more_embedding_at_most(architecture):
    """Also for two matrices: the old one goes before the next is made. The process holds the model anyway."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE.format(architecture=architecture)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    kibibytes = 101_000 * 256 * 4 / 1024
    assert int(done.stdout) < 1.1 * kibibytes + 20_000
