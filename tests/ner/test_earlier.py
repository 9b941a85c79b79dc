"""An evaluation that is done is taken as it is, and whatever it follows from moves makes it anew."""

import json
from pathlib import Path
from typing import Any

import pytest

from extend.types import Progress
from ner.evaluate import Method, TrainSettings, evaluate
from ner.files import NerFile, PretrainingText
from tests.ner.tiny import made_sentences, tiny_encoder, write_conll

Files = dict[str, dict[str, NerFile]]
QUICK = TrainSettings(seeds=1, epochs=1, batch_size=8, hidden_size=8, layers=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found: dict[str, NerFile] = {}
    for split, count in (("train", 12), ("dev", 4), ("test", 4)):
        path = tmp_path / f"{split}.conll"
        write_conll(path, made_sentences(count, seed=len(split)))
        found[split] = NerFile(path)
    return {"aa": found}


def evaluated(out: Path, encoder: Path, files: Files, **changed: Any) -> tuple[dict[str, Any], bool]:
    """The results, and whether any head was trained for them."""
    told: list[Progress] = []
    options = {"settings": QUICK, "reuse": True, "groups": None, **changed}
    results = evaluate(
        {"base": encoder}, files, source="aa", targets=["aa"], zero_shot=False, supervised=True, out=out,
        on_progress=told.append, **options,
    )  # fmt: skip
    return results, any("loss" in progress.details for progress in told)


def test_what_is_done_is_taken_as_it_is(tmp_path: Path, encoder: Path, files: Files) -> None:
    out = tmp_path / "ner"
    first, trained = evaluated(out, encoder, files)
    assert trained
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again, trained = evaluated(out, encoder, files)
    assert not trained
    assert again == json.loads(json.dumps(first))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert evaluated(out, encoder, files, reuse=False)[1]


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": TrainSettings(seeds=1, epochs=1, batch_size=8, hidden_size=9, layers=1)},
        {"first_seed": 2},
        {"groups": {"all": ["aa"]}},
        {"labels": ["PER"]},
        {"method": Method(keep="none")},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_choice_is_evaluated_anew(
    tmp_path: Path, encoder: Path, files: Files, changed: dict[str, Any]
) -> None:
    evaluated(tmp_path / "ner", encoder, files)
    assert evaluated(tmp_path / "ner", encoder, files, **changed)[1]
    assert not evaluated(tmp_path / "ner", encoder, files, **changed)[1]


def test_other_data_another_encoder_and_other_text_are_evaluated_anew(
    tmp_path: Path, encoder: Path, files: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path / "ner"
    evaluated(out, encoder, files)
    write_conll(files["aa"]["test"].path, made_sentences(5, seed=99))
    assert evaluated(out, encoder, files)[1]
    assert not evaluated(out, encoder, files)[1]
    other = tiny_encoder(tmp_path_factory.mktemp("other"), extra=("another",))
    assert evaluated(out, other, files)[1]
    assert evaluated(out, encoder, files)[1]
    for identity, anew in (("one", True), ("one", False), ("two", True), ("", True), ("", True)):
        text = PretrainingText(lambda: ["a line"], identity=identity)
        read = {"aa": {split: NerFile(file.path, text=text) for split, file in files["aa"].items()}}
        assert evaluated(out, encoder, read)[1] == anew, identity


@pytest.mark.parametrize("name", ["results.json", "report.md", "predictions", "MANIFEST.json"])
def test_a_file_that_was_touched_is_made_anew(tmp_path: Path, encoder: Path, files: Files, name: str) -> None:
    out = tmp_path / "ner"
    first, _ = evaluated(out, encoder, files)
    path = out / "supervised" / name
    path = next(path.iterdir()) if path.is_dir() else path
    if name == "MANIFEST.json":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    again, trained = evaluated(out, encoder, files)
    assert trained
    assert again["supervised"]["encoders"] == first["supervised"]["encoders"]
