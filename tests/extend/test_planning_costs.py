"""What a plan reckons, against the models themselves and against the cost model of docs/scaling.md."""

import json
from pathlib import Path

import pytest
import torch

from extend.architectures import architecture_of
from extend.config import PretrainSettings
from extend.errors import UsageError
from extend.recipe.planning_costs import LIBRARIES, Costs, Speed, base_shape
from extend.recipe.planning_devices import (
    GPUS,
    known_gpu,
    on_gpu,
    on_this_machine,
    told_costs,
)
from tests.models import EVERY_ARCHITECTURE, tiny_model

MBERT = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 119_547,
}


@pytest.fixture(scope="module")
def mbert(tmp_path_factory: pytest.TempPathFactory) -> Costs:
    folder = tmp_path_factory.mktemp("mbert")
    (folder / "config.json").write_text(json.dumps(MBERT))
    return Costs(base_shape(folder), 30_000, PretrainSettings())


def with_settings(costs: Costs, **changed: object) -> Costs:
    return Costs(costs.shape, costs.rows, PretrainSettings.model_validate(changed))


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_the_shape_is_that_of_the_model(architecture: str, tmp_path: Path) -> None:
    small, large = (tiny_model(architecture, vocab_size=size) for size in (70, 83))
    small.config.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["architectures"] = [type(small).__name__]
    (tmp_path / "config.json").write_text(json.dumps(config))
    before = torch.random.get_rng_state()
    shape = base_shape(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())
    count = sum(parameter.numel() for parameter in small.parameters())
    assert shape.parameters == count
    assert Costs(shape, 13, PretrainSettings()).added == (
        sum(parameter.numel() for parameter in large.parameters()) - count
    )
    embedding = architecture_of(small).embedding(small)
    assert (shape.vocabulary, shape.width) == tuple(embedding.shape)
    assert shape.tied == (architecture_of(small).output(small) is embedding)


class TestCostModel:
    def test_operations_are_those_of_the_documented_model(self, mbert):
        """docs/scaling.md: 510, 14 and 103 million operations a token at length 128."""
        assert mbert.shape.linear == pytest.approx(84.9e6, rel=0.001)
        per_token = mbert.operations("all") / (32 * 128)
        assert per_token == pytest.approx(627e6, rel=0.005)
        longer = with_settings(mbert, length=512).operations("all") / (32 * 512)
        assert longer - per_token == pytest.approx(43e6, rel=0.02)

    def test_parameters_and_bytes(self, mbert):
        assert mbert.parameters == pytest.approx(201e6, rel=0.005)
        assert mbert.added == 30_000 * 769
        assert mbert.disk()["delta_fp16"] == 30_000 * 769 * 2
        assert mbert.disk()["checkpoint"] == 4 * mbert.parameters
        assert mbert.disk()["run_folder"] == 2 * 4 * mbert.parameters + 3 * 12 * mbert.parameters

    def test_an_a100_takes_what_the_documents_say(self, mbert):
        """docs/scaling.md: 23 ms a step with 40 to 45 % of the peak."""
        assert on_gpu(mbert, "A100")["seconds_a_step"] == pytest.approx(0.023, rel=0.1)
        assert on_gpu(mbert, "H100")["seconds_a_step"] == pytest.approx(0.0095, rel=0.1)

    def test_memory_is_near_what_was_measured(self, mbert):
        """docs/performance.md: a peak of 4,193 MiB with 8 x 128."""
        needed = with_settings(mbert, batch_size=8).memory(8, half=True)
        assert needed == pytest.approx(4193 << 20, rel=0.1)

    def test_frozen_weights_cost_less(self, mbert):
        speed = Speed(1e12, 1e11)
        rows = with_settings(mbert, train="new-rows")
        assert rows.seconds("new-rows", speed) < mbert.seconds("all", speed)
        assert rows.memory(32, half=True) < mbert.memory(32, half=True)
        assert rows.trained("new-rows") == mbert.added
        assert rows.trained("embeddings") == mbert.added + 119_547 * 769
        assert with_settings(mbert, adapt="lora").stages() == [("new-rows", 500_000)]

    def test_stages_add_up(self, mbert):
        speed = Speed(1e12, 1e11)
        staged = with_settings(mbert, steps=100, new_rows_steps=40)
        assert staged.stages() == [("new-rows", 40), ("all", 60)]
        expected = 40 * staged.seconds("new-rows", speed) + 60 * staged.seconds("all", speed)
        assert staged.hours(speed) == pytest.approx(expected / 3600)
        assert Costs(mbert.shape, 0, staged.wanted).stages() == [("all", 100)]
        assert with_settings(mbert, steps=0).hours(speed) == 0.0

    def test_the_batch_is_halved_until_it_fits(self, mbert):
        for samples in (32, 16, 8, 1):
            room = mbert.memory(samples, half=True)
            assert mbert.samples_that_fit(room, half=True) == samples
        assert mbert.samples_that_fit(LIBRARIES, half=True) is None


class TestDevices:
    @pytest.mark.parametrize(
        ("given", "name"),
        [("t4", "T4"), ("NVIDIA A100", "A100"), ("rtx4090", "RTX 4090"), ("3090", "RTX 3090"),
         ("a100 80gb", "A100 80GB")],
    )  # fmt: skip
    def test_a_name_however_it_is_written(self, given, name):
        assert known_gpu(given) == name

    def test_another_is_refused_with_those_there_are(self):
        with pytest.raises(UsageError) as caught:
            known_gpu("abacus\u202e")
        assert caught.value.name == "E-DEVICE"
        assert all(name in caught.value.next for name in GPUS)
        assert "\u202e" not in str(caught.value)

    @pytest.mark.parametrize("name", GPUS)
    def test_every_gpu_is_reckoned_with(self, name, mbert):
        found = on_gpu(mbert, name)
        assert found["estimate"] is True
        assert found["fits"] == (found["micro_batch"] == 32)
        assert found["seconds_a_step"] * 500_000 / 3600 == pytest.approx(found["hours"])
        assert found["precision"] == ("fp32" if name in ("T4", "V100") else "bf16")
        slower = on_gpu(with_settings(mbert, precision="fp32"), name)
        assert slower["seconds_a_step"] >= found["seconds_a_step"]

    def test_what_does_not_fit_has_no_time(self, mbert):
        huge = Costs(mbert.shape, 10_000_000, mbert.wanted)
        found = on_gpu(huge, "T4")
        assert (found["fits"], found["micro_batch"], found["hours"]) == (False, None, None)
        large = with_settings(mbert, batch_size=1024)
        assert on_gpu(large, "L4")["micro_batch"] in (32, 64, 128, 256)

    def test_this_machine_is_measured(self, mbert):
        tiny = Costs(mbert.shape, mbert.rows, PretrainSettings(precision="fp32"))
        found = on_this_machine(tiny)
        assert found["measured_tflops"] > 0.001
        assert found["measured_gigabytes_a_second"] > 0.1
        assert found["precision"] == "fp32"

    def test_json_is_plain(self, mbert):
        told = told_costs(mbert, ["T4"], probe=False)
        assert json.loads(json.dumps(told)) == told
        assert told["this_machine"] is None
        assert told["tokens"] == 500_000 * 32 * 128
