"""`extend grow` with every initialiser: what it needs is found, or told when missing; rows are explained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from extend import recipe
from extend.cli import main
from extend.config import load_settings
from extend.errors import CheckpointError, DataError, PathError, UsageError
from extend.growth import grow_
from extend.hub import load_pretraining_model
from extend.initializers import INITIALIZERS, SubwordMean
from extend.languages import resolve
from extend.recipe.growing import check_growth, explain_row, started_rows
from extend.recipe.initializing import with_method
from extend.tokenizer import load_tokenizer, segment
from tests.extend.cli_runs import make_inputs
from tests.extend.initializer_runs import (
    SMALL,
    fasttext_model,
    files_for,
    opened,
    pieces_of,
    rows_of,
    weights_of,
    write_vectors,
)
from tests.models import PIECES, tiny_checkpoint, tiny_model
from tests.oracles import initializers as oracle


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inputs")
    make_inputs(directory)
    return directory


@pytest.fixture(scope="module")
def learned(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("learned") / "ka"
    recipe.learn_vocabulary(opened(inputs, directory))
    return directory


@pytest.fixture
def a_run(inputs: Path, learned: Path, tmp_path: Path) -> Callable[..., recipe.Run]:
    def make(name: str = "ka", **grow: Any) -> recipe.Run:
        shutil.copytree(learned, tmp_path / name)
        return opened(inputs, tmp_path / name, **grow)

    return make


@pytest.mark.parametrize("name", INITIALIZERS)
def test_every_method_grows_a_run(name: str, a_run: Callable[..., recipe.Run], tmp_path: Path) -> None:
    pieces, added = pieces_of(a_run("first"))
    run = a_run(init=name, **files_for(name, tmp_path / "files", pieces, added))
    report = recipe.grow(run)
    rows, (weight, bias) = rows_of(run), weights_of(run)
    assert len(rows) == len(added) == report["added"]
    assert {row["method"] for row in rows} == {name}
    assert sum(report["by_method"].values()) == len(added)
    assert report["by_method"].get(name, 0) > 0 or name == "script"
    assert weight.shape[0] == bias.shape[0] == len(pieces) + len(added)
    assert bool(torch.isfinite(weight).all())
    assert all(len(row["sources"]) <= 10 for row in rows)
    manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
    assert manifest["stages"]["grow"]["by_method"] == report["by_method"]
    assert not (run.directory / "vectors" / "text").exists()
    assert recipe.grow(run) == report


def test_trained_vectors_are_kept_and_give_the_same_bytes(a_run: Callable[..., recipe.Run]) -> None:
    first, second = a_run("first", init="focus"), a_run("second", init="focus")
    report = recipe.grow(first)
    assert report["by_method"].get("focus", 0) > 30
    kept = [path.name for path in (first.directory / "vectors").iterdir()]
    assert len(kept) == 1
    shutil.copytree(first.directory / "vectors", second.directory / "vectors")
    recipe.grow(second)
    third = a_run("third", init="focus")
    recipe.grow(third)
    assert [path.name for path in (third.directory / "vectors").iterdir()] == kept
    for name in ("model.safetensors", "rows.jsonl"):
        bytes_of = {(run.grown / name).read_bytes() for run in (first, second, third)}
        assert len(bytes_of) == 1


@pytest.mark.parametrize("spelling", ["wordpiece", "sentencepiece"])
def test_a_file_of_pieces_is_read_by_place_in_the_word_whatever_its_spelling(
    spelling: str, a_run: Callable[..., recipe.Run], tmp_path: Path
) -> None:
    pieces, added = pieces_of(a_run("first"))
    names = [*pieces[5:], *added]
    if spelling == "sentencepiece":
        names = [name[2:] if name.startswith("##") else f"▁{name}" for name in names]
    drawn = write_vectors(tmp_path / "pieces.vec", names)
    run = a_run(init="focus", vectors=str(tmp_path / "pieces.vec"))
    recipe.grow(run)
    vectors = np.vstack([np.zeros((5, 6)), drawn.astype(np.float32).astype(np.float64)])
    weight, bias = (values.double().numpy() for values in weights_of(run))
    for place in range(len(added)):
        weights = oracle.focus_weights(len(pieces), vectors, place, PIECES.index("[UNK]"))
        np.testing.assert_allclose(weight[len(pieces) + place], oracle.row(weight, weights), atol=1e-5)
        np.testing.assert_allclose(bias[len(pieces) + place], oracle.row(bias, weights), atol=1e-5)


def test_a_list_of_words_gives_pieces_inside_words_no_vector(
    a_run: Callable[..., recipe.Run], tmp_path: Path
) -> None:
    _, added = pieces_of(a_run("first"))
    words = sorted({piece.removeprefix("##") for piece in added})
    write_vectors(tmp_path / "words.vec", [*words, "a", "b", "c"])
    run = a_run(init="focus", vectors=str(tmp_path / "words.vec"))
    recipe.grow(run)
    for row in rows_of(run):
        inside = row["piece"].startswith("##")
        assert (row["fallback"] is None) is not inside
        assert not inside or row["why"].startswith("it has no vector")


def test_a_fasttext_model_gives_every_piece_a_vector(
    a_run: Callable[..., recipe.Run], tmp_path: Path
) -> None:
    _, added = pieces_of(a_run("first"))
    fasttext_model(tmp_path / "words.bin", ["the", "river", "house"])
    run = a_run(init="focus", vectors=str(tmp_path / "words.bin"))
    by_method = recipe.grow(run)["by_method"]
    long_enough = sum(len(piece.removeprefix("##")) > 1 for piece in added)
    assert by_method["focus"] >= long_enough


def test_a_dictionary_word_gets_its_translations_rows(
    a_run: Callable[..., recipe.Run], tmp_path: Path
) -> None:
    pieces, added = pieces_of(a_run("first"))
    word = next(piece for piece in added if not piece.startswith("##"))
    (tmp_path / "pairs.txt").write_text(f"{word} river\n{word} stone\n{word} ქვა\n", "utf-8")
    run = a_run(init="dictionary", dictionary=str(tmp_path / "pairs.txt"))
    recipe.grow(run)
    weight, _ = weights_of(run)
    river, stone = PIECES.index("river"), PIECES.index("stone")
    place = len(pieces) + added.index(word)
    torch.testing.assert_close(weight[place], (weight[river] + weight[stone]) / 2)
    told = explain_row(run, word)
    assert {source["piece"] for source in told["sources"]} == {"river", "stone"}


def test_clp_takes_the_rows_of_the_helper_by_piece(a_run: Callable[..., recipe.Run], tmp_path: Path) -> None:
    pieces, added = pieces_of(a_run("first"))
    helper = tiny_checkpoint(
        tmp_path / "helper", pieces=(*PIECES[:5], *reversed(added[:20]), *PIECES[30:50]), hidden=8, seed=3
    )
    run = a_run(init="clp", helper=str(helper), options={"sparse": True})
    recipe.grow(run)
    theirs = load_file(helper / "model.safetensors")["bert.embeddings.word_embeddings.weight"].double()
    known = [*PIECES[:5], *reversed(added[:20]), *PIECES[30:50]]
    table = np.zeros((len(pieces) + len(added), 8))
    for index, piece in enumerate([*pieces, *added]):
        if piece in known[5:]:
            table[index] = theirs[known.index(piece)].numpy()
    weight = weights_of(run)[0].double().numpy()
    for place in range(20):
        weights = oracle.clp_weights(len(pieces), table, place, 1, sparse=True)
        np.testing.assert_allclose(weight[len(pieces) + place], oracle.row(weight, weights), atol=1e-5)
    assert all(row["fallback"] for row in rows_of(run)[20:])


def test_the_frequency_bias_counts_the_corpus(a_run: Callable[..., recipe.Run]) -> None:
    run = a_run(bias="frequency")
    report = recipe.grow(run)
    assert report["bias"] == "frequency"
    pieces, added = pieces_of(run)
    bias = weights_of(run)[1].double().numpy()
    text = [*Path(run.settings.corpus[0]).read_text("utf-8").split("\n")]
    text += [*Path(run.settings.corpus[1]).read_text("utf-8").split("\n")]
    counts = np.zeros(len(pieces) + len(added))
    tokenizer = load_tokenizer(run.vocabulary / "tokenizer")
    for line in text:
        np.add.at(counts, tokenizer.encode(line, add_special_tokens=False).ids, 1)
    new = slice(len(pieces), None)
    correlation = np.corrcoef(np.log(counts[new] + 1), bias[new])[0, 1]
    assert correlation > 0.99
    assert np.corrcoef(weights_of(a_grown(a_run))[1][new], bias[new])[0, 1] < 0.99


def a_grown(a_run: Callable[..., recipe.Run]) -> recipe.Run:
    run = a_run("grown")
    recipe.grow(run)
    return run


NEEDS = [
    ("wechsel", {}, r"wechsel needs grow\.base_vectors, grow\.dictionary, grow\.vectors"),
    ("wechsel", {"vectors": "x", "dictionary": "x"}, r"wechsel needs grow\.base_vectors"),
    ("dictionary", {}, r"dictionary needs grow\.dictionary"),
    ("clp", {}, r"clp needs grow\.helper"),
    ("subword", {"vectors": "x"}, r"grow\.vectors is given, but subword takes none"),
    ("nearest", {}, "unknown initialiser 'nearest'"),
    ("subword", {"bias": "none"}, "unknown bias 'none'"),
    ("mvn", {"options": {"scale": -1.0}}, r"scale: expected a number above 0, got -1\.0"),
    ("clp", {"helper": "x", "options": {"sparse": 1}}, "sparse: expected true or false, got 1"),
    ("ofa", {"options": {"dimensions": 2.5}}, r"dimensions: expected a whole number of at least 1, got 2\.5"),
    ("paper", {"options": {"sd": 0.1}}, "paper has no 'sd'"),
]


@pytest.mark.parametrize(("name", "grow", "told"), NEEDS)
def test_what_is_missing_or_wrong_is_told_before_anything_is_made(
    name: str, grow: dict[str, Any], told: str, inputs: Path, tmp_path: Path
) -> None:
    run = opened(inputs, tmp_path / "ka", init=name, **grow)
    with pytest.raises(UsageError, match=told) as caught:
        recipe.grow(run)
    assert caught.value.name == "E-CONFIG"
    assert not run.directory.exists()


def test_another_method_takes_the_files_it_needs_and_leaves_the_rest() -> None:
    wanted = load_settings(None, {"grow.vectors": "a", "grow.helper": "b", "grow.options": {"std": 0.1}}).grow
    assert with_method(wanted, "focus").model_dump(exclude_defaults=True) == {"init": "focus", "vectors": "a"}
    assert with_method(wanted, "mean").model_dump(exclude_defaults=True) == {"init": "mean"}


def test_a_file_that_is_not_there(inputs: Path, tmp_path: Path) -> None:
    run = opened(inputs, tmp_path / "ka", init="focus", vectors=str(tmp_path / "none.vec"))
    with pytest.raises(PathError, match=r"grow\.vectors: there is no file"):
        recipe.grow(run)
    assert not run.directory.exists()


def test_vectors_of_two_dimensions_do_not_go_together(
    a_run: Callable[..., recipe.Run], tmp_path: Path
) -> None:
    files = files_for("wechsel", tmp_path / "files", *pieces_of(a_run("first")))
    write_vectors(tmp_path / "files" / "old.vec", ["the", "river"], dimension=4)
    run = a_run(init="wechsel", **files)
    with pytest.raises(DataError, match=r"old\.vec: vectors of 4 numbers, 6 are wanted"):
        recipe.grow(run)
    assert not run.grown.exists()


def test_a_dictionary_without_a_known_pair(a_run: Callable[..., recipe.Run], tmp_path: Path) -> None:
    files = files_for("wechsel", tmp_path / "files", *pieces_of(a_run("first")))
    Path(files["dictionary"]).write_text("სიტყვა nothing\n", encoding="utf-8")
    with pytest.raises(DataError, match="no pair has vectors on both sides") as caught:
        recipe.grow(a_run(init="wechsel", **files))
    assert caught.value.name == "E-DICTIONARY"


def test_a_broken_line_of_a_dictionary_is_told_by_file_and_line(
    a_run: Callable[..., recipe.Run], tmp_path: Path
) -> None:
    (tmp_path / "pairs.txt").write_text("one two\nalone\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"pairs\.txt:2: "):
        recipe.grow(a_run(init="dictionary", dictionary=str(tmp_path / "pairs.txt")))


def test_the_grown_folder_is_no_base_for_itself(a_run: Callable[..., recipe.Run], tmp_path: Path) -> None:
    run = a_run()
    recipe.grow(run)
    before = (run.grown / "model.safetensors").read_bytes()
    given = {**SMALL, "base": str(run.grown), "corpus": run.settings.corpus}
    same = recipe.open_run(load_settings(None, given), run.directory, resolve("ka"))
    with pytest.raises(UsageError) as caught:
        check_growth(same)
    assert (caught.value.name, caught.value.exit_code) == ("E-SAME-PATH", 2)
    with pytest.raises(UsageError):
        recipe.grow(same)
    assert (run.grown / "model.safetensors").read_bytes() == before


def test_a_changed_file_is_another_setting(a_run: Callable[..., recipe.Run], tmp_path: Path) -> None:
    files = files_for("focus", tmp_path / "files", *pieces_of(a_run("first")))
    run = a_run(init="focus", **files)
    report = recipe.grow(run)
    copied = tmp_path / "elsewhere.vec"
    shutil.copy(files["vectors"], copied)
    moved = opened(Path(run.settings.base).parent, run.directory, init="focus", vectors=str(copied))
    assert recipe.grow(moved) == report
    write_vectors(copied, ["the", "river"])
    with pytest.raises(CheckpointError, match="other settings"):
        recipe.grow(moved)


def test_rows_that_could_not_be_made_are_counted_and_warned_of(a_run: Callable[..., recipe.Run]) -> None:
    run = a_run()
    report = recipe.grow(run)
    pieces, added = pieces_of(run)
    tokenizer = load_tokenizer(Path(run.settings.base))
    base = weights_of(run)[0][: len(pieces)]
    unknown = PIECES.index("[UNK]")
    spelled = segment(tokenizer, added)
    bare = sum(set(ids) <= {unknown} for ids in spelled)
    assert report["by_method"]["normal"] == bare > len(added) / 2
    assert [warning["name"] for warning in report["warnings"]] == ["W-FALLBACK"]
    assert "every base piece of it is unknown" in report["warnings"][0]["text"]
    made = SubwordMean()(
        base, torch.zeros(len(pieces)), spelled, torch.Generator().manual_seed(1), unknown=unknown
    )
    assert torch.equal(weights_of(run)[0][len(pieces) :], made.rows)


def test_explain_names_the_source_pieces(
    a_run: Callable[..., recipe.Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = a_run("runs/ka", init="focus")
    with pytest.raises(CheckpointError, match="no grown model yet"):
        explain_row(run, "x")
    recipe.grow(run)
    monkeypatch.chdir(tmp_path)
    row = next(row for row in rows_of(run) if len(row["sources"]) > 1)
    assert main(["grow", "--lang", "ka", "--explain", row["piece"], "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [source["id"] for source in told["sources"]] == [index for index, _ in row["sources"]]
    assert [source["piece"] for source in told["sources"]] == [PIECES[index] for index, _ in row["sources"]]
    assert main(["grow", "--lang", "ka", "--explain", row["piece"]]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in (row["piece"], "method: focus", PIECES[row["sources"][0][0]]))
    assert main(["grow", "--lang", "ka", "--explain", "river"]) == 0
    assert "its row is the base's own" in capsys.readouterr().out
    assert main(["grow", "--lang", "ka", "--explain", "ყოვ"]) == 2
    assert "error[E-PIECE]" in capsys.readouterr().err


def test_the_command_takes_the_files(
    a_run: Callable[..., recipe.Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = a_run("runs/ka")
    files = files_for("focus", tmp_path / "files", *pieces_of(run))
    monkeypatch.chdir(tmp_path)
    options = ["--init", "focus", "--bias", "mean", "--vectors", files["vectors"], "--format", "json"]
    assert main(["grow", "--lang", "ka", *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["initializer"], printed["bias"]) == ("focus", "mean")
    pieces, _ = pieces_of(run)
    bias = weights_of(run)[1]
    torch.testing.assert_close(bias[len(pieces) :], bias[: len(pieces)].mean().expand(printed["added"]))


def test_a_decoder_that_is_not_tied_gets_rows_of_its_own(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs, tmp_path / "inputs", ignore=shutil.ignore_patterns("base"))
    tiny_checkpoint(tmp_path / "inputs" / "base", architecture="bert-untied")
    run = opened(tmp_path / "inputs", tmp_path / "ka", init="subword")
    recipe.grow(run)
    model = load_pretraining_model(run.grown)
    tables = (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    assert not torch.equal(*tables)
    place, row = next((place, row) for place, row in enumerate(rows_of(run)) if row["fallback"] is None)
    for table in tables:
        expected = sum(weight * table[index] for index, weight in row["sources"])
        torch.testing.assert_close(table[len(PIECES) + place], expected)


def test_a_decoder_without_biases_gets_none(a_run: Callable[..., recipe.Run]) -> None:
    run = a_run(bias="frequency")
    model, tokenizer = tiny_model("modernbert-no-bias"), load_tokenizer(Path(run.settings.base))
    new = started_rows(run, model, tokenizer, pieces_of(run)[1])
    assert not new.bias.any()
    grow_(model, new.rows, new.bias)
