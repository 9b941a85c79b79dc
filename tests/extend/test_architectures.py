"""Every architecture against transformers' own forward pass, loss, saving and loading."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import DebertaV2Config, DebertaV2ForMaskedLM, XLMRobertaConfig, XLMRobertaForMaskedLM

from extend.architectures import ARCHITECTURES, architecture_of
from extend.errors import CheckpointError, UsageError
from extend.growth import grow_
from extend.hub import load_encoder, load_pretraining_model, save_model
from extend.masking import MaskedBatch
from extend.pretrain.objectives import AllWeights, NewRows
from tests.models import EVERY_ARCHITECTURE, PIECES, TIED, tiny_checkpoint, tiny_model

OLD, ADDED, HIDDEN = len(PIECES), 7, 32


@pytest.fixture(params=EVERY_ARCHITECTURE)
def architecture(request):
    return request.param


def padded(*, batch: int = 3, width: int = 14, left: bool = False, pad: int = 0, size: int = OLD):
    """Ids of rows of several lengths, padded, and their attention mask."""
    ids = torch.randint(5, size, (batch, width), generator=torch.Generator().manual_seed(4))
    mask = torch.arange(width)[None] < torch.tensor([width, width - 5, 3])[:batch, None]
    mask = mask.flip(1) if left else mask
    return ids.masked_fill(~mask, pad), mask


def mlm_logits(output):
    return output["prediction_logits"] if "prediction_logits" in output else output["logits"]


def grown(architecture):
    model = tiny_model(architecture)
    generator = torch.Generator().manual_seed(7)
    rows = 0.02 * torch.randn(ADDED, HIDDEN, generator=generator)
    has_bias = architecture_of(model).has_bias(model)
    grow_(model, rows, torch.linspace(-0.5, 0.5, ADDED) * has_bias)
    return model


def test_every_class_has_a_tiny_model():
    assert {type(tiny_model(name)).__name__ for name in EVERY_ARCHITECTURE} == ARCHITECTURES.keys()
    assert all(name == part.model_class.__name__ for name, part in ARCHITECTURES.items())


# the forward pass


@torch.no_grad()
@pytest.mark.parametrize("left", [False, True])
def test_the_parts_together_are_the_model(architecture, left):
    model = tiny_model(architecture)
    parts = architecture_of(model)
    ids, mask = padded(left=left)
    embedded = torch.nn.functional.embedding(ids, parts.embedding(model))
    hidden = parts.encode(model, embedded, attention_mask=mask)
    scores = torch.nn.functional.linear(parts.prepare(model, hidden), parts.output(model), parts.bias(model))
    expected = mlm_logits(model(input_ids=ids, attention_mask=mask))
    torch.testing.assert_close(scores[mask], expected[mask], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_roberta_counts_positions_after_the_padding_id():
    """Published ones have padding id 1; here the position after the last is out of reach."""
    sizes = {"vocab_size": OLD, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = XLMRobertaConfig(**sizes, intermediate_size=64, pad_token_id=1, max_position_embeddings=14 + 2)
    model = XLMRobertaForMaskedLM(config).eval()
    parts = architecture_of(model)
    for left in (False, True):
        ids, mask = padded(left=left, pad=1)
        embedded = torch.nn.functional.embedding(ids, parts.embedding(model))
        hidden = parts.encode(model, embedded, attention_mask=mask)
        expected = model.roberta(ids, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(hidden[mask], expected[mask], rtol=1e-5, atol=1e-5)
        taken_for_text = model.roberta(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        assert torch.allclose(taken_for_text[mask], expected[mask], atol=1e-3) is not left


@torch.no_grad()
def test_deberta_rows_narrower_than_its_states():
    sizes = {"vocab_size": OLD, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = DebertaV2ForMaskedLM(DebertaV2Config(**sizes, intermediate_size=64, embedding_size=12)).eval()
    parts = architecture_of(model)
    before = model(input_ids=padded()[0]).logits
    grow_(model, torch.ones(3, 12), torch.zeros(3))
    assert parts.embedding(model).shape == (OLD + 3, 12)
    hidden = parts.encode(model, torch.nn.functional.embedding(padded()[0], parts.embedding(model)))
    scores = parts.prepare(model, hidden) @ parts.output(model).T + parts.bias(model)
    torch.testing.assert_close(scores[..., :OLD], before, rtol=1e-5, atol=1e-5)


def test_a_bias_that_is_not_there_is_zero_and_frozen():
    model = tiny_model("eurobert")
    parts = architecture_of(model)
    assert not parts.has_bias(model)
    assert torch.equal(parts.bias(model), torch.zeros(OLD))
    assert not parts.bias(model).requires_grad
    assert parts.has_bias(tiny_model("eurobert-bias"))


def test_a_head_of_no_known_layout_is_refused():
    model = tiny_model("bert-mlm")
    model.cls = torch.nn.Identity()
    with pytest.raises(UsageError, match="another head") as told:
        architecture_of(model).bias(model)
    assert told.value.name == "E-ARCHITECTURE"


# the pretraining objective


def step_of(model, *, left: bool):
    ids, mask = padded(left=left, size=OLD + ADDED)
    labels = torch.full_like(ids, -100)
    labels[:, ::3] = (ids[:, ::3] * 7 + 3) % (OLD + ADDED)
    labels[~mask] = -100
    positions = (labels.flatten() != -100).nonzero()[:, 0]
    return MaskedBatch(ids, positions, labels.flatten()[positions], attention_mask=mask), labels


@pytest.mark.parametrize("left", [False, True])
def test_a_step_has_the_loss_and_the_gradient_of_transformers(architecture, left):
    ours, theirs = grown(architecture), grown(architecture)
    batch, labels = step_of(ours, left=left)
    loss = AllWeights(ours)(batch).mlm
    loss.backward()
    scores = mlm_logits(theirs(input_ids=batch.input_ids, attention_mask=batch.attention_mask))
    expected = torch.nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten())
    if architecture != "bert-pretraining":  # its own loss wants next sentences too
        told = theirs(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss
        torch.testing.assert_close(expected, told, rtol=0, atol=1e-5)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-4)
    others = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        mine, other = parameter.grad, others[name].grad
        assert (mine is None) == (other is None), name
        if mine is not None and not name.endswith("word_embeddings.weight"):
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-6, msg=name)
    mine, other = (architecture_of(model).embedding(model).grad for model in (ours, theirs))
    kept = torch.arange(OLD + ADDED) != 0  # their embedding layer gives its padding row no input gradient
    torch.testing.assert_close(mine[kept], other[kept], rtol=1e-3, atol=1e-6)


def test_new_rows_alone_have_the_same_loss(architecture):
    model = grown(architecture)
    batch, _ = step_of(model, left=False)
    expected = AllWeights(model)(batch).mlm.detach()
    objective = NewRows(model, first_new=OLD)
    torch.testing.assert_close(objective(batch).mlm.detach(), expected, rtol=0, atol=1e-5)


# folders


def test_load_gives_every_weight_and_save_gives_them_back(architecture, tmp_path):
    folder = tiny_checkpoint(tmp_path / "base", architecture=architecture)
    model = load_pretraining_model(folder)
    expected = tiny_model(architecture).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    (tmp_path / "copy").mkdir()
    save_model(model, tmp_path / "copy")
    written, expected_file = (path / "model.safetensors" for path in (tmp_path / "copy", folder))
    assert written.read_bytes() == expected_file.read_bytes()
    encoder = load_encoder(folder)
    ids, mask = padded()
    with torch.no_grad():
        states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        part = model.get_submodule(architecture_of(model).encoder)
        assert torch.equal(states, part(input_ids=ids, attention_mask=mask).last_hidden_state)


def edit(folder, **changes):
    path = folder / "config.json"
    settings = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))


@pytest.mark.parametrize(
    ("architecture", "legacy"), [("deberta-v3", None), ("deberta-v3", True), ("deberta-v2", False)]
)
def test_a_deberta_gets_the_head_its_file_holds(architecture, legacy, tmp_path):
    """Microsoft's files hold `lm_predictions`; transformers alone would draw another head at random."""
    folder = tiny_checkpoint(tmp_path / "base", architecture=architecture)
    edit(folder, legacy=legacy, architectures=None)
    model = load_pretraining_model(folder)
    expected = tiny_model(architecture).state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    (tmp_path / "copy").mkdir()
    save_model(model, tmp_path / "copy")
    assert json.loads((tmp_path / "copy" / "config.json").read_text())["legacy"] is (
        architecture == "deberta-v2"
    )


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "BertForPreTraining"])
def test_a_missing_bias_or_head_is_named(name, tmp_path):
    architecture = {
        "BertForMaskedLM": "bert-mlm",
        "ModernBertForMaskedLM": "modernbert",
        "XLMRobertaForMaskedLM": "xlm-roberta",
        "RobertaForMaskedLM": "roberta",
        "DebertaV2ForMaskedLM": "deberta-v3",
        "EuroBertForMaskedLM": "eurobert",
    }[name]
    folder = tiny_checkpoint(tmp_path / "base", architecture=architecture)
    tiny_model(architecture).base_model.save_pretrained(folder)  # the encoder alone
    edit(folder, architectures=[name])
    with pytest.raises(CheckpointError, match="lacks") as told:
        load_pretraining_model(folder)
    assert told.value.name == "E-TENSORS"


# a process that has seen nothing of this


READER = """
import json, sys, torch
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining
for folder in sys.argv[1:]:
    auto = AutoModelForPreTraining if folder.endswith("bert-pretraining") else AutoModelForMaskedLM
    model, loading = auto.from_pretrained(folder, output_loading_info=True)
    rows = model.get_input_embeddings().weight
    shared = [name for name, value in model.named_parameters(remove_duplicate=False) if value is rows]
    with torch.no_grad():
        output = model.eval()(input_ids=torch.tensor([[2, 7, 66, 72, 3]]))
    scores = output["prediction_logits"] if "prediction_logits" in output else output["logits"]
    faults = [str(fault) for kind in loading.values() for fault in kind]
    torch.save(scores, folder + "/scores.pt")
    print(json.dumps({"class": type(model).__name__, "names": len(shared), "faults": faults}))
"""


def test_a_fresh_process_loads_the_grown_models(tmp_path):
    """Same logits to the bit, tied where it was, nothing missing and nothing left over."""
    models = {name: grown(name) for name in EVERY_ARCHITECTURE}
    for name, model in models.items():
        save_model(model, tmp_path / name)
    folders = [str(tmp_path / name) for name in models]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", READER, *folders]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ids = torch.tensor([[2, 7, OLD, OLD + ADDED - 1, 3]])
    for (name, model), line in zip(models.items(), done.stdout.splitlines(), strict=True):
        names = 2 if name in TIED and name != "deberta-v3" else 1
        assert json.loads(line) == {"class": type(model).__name__, "names": names, "faults": []}, name
        with torch.no_grad():
            scores = torch.load(tmp_path / name / "scores.pt", weights_only=True)
            assert torch.equal(scores, mlm_logits(model(input_ids=ids))), name


def test_files_hold_what_transformers_would_write(architecture, tmp_path):
    """The names of the base's file, no more: nothing a reader would not expect."""
    save_model(tiny_model(architecture), tmp_path / "base")
    save_model(grown(architecture), tmp_path / "grown")
    base, new = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "grown"))
    assert base.keys() == new.keys()
    assert all(torch.equal(new[name][: len(value)], value) for name, value in base.items() if value.ndim)
