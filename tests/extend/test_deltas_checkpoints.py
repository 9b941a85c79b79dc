"""Deltas of real checkpoints: applied they give the checkpoint back, removed they give the base back."""

import errno
import json
import os
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from extend import store
from extend.cli.failures import as_told
from extend.deltas import RECORD, read_delta
from extend.errors import CheckpointError, PathError, SpaceError, UsageError
from extend.recipe import deltas
from extend.recipe.deltas import apply_deltas, make_delta, remove_deltas
from tests.extend.cli_processes import files
from tests.extend.delta_runs import SINHALA, UYGHUR, checkpoint_files, make_base, make_run, train
from tests.extend.written_tokenizers import read_here
from tests.models import EVERY_ARCHITECTURE, tiny_model

BASES = (*EVERY_ARCHITECTURE, "unigram")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    read_here(monkeypatch)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_base(tmp_path / "base")


@pytest.fixture
def both(tmp_path: Path, base: Path) -> tuple[Path, Path]:
    """Deltas of two languages that share a piece."""
    made = []
    for language, pieces, seed in (("si", SINHALA, 1), ("ug", UYGHUR, 2)):
        make_delta(
            make_run(tmp_path / language, base, pieces, language=language, seed=seed),
            tmp_path / f"{language}.d",
        )
        made.append(tmp_path / f"{language}.d")
    return made[0], made[1]


@pytest.mark.parametrize("architecture", BASES)
def test_a_full_delta_on_its_base_is_the_checkpoint_and_without_it_the_base(tmp_path, architecture):
    base = make_base(tmp_path / "base", architecture=architecture)
    run = make_run(tmp_path / "run", base, SINHALA)
    before = files(run.grown), files(base)
    told = make_delta(run, tmp_path / "delta")
    assert (told["added"], told["dtype"], told["checkpoint"], told["rounding"]) == (
        4,
        "float32",
        "grown",
        0.0,
    )
    applied = apply_deltas([tmp_path / "delta"], str(base), tmp_path / "out")
    assert checkpoint_files(tmp_path / "out") == before[0]
    assert (applied["added"], applied["shared"], applied["size"]) == (4, 0, applied["base_size"] + 4)
    removed = remove_deltas(tmp_path / "out", str(base), tmp_path / "back")
    assert files(tmp_path / "back") == before[1]
    assert (removed["removed"], removed["kept"]) == (["si"], [])
    assert (files(run.grown), files(base)) == before


def test_what_was_applied_loads_as_a_user_would(tmp_path, base, both):
    apply_deltas(both, str(base), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    assert len(tokenizer) == model.config.vocab_size == len(model.get_input_embeddings().weight)
    assert tokenizer.convert_tokens_to_ids("shared") == len(tokenizer) - 6 + 3
    assert tokenizer.tokenize("ර walk ئۇ") == ["ර", "walk", "ئۇ"]


@pytest.mark.parametrize(("dtype", "kind"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_a_delta_of_half_the_size_holds_rounded_rows(tmp_path, base, dtype, kind):
    run = make_run(tmp_path / "run", base, SINHALA)
    told = make_delta(run, tmp_path / "delta", dtype=dtype)
    assert told["bytes"] == 2 * 4 * 33
    apply_deltas([tmp_path / "delta"], str(base), tmp_path / "out")
    name = "bert.embeddings.word_embeddings.weight"
    grown, found = (load_file(folder / "model.safetensors") for folder in (run.grown, tmp_path / "out"))
    assert grown.keys() == found.keys()
    size = len(grown[name]) - 4
    assert torch.equal(found[name][:size], grown[name][:size])
    assert torch.equal(found[name][size:], grown[name][size:].to(kind).float())
    assert told["rounding"] == max(
        float((found[key] - grown[key]).abs().max()) for key in (name, "cls.predictions.bias")
    )
    assert told["rounding"] > 0


@pytest.mark.parametrize("architecture", ["bert-pretraining", "unigram"])
def test_languages_compose_in_any_order_and_part_again(tmp_path, architecture):
    base = make_base(tmp_path / "base", architecture=architecture)
    for language, pieces, dtype in (("ug", UYGHUR, "float16"), ("si", SINHALA, "float32")):
        run = make_run(tmp_path / language, base, pieces, language=language, seed=len(language + dtype))
        make_delta(run, tmp_path / f"{language}.d", dtype=dtype)
        apply_deltas([tmp_path / f"{language}.d"], str(base), tmp_path / f"{language}.alone")
    si, ug = tmp_path / "si.d", tmp_path / "ug.d"
    told = apply_deltas([ug, si], str(base), tmp_path / "both")
    apply_deltas([si, ug], str(base), tmp_path / "other")
    assert files(tmp_path / "both") == files(tmp_path / "other")
    assert (told["added"], told["shared"]) == (6, 1)
    assert [(one["language"], one["pieces"], one["shared"]) for one in told["deltas"]] == [
        ("si", 4, 0),
        ("ug", 3, 1),
    ]
    for gone, kept in (("si", "ug"), ("ug", "si")):
        removed = remove_deltas(tmp_path / "both", str(base), tmp_path / f"no-{gone}", languages=[gone])
        assert files(tmp_path / f"no-{gone}") == files(tmp_path / f"{kept}.alone")
        assert (removed["removed"], removed["kept"]) == ([gone], [kept])
    for number, asked in enumerate([(), ("si", "ug"), ("Sinhala", "uig")]):
        remove_deltas(tmp_path / "both", str(base), tmp_path / f"back{number}", languages=asked)
        assert files(tmp_path / f"back{number}") == files(base)


def test_a_base_with_padding_rows_is_given_back_with_them(tmp_path):
    base = make_base(tmp_path / "base", padding=7)
    run = make_run(tmp_path / "run", base, SINHALA)
    make_delta(run, tmp_path / "delta")
    apply_deltas([tmp_path / "delta"], str(base), tmp_path / "out")
    assert checkpoint_files(tmp_path / "out") == files(run.grown)
    remove_deltas(tmp_path / "out", str(base), tmp_path / "back")
    assert files(tmp_path / "back") == files(base)


def test_a_base_in_shards_is_known_by_all_of_them(tmp_path, base):
    model = tiny_model()
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="20KB")
    run = make_run(tmp_path / "run", base, SINHALA)
    make_delta(run, tmp_path / "delta")
    assert len(read_delta(tmp_path / "delta").facts.base.weights) > 2
    apply_deltas([tmp_path / "delta"], str(base), tmp_path / "out")
    assert checkpoint_files(tmp_path / "out") == files(run.grown)
    remove_deltas(tmp_path / "out", str(base), tmp_path / "back")
    assert files(tmp_path / "back") == files(base)


def test_a_grown_checkpoint_that_no_delta_made_gives_its_base_back(tmp_path, base):
    run = make_run(tmp_path / "run", base, SINHALA)
    remove_deltas(run.grown, str(base), tmp_path / "back")
    assert files(tmp_path / "back") == files(base)
    with pytest.raises(UsageError, match="no delta of si"):
        remove_deltas(run.grown, str(base), tmp_path / "more", languages=["si"])


def test_a_model_whose_new_rows_alone_were_trained_is_the_one_taken(tmp_path, base):
    run = make_run(tmp_path / "run", base, SINHALA)
    old = len(AutoTokenizer.from_pretrained(base))
    train(run, rows=[old, old + 3])
    assert make_delta(run, tmp_path / "delta")["checkpoint"] == "model"
    apply_deltas([tmp_path / "delta"], str(base), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        run.model / "model.safetensors"
    ).read_bytes()
    assert (
        make_delta(run, tmp_path / "grown.delta", checkpoint="grown")["sha256"]
        != read_delta(tmp_path / "delta").facts.sha256
    )


def test_a_trained_model_is_refused_with_the_number_of_its_rows(tmp_path, base):
    run = make_run(tmp_path / "run", base, SINHALA)
    train(run, rows=[5, 17, 30], layer=True)
    with pytest.raises(CheckpointError) as told:
        make_delta(run, tmp_path / "delta")
    assert "3 of 66 old rows and 1 other tensors" in told.value.what
    assert "pretrain.new_rows_steps" in told.value.next
    assert (told.value.exit_code, told.value.name) == (8, "E-DELTA-TRAINED")
    assert not (tmp_path / "delta").exists()
    with pytest.raises(CheckpointError, match="3 of 66 old rows"):
        remove_deltas(run.model, str(base), tmp_path / "back")
    assert make_delta(run, tmp_path / "delta", checkpoint="grown")["checkpoint"] == "grown"


def test_rows_that_were_trained_after_they_were_applied_cannot_be_parted(tmp_path, base, both):
    apply_deltas(both, str(base), tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    tensors = load_file(path)
    tensors["bert.embeddings.word_embeddings.weight"][-1, 0] += 1.0
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="ug") as told:
        remove_deltas(tmp_path / "out", str(base), tmp_path / "new", languages=["ug"])
    assert told.value.name == "E-DELTA-CHANGED"
    remove_deltas(tmp_path / "out", str(base), tmp_path / "back")
    assert files(tmp_path / "back") == files(base)


def test_another_base_is_refused(tmp_path, base, both):
    other = shutil.copytree(base, tmp_path / "other")
    tiny_model(seed=9).save_pretrained(other)
    apply_deltas(both, str(base), tmp_path / "out")
    for refused in (
        lambda: apply_deltas(both, str(other), tmp_path / "new"),
        lambda: remove_deltas(tmp_path / "out", str(other), tmp_path / "new"),
    ):
        with pytest.raises(CheckpointError, match="not the base") as told:
            refused()
        assert (told.value.exit_code, told.value.why) == (8, "other than then: model.safetensors")
    (tmp_path / "out" / RECORD).unlink()
    with pytest.raises(CheckpointError, match="differ from the base's"):
        remove_deltas(tmp_path / "out", str(other), tmp_path / "new")
    words = shutil.copytree(base, tmp_path / "words")
    state = json.loads((words / "tokenizer.json").read_text(encoding="utf-8"))
    state["normalizer"]["lowercase"] = True
    (words / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError) as told:
        apply_deltas(both, str(words), tmp_path / "new")
    assert told.value.why == "other than then: tokenizer.json"
    assert not (tmp_path / "new").exists()


def test_a_tokenizer_that_is_more_than_the_base_and_pieces_is_refused(tmp_path, base):
    run = make_run(tmp_path / "run", base, SINHALA)
    path = run.grown / "tokenizer.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    state["normalizer"]["lowercase"] = True
    path.write_text(json.dumps(state))
    with pytest.raises(CheckpointError) as told:
        make_delta(run, tmp_path / "delta")
    assert told.value.name == "E-DELTA-TOKENIZER"
    (run.grown / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    with pytest.raises(CheckpointError, match="new ones behind"):
        make_delta(run, tmp_path / "delta")


def test_a_run_without_a_checkpoint_says_what_to_do(tmp_path, base):
    run = make_run(tmp_path / "run", base, SINHALA)
    with pytest.raises(UsageError, match="no model checkpoint") as told:
        make_delta(run, tmp_path / "delta", checkpoint="model")
    assert "extend pretrain" in told.value.next
    shutil.rmtree(run.grown)
    with pytest.raises(UsageError, match="no grown checkpoint"):
        make_delta(run, tmp_path / "delta")


def test_an_output_that_is_an_input_or_there_is_refused(tmp_path, base, both):
    apply_deltas(both, str(base), tmp_path / "out")
    before = files(tmp_path)
    for out in (both[0], both[1] / "inside", base, base / "inside"):
        with pytest.raises(UsageError, match="input"):
            apply_deltas(both, str(base), out)
    for out in (tmp_path / "out", tmp_path / "out" / "inside", base):
        with pytest.raises(UsageError, match="input"):
            remove_deltas(tmp_path / "out", str(base), out)
    (tmp_path / "file").write_text("here")
    (tmp_path / "link").symlink_to("nowhere")
    for out in (tmp_path / "out", tmp_path / "file", tmp_path / "link", tmp_path / "file" / "below"):
        with pytest.raises(PathError) as told:
            apply_deltas(both, str(base), out)
        assert told.value.exit_code == 4
    (tmp_path / "file").unlink()
    (tmp_path / "link").unlink()
    assert files(tmp_path) == before
    (tmp_path / "empty").mkdir()
    apply_deltas(both, str(base), tmp_path / "empty")
    assert files(tmp_path / "empty") == files(tmp_path / "out")


def test_a_dry_run_checks_and_writes_nothing(tmp_path, base, both):
    apply_deltas(both, str(base), tmp_path / "out")
    run = make_run(tmp_path / "run", base, SINHALA)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    told = apply_deltas(both, str(base), tmp_path / "new", dry_run=True)
    assert told["size"] == apply_deltas(both, str(base), tmp_path / "new")["size"]
    shutil.rmtree(tmp_path / "new")
    os.utime(tmp_path, ns=(before.get(tmp_path, 0), 0))
    assert remove_deltas(tmp_path / "out", str(base), tmp_path / "new", dry_run=True)["removed"] == [
        "si",
        "ug",
    ]
    assert make_delta(run, tmp_path / "new", dry_run=True)["added"] == 4
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    (both[0] / "added.txt").write_text("x")
    with pytest.raises(CheckpointError, match=r"added\.txt"):
        apply_deltas(both, str(base), tmp_path / "new", dry_run=True)


def test_a_full_disk_leaves_nothing(tmp_path, base, both, monkeypatch):
    run = make_run(tmp_path / "run", base, SINHALA)
    apply_deltas(both, str(base), tmp_path / "out")
    before = {path for path in tmp_path.rglob("*") if path.name != ".lock"}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(store.operations, "move", full)
    for write in (
        lambda: make_delta(run, tmp_path / "new"),
        lambda: apply_deltas(both, str(base), tmp_path / "new"),
        lambda: remove_deltas(tmp_path / "out", str(base), tmp_path / "new"),
    ):
        with pytest.raises(SpaceError) as told:
            write()
        assert told.value.exit_code == 5
    assert {path for path in tmp_path.rglob("*") if path.name != ".lock"} == before


def test_a_file_that_may_not_grow_leaves_nothing(tmp_path, base, both):
    """A real limit, met by the library that writes the weights."""
    child = os.fork()
    if not child:
        code = 99
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
            apply_deltas(both, str(base), tmp_path / "new")
        except Exception as error:  # the library that writes the weights is told by the command line
            told = as_told(error)
            code = told.exit_code if told else 98
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "si", "si.d", "ug", "ug.d"]


@pytest.mark.parametrize(("spoilt", "said"), [(3, "old rows"), (-1, "as it was written")])
def test_a_result_that_reads_otherwise_is_not_published(tmp_path, base, both, monkeypatch, spoilt, said):
    """The proof reads what lies on disk: a writer that moves one row a little is caught."""
    save_model = deltas.save_model

    def careless(model, directory):
        with torch.no_grad():
            model.get_input_embeddings().weight[spoilt, 0] += 1e-6
        save_model(model, directory)

    monkeypatch.setattr(deltas, "save_model", careless)
    with pytest.raises(CheckpointError, match=said):
        apply_deltas(both, str(base), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_delta_says_nothing_of_the_machine(tmp_path, base):
    run = make_run(tmp_path / "run", base, SINHALA)
    make_delta(run, tmp_path / "delta")
    apply_deltas([tmp_path / "delta"], str(base), tmp_path / "out")
    for path in (*(tmp_path / "delta").iterdir(), tmp_path / "out" / RECORD):
        assert str(tmp_path).encode() not in path.read_bytes()
    assert read_delta(tmp_path / "delta").facts.base.name == "base"
