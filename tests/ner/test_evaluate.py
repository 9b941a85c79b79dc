"""ner-eval from files to files on a tiny encoder: the numbers, what is written, what is refused."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extend.errors import CheckpointError, DataError, PathError, UsageError
from extend.types import Progress
from ner.compare import compare, score_files
from ner.evaluate import check, evaluate
from ner.train import TrainSettings
from tests.ner.tiny import NAMES, made_sentences, tiny_encoder, write_conll

SETTINGS = TrainSettings(
    seeds=2, epochs=12, patience=12, hidden_size=16, layers=1, dropout=0.1, learning_rate=2e-2
)
CYRILLIC = dict(zip("abcdefghijlmnoprstuvw", "абцдефгхийлмнопрстуюя", strict=True))

Data = dict[str, dict[str, Path]]


def spelled(rows: list[tuple[str, str]], letters: dict[str, str]) -> list[tuple[str, str]]:
    return [("".join(letters.get(letter, letter) for letter in word), tag) for word, tag in rows]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """`aa`: the made task. `bb`: the same in letters that the encoder has no piece for, and no dev set."""
    folder = tmp_path_factory.mktemp("data")
    splits = {"train": (200, 1), "dev": (60, 2), "test": (80, 3)}
    made = {split: made_sentences(count, seed=seed) for split, (count, seed) in splits.items()}
    other = {split: [spelled(rows, CYRILLIC) for rows in made[split]] for split in ("train", "test")}
    return {
        "aa": {split: write_conll(folder / f"aa.{split}.conll", rows) for split, rows in made.items()},
        "bb": {split: write_conll(folder / f"bb.{split}.conll", rows) for split, rows in other.items()},
    }


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("encoders")
    words = (
        *(f"w{letter}" for letter in "abcdefghij"),
        *(name for names in NAMES.values() for name in names),
    )
    cyrillic = tuple("".join(CYRILLIC.get(letter, letter) for letter in word) for word in words)
    return {
        "base": tiny_encoder(folder / "base"),
        "extended": tiny_encoder(folder / "extended", extra=cyrillic, architecture="modernbert"),
    }


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, encoders: dict[str, Path], data: Data
) -> tuple[Path, Any, list]:
    out = tmp_path_factory.mktemp("run") / "ner"
    told: list[Progress] = []
    results = evaluate(
        encoders,
        data,
        source="aa",
        targets=["bb"],
        zero_shot=True,
        supervised=True,
        settings=SETTINGS,
        out=out,
        on_progress=told.append,
    )
    return out, results, told


def test_scores_say_what_the_encoders_can(run: tuple[Path, Any, list]) -> None:
    _, results, _ = run
    zero, supervised = results["zero-shot"], results["supervised"]
    for encoder in ("base", "extended"):
        assert zero["encoders"][encoder]["aa"]["f1_mean"] > 90
        assert zero["encoders"][encoder]["bb"]["f1_mean"] < 30
        assert zero["encoders"][encoder]["bb"]["illegal"] == 0
        assert zero["encoders"][encoder]["aa"]["unk_rate"] == 0
    assert supervised["encoders"]["base"]["bb"]["unk_rate"] == 1
    assert supervised["encoders"]["extended"]["bb"]["unk_rate"] == 0
    assert supervised["encoders"]["extended"]["bb"]["f1_mean"] > 90
    assert supervised["encoders"]["extended"]["bb"]["fertility"] == 1
    gap = supervised["differences"]["bb"]["extended"]
    assert gap["f1"] > 30
    assert gap["ci95"][0] > 10
    assert not gap["noise"]
    assert zero["differences"]["aa"].keys() == {"extended"}


def test_every_cell_has_the_fields_that_scripts_rely_on(run: tuple[Path, Any, list]) -> None:
    _, results, _ = run
    assert results["zero-shot"]["encoders"].keys() == {"base", "extended"}
    for protocol in results.values():
        assert protocol["schema"] == 1
        for cells in protocol["encoders"].values():
            for cell in cells.values():
                assert len(cell["f1"]) == 2
                assert cell["f1_mean"] == pytest.approx(sum(cell["f1"]) / 2, abs=1e-3)
                assert cell["ci95"][0] <= cell["f1_mean"] <= cell["ci95"][1]
                assert cell["strict_f1_mean"] == pytest.approx(cell["f1_mean"])  # decodes are never illegal
                assert cell["per_type"]["PER"].keys() == {"precision", "recall", "f1", "support"}
                assert cell["f1_std"] >= 0
    tests = results["zero-shot"]["data"]["bb"]["test"]
    assert tests["entities"] == sum(
        rate["support"] for rate in results["zero-shot"]["encoders"]["base"]["bb"]["per_type"].values()
    )
    assert results["supervised"]["data"]["bb"]["dev"]["held_out_of"] == "train"
    assert results["supervised"]["source"] is None
    assert results["zero-shot"]["source"] == "aa"


def test_files_agree_with_the_numbers(run: tuple[Path, Any, list], data: Data) -> None:
    out, results, _ = run
    for protocol, result in results.items():
        folder = out / protocol
        assert json.loads((folder / "results.json").read_text()) == result
        rows = list(csv.DictReader((folder / "matrix.csv").read_text().splitlines()))
        assert {(row["encoder"], row["language"]): float(row["f1_mean"]) for row in rows} == {
            (encoder, language): cell["f1_mean"]
            for encoder, cells in result["encoders"].items()
            for language, cell in cells.items()
        }
        text = (folder / "report.md").read_text()
        assert "seeds 1 to 2" in text
        assert all(name in text for name in ("base", "extended", "## bb", "PER", "Holm"))
    for turn, f1 in enumerate(results["zero-shot"]["encoders"]["base"]["aa"]["f1"]):
        file = out / "zero-shot" / "predictions" / f"base-aa-aa-seed{1 + turn}.conll"
        assert score_files(data["aa"]["test"], file)["repaired"]["f1"] == pytest.approx(f1, abs=1e-3)
    selections = 3  # source-dev, last, averaged; no dev set of bb for an oracle
    assert len(list((out / "zero-shot" / "predictions").iterdir())) == 8 * selections
    assert len(list((out / "supervised" / "predictions").iterdir())) == 4 * selections


def test_every_error_is_listed_once(run: tuple[Path, Any, list]) -> None:
    out, results, _ = run
    records = [json.loads(line) for line in (out / "zero-shot" / "errors.jsonl").read_text().splitlines()]
    for encoder, cells in results["zero-shot"]["encoders"].items():
        for language, cell in cells.items():
            mine = [r for r in records if (r["encoder"], r["test"]) == (encoder, language)]
            assert {kind: sum(r["kind"] == kind for r in mine) for kind in cell["errors"]} == cell["errors"]
            assert all(r["seed"] == 1 for r in mine)
    assert all(r["unk"] for r in records if (r["encoder"], r["test"]) == ("base", "bb"))


def test_comparing_the_files_gives_the_same_difference(run: tuple[Path, Any, list]) -> None:
    out, results, _ = run
    folder = out / "supervised" / "predictions"
    found = compare(folder / "base-bb-bb", folder / "extended-bb-bb")["comparisons"]
    (gap,) = found.values()
    expected = results["supervised"]["differences"]["bb"]["extended"]
    assert gap["f1"] == pytest.approx(expected["f1"], abs=1e-3)
    assert gap["ci95"] == pytest.approx(expected["ci95"], abs=1e-3)
    assert gap["first"]["seeds"] == 2
    itself = compare(out / "zero-shot", out / "zero-shot")["comparisons"]
    assert len([name for name in itself if not name.endswith(("-last", "-averaged"))]) == 4
    assert all(one["f1"] == 0 and one["noise"] for one in itself.values())


def test_progress_counts_up_to_the_end(run: tuple[Path, Any, list]) -> None:
    _, _, told = run
    counts = [progress.done for progress in told]
    assert counts == sorted(counts)
    assert counts[-1] == told[-1].total == 2 * 2 * 2 * 12
    assert any("dev_f1" in progress.details for progress in told)


def without_time(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in ("seconds", "timing")}


def test_same_seed_same_bytes(
    run: tuple[Path, Any, list], tmp_path: Path, encoders: dict[str, Path], data: Data
) -> None:
    out, results, _ = run
    again = evaluate(
        encoders,
        data,
        source="aa",
        targets=["bb"],
        zero_shot=False,
        supervised=True,
        settings=SETTINGS,
        out=tmp_path,
    )
    assert without_time(again["supervised"]) == without_time(results["supervised"])
    for path in (out / "supervised").rglob("*"):
        if path.is_file() and path.name not in ("results.json", "MANIFEST.json"):  # they tell the time
            assert (tmp_path / path.relative_to(out)).read_bytes() == path.read_bytes()


def test_encoders_with_the_same_vectors_share_heads(
    tmp_path: Path, encoders: dict[str, Path], data: Data
) -> None:
    told: list[Progress] = []
    results = evaluate(
        {"one": encoders["base"], "two": encoders["base"]},
        data,
        source="aa",
        targets=["aa"],
        zero_shot=True,
        supervised=False,
        settings=replace(SETTINGS, seeds=1, epochs=2),
        out=tmp_path,
        on_progress=told.append,
    )["zero-shot"]
    assert results["encoders"]["one"] == results["encoders"]["two"]
    assert results["differences"]["aa"]["two"]["identical"]
    assert {progress.text for progress in told if "dev_f1" in progress.details} == {"one on aa, seed 1"}


def test_labels_restrict_training_and_test(tmp_path: Path, encoders: dict[str, Path], data: Data) -> None:
    results = evaluate(
        {"base": encoders["base"]},
        data,
        source="aa",
        targets=["bb"],
        zero_shot=True,
        supervised=False,
        labels=["PER"],
        settings=replace(SETTINGS, seeds=1, epochs=3),
        out=tmp_path,
    )["zero-shot"]
    assert results["encoders"]["base"]["aa"]["per_type"].keys() == {"PER"}
    assert results["data"]["aa"]["train"]["labels"] == ["PER"]
    assert results["encoders"]["base"]["aa"]["f1_std"] == 0
    assert "seed 1 only" in (tmp_path / "zero-shot" / "report.md").read_text()


def broken(data: Data, **files: Path) -> Data:
    return {language: {**splits, **(files if language == "aa" else {})} for language, splits in data.items()}


ASK = {"source": "aa", "targets": ["bb"], "zero_shot": True, "supervised": False}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"zero_shot": False}, UsageError, "neither zero-shot nor supervised"),
        ({"targets": []}, UsageError, "no language to evaluate on"),
        ({"targets": ["../x"]}, UsageError, "is not a name"),
        ({"targets": ["cc"]}, UsageError, "no test file for cc"),
        ({"source": "cc"}, UsageError, "no train file for cc"),
        ({"labels": ["PRE"]}, UsageError, "no entity of type PRE"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_any_work(
    change: dict[str, Any],
    error: type[Exception],
    text: str,
    tmp_path: Path,
    encoders: dict[str, Path],
    data: Data,
) -> None:
    for call in (check, lambda *a, **k: evaluate(*a, **k, out=tmp_path / "ner")):
        with pytest.raises(error, match=text):
            call(encoders, data, **{**ASK, **change})
    assert not list(tmp_path.iterdir())


def test_bad_files_are_told_and_nothing_is_written(
    tmp_path: Path, encoders: dict[str, Path], data: Data
) -> None:
    bad = tmp_path / "bad.conll"
    bad.write_text("a\tO\nb\n")
    call: Callable[..., Any] = lambda encoders, data: evaluate(encoders, data, **ASK, out=tmp_path / "ner")  # noqa: E731
    with pytest.raises(DataError, match=f"{bad}:2"):
        call(encoders, broken(data, train=bad))
    with pytest.raises(PathError):
        call(encoders, broken(data, train=tmp_path / "none.conll"))
    with pytest.raises(UsageError, match="no encoder"):
        call({}, data)
    with pytest.raises(CheckpointError):
        call({"base": tmp_path}, data)
    single = tmp_path / "single.conll"
    single.write_text("a\tB-PER\n")
    with pytest.raises(UsageError, match="one distinct sentence"):
        check(encoders, {**data, "cc": {"train": single, "test": single}}, **{**ASK, "source": "cc"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.conll", "single.conll"]


def test_warnings_tell_leaks_strangers_and_repairs(
    tmp_path: Path, encoders: dict[str, Path], data: Data
) -> None:
    test = tmp_path / "test.conll"
    test.write_text(data["aa"]["train"].read_text().split("\n\n")[0] + "\n\nx\tB-MISC\ny\tI-LOC\n")
    results = evaluate(
        {"base": encoders["base"]},
        broken(data, test=test),
        source="aa",
        targets=["aa"],
        zero_shot=True,
        supervised=False,
        settings=replace(SETTINGS, seeds=1, epochs=1),
        out=tmp_path / "ner",
    )["zero-shot"]
    told = {warning["name"]: warning["text"] for warning in results["warnings"]}
    assert "1 sentences are in the training set" in told["W-LEAK"]
    assert "MISC" in told["W-LABEL"]
    assert "1 illegal tags" in told["W-REPAIRED"]
    assert "W-LEAK" in (tmp_path / "ner" / "zero-shot" / "report.md").read_text()
