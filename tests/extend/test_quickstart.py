"""The quickstart in small: the whole chain on a tiny made world, twice the same, nothing old touched."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from extend.errors import CheckpointError
from extend.quickstart import Plan, quickstart
from extend.types import Progress
from extend.world import NEW_LANGUAGE, WorldSize

TINY = Plan(
    world=WorldSize(base_words=6_000, new_words=6_000, train=60, dev=20, test=30),
    base_pieces=900,
    new_pieces=400,
    bilingual_pieces=700,
    hidden_size=32,
    base_steps=30,
    new_rows_steps=30,
    bilingual_steps=10,
    batch_size=8,
    length=32,
    held_out_lines=60,
    ner_seeds=1,
    ner_epochs=2,
)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[Progress]]:
    directory = tmp_path_factory.mktemp("quickstart") / "run"
    told: list[Progress] = []
    return directory, quickstart(directory, 1, told.append, plan=TINY), told


def test_the_table_is_whole(chain: tuple[Path, dict[str, Any], list[Progress]]) -> None:
    _, result, _ = chain
    assert list(result["encoders"]) == ["base", "extended", "bilingual"]
    for name, line in result["encoders"].items():
        assert 0 <= line["unk_rate"] <= 1
        assert line["fertility"] >= 1
        assert name == "base" or line["mlm_loss"] > 0
        for score in ("zero_shot_f1", "supervised_f1", "source_f1"):
            assert 0 <= line[score] <= 100
    base, extended = result["encoders"]["base"], result["encoders"]["extended"]
    assert base["unk_rate"] > 0.7
    assert extended["unk_rate"] < 0.02
    assert result["seconds"] > 0
    json.dumps(result, allow_nan=False)


def test_new_rows_alone_were_trained(chain: tuple[Path, dict[str, Any], list[Progress]]) -> None:
    directory, result, _ = chain
    old = load_file(directory / "base" / "model" / "model.safetensors")
    new = load_file(directory / "model" / "model.safetensors")
    grown = load_file(directory / "grown" / "model.safetensors")
    assert old.keys() == new.keys()
    moved = 0
    for name, before in old.items():
        after = new[name]
        if after.shape == before.shape:
            assert after.equal(before)
        else:
            assert after[: len(before)].equal(before)
            moved += not after[len(before) :].equal(grown[name][len(before) :])
    assert moved
    assert result["encoders"]["base"]["source_f1"] == result["encoders"]["extended"]["source_f1"]


def test_the_run_folder_has_every_stage(chain: tuple[Path, dict[str, Any], list[Progress]]) -> None:
    directory, result, told = chain
    for name in ("run.toml", "manifest.json", "vocab/added.txt", "vocab/report.json", "grown/rows.jsonl",
                 "model/model.safetensors", "model/vocab.txt", "ner/zero-shot/results.json",
                 "ner/supervised/results.json", "report.html", "README.md",
                 f"world/text/{NEW_LANGUAGE}.txt", f"world/ner/{NEW_LANGUAGE}/test.conll"):  # fmt: skip
        assert (directory / name).is_file(), name
    assert str(directory / "report.html") in result["files"]
    stages = {progress.stage for progress in told}
    assert {"world", "base: pretrain", "extended: pretrain", "bilingual: pretrain"} <= stages


def test_same_seed_same_table(chain: tuple[Path, dict[str, Any], list[Progress]], tmp_path: Path) -> None:
    _, first, _ = chain
    second = quickstart(tmp_path / "again", 1, plan=TINY)
    assert second["encoders"] == first["encoders"]


def test_a_second_call_finds_everything_done(
    chain: tuple[Path, dict[str, Any], list[Progress]],
) -> None:
    directory, first, _ = chain
    weights = (directory / "model" / "model.safetensors").stat().st_mtime_ns
    assert quickstart(directory, 1, plan=TINY)["encoders"] == first["encoders"]
    assert (directory / "model" / "model.safetensors").stat().st_mtime_ns == weights


def test_another_seed_needs_another_folder(
    chain: tuple[Path, dict[str, Any], list[Progress]],
) -> None:
    directory, _, _ = chain
    before = (directory / "run.toml").read_bytes()
    with pytest.raises(CheckpointError, match="other settings"):
        quickstart(directory, 2, plan=TINY)
    assert (directory / "run.toml").read_bytes() == before
