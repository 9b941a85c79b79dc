"""extend blend on a run made by the chain: what is published, what is told, what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from extend import recipe, store
from extend.cli import blending as command
from extend.cli import main
from extend.cli.main import app
from extend.config import load_settings
from extend.errors import CheckpointError, PathError, UsageError
from extend.languages import resolve
from extend.recipe.blending import blend, sweep
from tests.extend.cli_processes import files
from tests.extend.cli_runs import make_inputs
from tests.extend.written_tokenizers import read_here
from tests.models import tiny_checkpoint

if "blend" not in {each.name for each in app.registered_commands}:
    command.register(app, panel="The chain")

SETTINGS: dict[str, Any] = {
    "lang": "ka",
    "vocab.size": 40,
    "vocab.held_out_lines": 40,
    "pretrain.steps": 6,
    "pretrain.new_rows_steps": 2,
    "pretrain.length": 16,
    "pretrain.batch_size": 4,
    "pretrain.learning_rate": 1e-2,
    "pretrain.warmup_steps": 1,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs and a run that was trained on Georgian while English is watched."""
    folder = tmp_path_factory.mktemp("blend")
    make_inputs(folder)
    settings = load_settings(
        None,
        {
            **SETTINGS,
            "base": str(folder / "base"),
            "corpus": [str(folder / "ka.txt")],
            "pretrain.watch": {"en": [str(folder / "en.txt")]},
        },
    )
    recipe.pretrain(recipe.open_run(settings, folder / "ka", resolve("ka")))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> recipe.Run:
    """A copy of the run, in the working folder."""
    read_here(monkeypatch)
    shutil.copytree(made / "ka", tmp_path / "ka")
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, saved=tmp_path / "ka" / "run.toml")
    return recipe.open_run(settings, Path("ka"), resolve("ka"))


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_blend_is_a_checkpoint_with_its_report_and_its_place_in_the_manifest(run: recipe.Run):
    report = blend(run, 0.7)
    out = run.directory / "blended-0.7"
    assert (report["out"], report["t"], report["new_rows"]) == (str(out), 0.7, "trained")
    assert report["held_out"].keys() == {"ka", "en"}
    assert AutoModelForMaskedLM.from_pretrained(out).config.vocab_size == len(
        AutoTokenizer.from_pretrained(out)
    )
    written = store.read_json(out / "report.json")
    assert written["held_out"] == report["held_out"]
    assert written["made_of"]["grown"] == store.sha256_file(run.grown / "model.safetensors")
    stage = run.stages()["blend-0.7"]
    assert stage["settings"]["made_of"] == written["made_of"]
    assert stage["sha256"]["blended-0.7/model.safetensors"] == store.sha256_file(out / "model.safetensors")


def test_the_ends_are_the_grown_and_the_trained_model_byte_by_byte(run: recipe.Run):
    for t, folder in ((0.0, run.grown), (1.0, run.model)):
        blend(run, t, new_rows="blended")
        blended = run.directory / f"blended-{t:g}"
        assert weights(blended) == weights(folder)
        names = {path.name for path in run.model.iterdir()} - {"report.json", "README.md"}
        assert {path.name for path in blended.iterdir()} == names | {"report.json"}
    blend(run, 1.0)
    assert weights(run.directory / "blended-1") == weights(run.model)


def test_new_rows_are_the_trained_ones_unless_said_otherwise(run: recipe.Run):
    added = int(store.read_json(run.grown / "report.json")["added"])
    name = "bert.embeddings.word_embeddings.weight"
    grown, trained = (load_file(folder / "model.safetensors")[name] for folder in (run.grown, run.model))
    assert not grown[-added:].equal(trained[-added:])
    for new_rows, same in (("trained", True), ("blended", False)):
        blend(run, 0.5, new_rows=new_rows)
        found = load_file(run.directory / "blended-0.5" / "model.safetensors")[name]
        assert found[-added:].equal(trained[-added:]) is same
        assert not found[:-added].equal(trained[:-added])


def test_a_sweep_measures_what_a_blend_would_and_publishes_nothing(run: recipe.Run):
    before = files(run.model)
    found = sweep(run, [0.0, 0.5, 1.0], new_rows="blended")
    assert [one["t"] for one in found["sweep"]] == [0.0, 0.5, 1.0]
    assert store.read_json(run.directory / "blend.json") == json.loads(json.dumps(found))
    assert not list(run.directory.glob("blended-*"))
    assert files(run.model) == before
    closing = store.read_json(run.pretraining / "report.json")["held_out"]
    for language, losses in found["sweep"][-1]["held_out"].items():
        assert losses["mlm_loss"] == pytest.approx(closing[language]["mlm_loss"], abs=1e-5)
    middle = blend(run, 0.5, new_rows="blended")["held_out"]
    assert middle == found["sweep"][1]["held_out"]
    assert middle != found["sweep"][0]["held_out"]


def test_a_dry_run_writes_nothing(run: recipe.Run):
    before = files(run.directory)
    assert blend(run, 0.3, dry_run=True)["out"] == str(run.directory / "blended-0.3")
    assert sweep(run, [0.3], dry_run=True)["sweep"] == [{"t": 0.3}]
    assert files(run.directory) == before


def test_a_run_without_both_models_is_refused(run: recipe.Run):
    shutil.rmtree(run.model)
    with pytest.raises(UsageError, match="no model") as told:
        blend(run, 0.5)
    assert (told.value.name, "pretrain" in told.value.next) == ("E-STAGE", True)


def test_another_tokenizer_or_architecture_is_refused_and_nothing_is_written(run: recipe.Run, tmp_path: Path):
    other = tiny_checkpoint(tmp_path / "other")
    with pytest.raises(CheckpointError, match="tokenizers") as told:
        blend(run, 0.5, model=other)
    assert told.value.name == "E-BLEND"
    deeper = tiny_checkpoint(tmp_path / "deeper", layers=3)
    for file in run.model.glob("*token*"):
        shutil.copy(file, deeper)
    for dry_run in (True, False):
        with pytest.raises(CheckpointError) as told:
            blend(run, 0.5, model=deeper, dry_run=dry_run)
        assert told.value.name == "E-BLEND"
    assert not list(run.directory.glob("blended-*"))


def test_only_a_blend_is_replaced(run: recipe.Run):
    blend(run, 0.5)
    kept = files(run.model)
    for out in (run.model, run.grown, run.directory):
        with pytest.raises(PathError, match="there already"):
            blend(run, 0.5, out=out)
    assert files(run.model) == kept
    blend(run, 0.5, new_rows="blended")
    assert store.read_json(run.directory / "blended-0.5" / "report.json")["new_rows"] == "blended"


@pytest.fixture
def extend(run: recipe.Run, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    capsys.readouterr()
    return lambda *arguments: (main(("blend", "--run", "ka", *arguments)), *capsys.readouterr())


def test_the_command_prints_a_table_or_one_object(extend):
    code, out, err = extend("--sweep", "0,1", "--new-rows", "blended")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert [words for words in lines if "ka" in words and "en" in words]
    assert {"0", "1"} <= {word for words in lines for word in words}
    code, out, err = extend("--t", "0.7", "--out", "elsewhere", "--format", "json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["t"], told["out"]) == (0.7, "elsewhere")
    assert Path("elsewhere/model.safetensors").is_file()


@pytest.mark.parametrize("arguments", [(), ("--t", "0.5", "--sweep", "1"), ("--sweep", "0,x"), ("--t", "2")])
def test_wrong_usage_is_told(extend, arguments):
    code, out, err = extend(*arguments)
    assert (code, out) == (2, "")
    assert "error[E-USAGE]" in err
