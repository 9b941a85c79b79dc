"""The certificate of any folder: what a run, a model and a tokenizer show, alone and against their base."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from extend.certificate import certify_folder, raise_failed
from extend.errors import CheckpointError, PathError
from tests.extend.written_tokenizers import (
    ADDED,
    HELD_OUT,
    SIZE,
    Written,
    change_json,
    failed,
    finish_run,
    grow_model,
    read_here,
)
from tests.models import PIECES
from tests.unigram_models import trained_model

TEXTS = ("the riverbed ර", "walkwalk ර රර")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    read_here(monkeypatch)


@pytest.fixture
def model(written: Written) -> Path:
    return grow_model(written)


@pytest.fixture
def run(tmp_path: Path, written: Written) -> Path:
    return finish_run(tmp_path / "run", written)


def judged(certificate: dict[str, Any]) -> dict[tuple[int, str], bool | None]:
    """What holds, by number and name; of several with one name, the worst."""
    found: dict[tuple[int, str], bool | None] = {}
    for entry in certificate["assertions"]:
        key = (entry["number"], entry["name"])
        found[key] = entry["holds"] if found.get(key, True) else found[key]
    return found


def test_a_run_is_checked_whole_in_a_new_process(run):
    certificate = certify_folder(run, base=None)
    found = judged(certificate)
    assert {number for number, _ in found} == set(range(1, 9))
    assert [key for key, holds in found.items() if holds is not True] == []
    assert certificate["tokenizer"] == str(run / "model")
    assert (certificate["model"], certificate["pieces"], certificate["added"]) == (
        "WordPiece",
        SIZE,
        len(ADDED),
    )
    assert certificate["probes"] > 20
    json.dumps(certificate, allow_nan=False)


def test_numbers_come_in_order_and_every_one_is_there(here, written):
    numbers = [entry["number"] for entry in certify_folder(written.folder, base=None)["assertions"]]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 9))


def test_a_folder_alone_shows_what_can_be_seen_alone(here, written):
    found = judged(certify_folder(written.folder, base=None))
    assert [key for key, holds in found.items() if holds] == [
        (1, "ids"), (1, "vocab.txt"), (2, "special ids"), (3, "added tokens"),
        (4, "reload"), (4, "slow tokenizer"),
    ]  # fmt: skip
    assert failed(certify_folder(written.folder, base=None)) == []


def test_a_base_and_text_show_the_rest(here, written, model):
    certificate = certify_folder(model, base=written.base_folder, texts=TEXTS)
    found = judged(certificate)
    assert [key for key, holds in found.items() if holds is not True] == []
    assert certificate["added"] == len(ADDED)
    held_out = next(entry for entry in certificate["assertions"] if entry["number"] == 6)
    # of six words two were spelt before: riverbed in four pieces now one, walkwalk one piece and five letters
    assert held_out["detail"].startswith("unk_rate 0.5 to 0, fertility ")


def test_unigram_as_xlmr_has_it(here, tmp_path):
    written = Written(tmp_path, unigram=True)
    certificate = certify_folder(written.folder, base=written.base_folder, texts=["ර කර deed"])
    found = judged(certificate)
    assert certificate["model"] == "Unigram"
    assert failed(certificate) == []
    assert all(
        found[key]
        for key in ((1, "ids of the base"), (2, "special ids"), (4, "reload"), (6, "held-out words"))
    )


def test_an_old_sentencepiece_model_beside_is_seen(here, tmp_path):
    written = Written(tmp_path, unigram=True)
    (written.folder / "sentencepiece.bpe.model").write_bytes(trained_model())
    certificate = certify_folder(written.folder, base=None)
    assert failed(certificate) == [(4, "sentencepiece.bpe.model")]
    with pytest.raises(CheckpointError, match=r"assertion 4 \(sentencepiece.bpe.model\).* lacks") as caught:
        raise_failed(certificate)
    assert (caught.value.name, caught.value.exit_code) == ("E-CERTIFICATE", 8)


def test_raising_is_for_failures_alone(here, written):
    raise_failed(certify_folder(written.folder, base=None))


def test_characters_are_counted_by_form(here, written):
    counts = certify_folder(written.folder, base=None)["characters"]
    # 26 letters and ර in both forms; "." and "," only as words
    assert counts == {
        "characters": 29,
        "in_both_forms": 27,
        "only_at_the_start": 2,
        "only_inside": 0,
        "in_no_form": 0,
    }


def swap(state: Any) -> None:
    vocabulary = state["model"]["vocab"]
    vocabulary["riverbed"], vocabulary["##walk"] = vocabulary["##walk"], vocabulary["riverbed"]


def hole(state: Any) -> None:
    state["model"]["vocab"]["riverbed"] = 900


def old_piece(state: Any) -> None:
    vocabulary = state["model"]["vocab"]
    vocabulary["stone"], vocabulary["riverbed"] = vocabulary["riverbed"], vocabulary["stone"]


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("tokenizer.json", swap, (1, "vocab.txt")),
        ("tokenizer.json", hole, (1, "ids")),
        ("tokenizer.json", old_piece, (1, "ids of the base")),
        ("tokenizer_config.json", lambda config: config.update(mask_token="[SEP]"), (2, "special ids")),
        (
            "tokenizer_config.json",
            lambda config: config.update(extra_special_tokens=["re"]),
            (3, "added tokens"),
        ),
        ("tokenizer_config.json", lambda config: config.update(strip_accents=True), (4, "reload")),
        ("tokenizer_config.json", lambda config: config.update(do_lower_case=True), (7, "case and accents")),
        ("config.json", lambda config: config.update(vocab_size=SIZE + 64), (1, "config.json")),
    ],
)
def test_a_broken_folder_fails_where_it_is_broken(here, written, model, name, change, expected):
    written.edit(name, change)
    certificate = certify_folder(model, base=written.base_folder)
    assert expected in failed(certificate)
    assert {entry["number"] for entry in certificate["assertions"]} == set(range(1, 9))


def test_special_tokens_that_share_an_id_fail_without_a_base(here, written):
    written.edit("tokenizer_config.json", lambda config: config.update(mask_token="[SEP]"))
    assert (2, "special ids") in failed(certify_folder(written.folder, base=None))


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("rows", lambda weights, key: weights.update({key: weights[key][:-1].clone()}), (1, "rows")),
        ("old", lambda weights, key: weights[key][3].add_(1), (5, "old rows")),
        (
            "tie",
            lambda weights, key: weights.update({"cls.predictions.decoder.weight": weights[key] + 1}),
            (5, "tie"),
        ),
    ],
)
def test_broken_weights_fail_where_they_are_broken(here, written, model, name, change, expected):
    weights = load_file(model / "model.safetensors")
    change(weights, "bert.embeddings.word_embeddings.weight")
    save_file(weights, model / "model.safetensors")
    assert expected in failed(certify_folder(model, base=written.base_folder))


def test_a_trained_model_has_other_rows_and_that_is_no_failure(here, written, run):
    certificate = certify_folder(run / "model", base=written.base_folder)
    assert failed(certificate) == []
    told = [entry["detail"] for entry in certificate["assertions"] if entry["name"] == "old rows"]
    assert told[0].startswith(f"{len(PIECES)} of {len(PIECES)} old rows of the embedding")


def test_weights_in_shards_are_read(here, written, model):
    weights = load_file(model / "model.safetensors")
    names = sorted(weights)
    for number, part in enumerate((names[::2], names[1::2])):
        save_file({name: weights[name] for name in part}, model / f"part-{number}.safetensors")
    (model / "model.safetensors").unlink()
    places = {
        name: f"part-{number}.safetensors" for number, half in enumerate((0, 1)) for name in names[half::2]
    }
    change_json(model / "model.safetensors.index.json", weight_map=places)
    found = judged(certify_folder(model, base=written.base_folder))
    assert [found[key] for key in ((1, "rows"), (5, "old rows"), (5, "tie"))] == [True, True, True]


def test_a_pickle_is_not_read_and_said(here, model):
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    told = [entry for entry in certify_folder(model, base=None)["assertions"] if entry["name"] == "rows"]
    assert [(entry["holds"], "pickle" in entry["detail"]) for entry in told] == [(None, True)]


class TestRun:
    def test_other_pieces_than_added_txt_says(self, here, run):
        (run / "vocab" / "added.txt").write_text("riverbed\n", encoding="utf-8")
        assert failed(certify_folder(run, base=None)) == [(1, "added.txt")]

    def test_a_stage_with_another_tokenizer(self, here, run):
        path = run / "grown" / "tokenizer.json"
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        assert failed(certify_folder(run, base=None)) == [(4, "one tokenizer")]

    def test_words_that_were_not_spelt_better(self, here, run):
        worse = {"base": HELD_OUT["extended"], "extended": HELD_OUT["base"]}
        change_json(run / "vocab" / "report.json", held_out=worse)
        assert failed(certify_folder(run, base=None)) == [(6, "held-out words")]

    def test_drift_that_was_not_measured(self, here, run):
        change_json(run / "vocab" / "report.json", drift={"sample": 3})
        assert failed(certify_folder(run, base=None)) == [(8, "drift")]

    @pytest.mark.parametrize("held_out", [None, {"base": {}}, {"base": "x", "extended": 3}])
    def test_a_report_of_another_form(self, here, run, held_out):
        change_json(run / "vocab" / "report.json", held_out=held_out)
        with pytest.raises(CheckpointError, match=r"report\.json does not hold"):
            certify_folder(run, base=None)

    def test_a_base_that_is_not_here(self, here, run):
        change_json(run / "manifest.json", base="google-bert/bert-base-multilingual-cased")
        certificate = certify_folder(run, base=None)
        assert failed(certificate) == []
        assert judged(certificate)[5, "old rows"] is None

    def test_a_run_without_a_tokenizer(self, run):
        for name in ("vocab", "grown", "model"):
            (run / name / "tokenizer.json").unlink(missing_ok=True)
        shutil.rmtree(run / "vocab")
        with pytest.raises(PathError):
            certify_folder(run, base=None)


def test_a_bare_vocabulary_as_base_still_fixes_the_ids(here, written, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(written.base_folder / "vocab.txt", bare)
    found = judged(certify_folder(written.folder, base=bare))
    assert found[1, "ids of the base"] is True
    assert found[7, "case and accents"] is None


def test_a_tokenizer_that_does_not_load_fails_and_the_rest_is_open(here, written):
    (written.folder / "tokenizer.json").unlink()
    (written.folder / "tokenizer_config.json").unlink()
    certificate = certify_folder(written.folder, base=None)
    assert failed(certificate) == [(4, "reload")]
    told = {entry["number"]: entry["detail"] for entry in certificate["assertions"]}
    assert told[4].startswith("AutoTokenizer cannot load it: ")
    assert told.keys() == set(range(1, 9))


@pytest.mark.parametrize("data", [b"none", trained_model()], ids=["broken", "sound"])
def test_a_class_that_reads_nothing_of_the_folder_is_seen(here, written, data):
    """BertTokenizer looks for no sentencepiece.bpe.model and comes up with five pieces of its own."""
    (written.folder / "tokenizer.json").unlink()
    (written.folder / "vocab.txt").unlink()
    (written.folder / "sentencepiece.bpe.model").write_bytes(data)
    assert failed(certify_folder(written.folder, base=None)) == [(4, "sentencepiece.bpe.model")]
