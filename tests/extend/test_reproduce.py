"""From a run to a published checkpoint and back: pushed with checks, pulled, its numbers measured again."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import huggingface_hub
import pytest

from extend.cli import main
from extend.errors import CheckpointError
from extend.recipe.card_numbers import counted, held_out_numbers, score_numbers
from extend.recipe.record import read_record
from extend.recipe.record_shape import problems
from extend.recipe.reproducing import reproduce
from extend.store import read_json, write_json
from tests.extend.cli_processes import NER, VOCAB, files
from tests.extend.cli_runs import make_inputs
from tests.loopback_hub import LoopbackHub
from tests.publishing import REPO, TOKEN, go_online, remote

CHAIN = (
    VOCAB,
    ("grow",),
    ("pretrain", "--steps", "4", "--new-rows-steps", "4"),
    ("ner-eval", "--zero-shot", "--supervised", "--few-shot", "3", *NER, "--set", "ner.epochs=1"),
    ("report",),
)
ELSEWHERE = ("--base", "world/base", "--data", "world", "--corpus", "world/text.txt")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole run in `runs/ka`, made by the commands."""
    folder = tmp_path_factory.mktemp("finished")
    make_inputs(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for arguments in CHAIN:
            assert main(arguments) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working folder; the run folder."""
    shutil.copytree(finished, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return Path("runs/ka")


@pytest.fixture
def elsewhere(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`model/` alone, as if it were pulled, with base and data in `world/` under other names."""
    shutil.copytree(finished / "runs/ka/model", tmp_path / "there/checkpoint")
    world = tmp_path / "there/world"
    shutil.copytree(finished / "base", world / "base")
    for number, path in enumerate(sorted(finished.glob("*.conll"))):
        (world / "sets" / str(number)).mkdir(parents=True)
        shutil.copy(path, world / "sets" / str(number) / "sentences.txt")
    shutil.copy(finished / "ka.txt", world / "text.txt")
    monkeypatch.chdir(tmp_path / "there")
    return Path("checkpoint")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The hub that the commands talk to."""
    go_online(monkeypatch)
    with LoopbackHub(token=TOKEN) as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield hub


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0):
    capsys.readouterr()
    assert main([*arguments, "--format", "json"]) == code
    shown = capsys.readouterr()
    return json.loads(shown.out), shown.err


def test_the_numbers_of_a_run_hold_and_nothing_is_written(run: Path, capsys) -> None:
    before = files(Path())
    result, _ = printed(capsys, "reproduce", "runs/ka")
    assert result["holds"]
    assert result["changed"] == result["warnings"] == []
    assert result["counts"] == {"same": len(result["numbers"]), "within": 0, "outside": 0, "moved": 0,
                                "not measured": 0}  # fmt: skip
    assert {one["place"] for one in result["numbers"]} == {
        "NER zero-shot", "NER supervised", "NER few-shot-3", "held-out text"
    }  # fmt: skip
    cell = read_json(run / "ner/zero-shot/results.json")["encoders"]["extended"]["ka"]
    told = {one["name"]: one for one in result["numbers"] if one["place"] == "NER zero-shot"
            and (one["encoder"], one["language"]) == ("extended", "ka")}  # fmt: skip
    assert told["F1"]["card"] == told["F1"]["now"] == cell["f1_mean"]
    assert told["F1"]["interval"] == cell["ci95"]
    assert told["F1 of seed 2"]["card"] == cell["f1"][1]
    assert files(Path()) == before


def test_what_goes_with_the_card_names_no_folder_of_the_machine(finished: Path) -> None:
    for place in ("runs/ka/reproduce.json", "runs/ka/model/reproduce.json"):
        text = (finished / place).read_text(encoding="utf-8")
        assert str(finished) not in text
        assert "/" not in text.replace("nan/", "")
    record = json.loads(text)
    assert record["ner"]["zero-shot"]["data"]["en"]["train"]["file"] == "en.train.conll"
    assert record["corpus"]["sources"] == ["ka.txt"]
    assert record["card_language"] == "ka"
    assert record["base"]["revision"] is None
    assert len(record["base"]["sha256"]["model.safetensors"]) == 64


def test_invented_numbers_and_another_model_do_not_hold(elsewhere: Path, capsys) -> None:
    record = read_json(elsewhere / "reproduce.json")
    cells = record["ner"]["zero-shot"]["encoders"]["extended"]
    cells["ka"] |= {"f1_mean": 97.5, "ci95": [96.0, 99.0]}
    cells["en"] |= {"f1_mean": 50.0, "ci95": [0.0, 100.0]}
    record["encoders"]["extended"]["fertility"] += 0.01
    write_json(elsewhere / "reproduce.json", record)
    settings = read_json(elsewhere / "config.json")
    write_json(elsewhere / "config.json", {**settings, "note": "changed"})
    card = (elsewhere / "README.md").read_text(encoding="utf-8")
    (elsewhere / "README.md").write_text(re.sub(r"value: [\d.]+", "value: 99.01", card, count=1))
    result, told = printed(capsys, "reproduce", "checkpoint", *ELSEWHERE, code=8)
    assert result["error"]["name"] == "E-NOT-REPRODUCED"
    assert not result["holds"]
    outside = {(one["place"], one["encoder"], one["name"]) for one in result["numbers"]
               if one["verdict"] == "outside"}  # fmt: skip
    assert outside == {("NER zero-shot", "extended", "F1"), ("held-out text", "extended", "fertility")}
    within = [one for one in result["numbers"] if one["verdict"] == "within"]
    assert [(one["language"], one["card"]) for one in within] == [("en", 50.0)]
    assert "97.5" in told
    assert result["changed"] == ["config.json", "README.md: 99.01 is not in reproduce.json"]


def test_what_is_missing_is_told_with_its_sha256(elsewhere: Path, capsys, tmp_path: Path) -> None:
    record = read_json(elsewhere / "reproduce.json")
    result, _ = printed(capsys, "reproduce", "checkpoint", code=4)
    assert record["base"]["sha256"]["model.safetensors"] in result["error"]["why"]
    result, _ = printed(capsys, "reproduce", "checkpoint", "--base", "world/base", code=4)
    assert result["error"]["name"] == "E-DATA-MISSING"
    sets = [entry for stage in record["ner"].values() for splits in stage["data"].values()
            for entry in splits.values() if "held_out_of" not in entry]  # fmt: skip
    for entry in sets:
        assert entry["file"] in result["error"]["why"]
        assert entry["sha256"] in result["error"]["why"]
    shutil.rmtree("world/sets/0")
    result, _ = printed(capsys, "reproduce", "checkpoint", *ELSEWHERE, code=4)
    assert "1 of the sets" in result["error"]["what"]
    Path("world/text.txt").write_text("other text\n")
    shutil.copytree(tmp_path / "there/world/sets/1", "world/sets/0")
    shutil.copytree("world/base", "world/other")
    vocabulary = Path("world/other/vocab.txt")
    vocabulary.write_text(vocabulary.read_text() + "more\n")
    result, _ = printed(capsys, "reproduce", "checkpoint", "--base", "world/other", code=8)
    assert result["error"]["name"] == "E-BASE"


def test_other_text_is_refused_and_a_plan_computes_nothing(elsewhere: Path, capsys) -> None:
    plan, _ = printed(capsys, "reproduce", "checkpoint", *ELSEWHERE, "--dry-run")
    assert plan["stage"] == "reproduce"
    assert set(plan["encoders"]) == {"base", "extended"}
    assert plan["sets"]["zero-shot"]["en"]["train"].endswith("sentences.txt")
    assert [Path(path).name for path in plan["text"]] == ["text.txt"]
    Path("world/text.txt").write_text("other text\n")
    result, _ = printed(capsys, "reproduce", "checkpoint", *ELSEWHERE, "--dry-run", code=4)
    assert result["error"]["name"] == "E-DATA-MISSING"
    assert read_json(elsewhere / "reproduce.json")["corpus"]["sha256"] in result["error"]["why"]


def test_a_base_and_a_set_of_the_hub_are_fetched(elsewhere: Path, hub: LoopbackHub, capsys) -> None:
    record = read_json(elsewhere / "reproduce.json")
    files = {path.name: path.read_bytes() for path in Path("world/base").iterdir()}
    record["base"] = {"name": "someone/base", "revision": hub.add("someone/base", files)}
    hub.add("someone/base", {**files, "vocab.txt": b"another"})
    line = json.dumps({"words": ["a", "b"], "tags": ["B-PER", "O"]}) + "\n"
    Path("sets").mkdir()
    Path("sets/test.jsonl").write_text(line)
    entry = {"sha256": hashlib.sha256(line.encode()).hexdigest(), "source": "hf:./sets::test"}
    record["ner"]["zero-shot"]["data"]["ka"]["test"] = entry
    write_json(elsewhere / "reproduce.json", record)
    plan, _ = printed(capsys, "reproduce", "checkpoint", "--data", "world", "--dry-run")
    assert Path(plan["encoders"]["base"]).name == record["base"]["revision"]
    assert plan["sets"]["zero-shot"]["ka"]["test"].endswith("sentences.jsonl")
    Path("sets/test.jsonl").write_text(line * 2)
    result, _ = printed(capsys, "reproduce", "checkpoint", "--data", "world", "--dry-run", code=4)
    assert f"hf:./sets::test) sha256 {entry['sha256']}" in result["error"]["why"]


def _spoiled(record, kind: str):
    stage = record["ner"]["zero-shot"]
    cell = stage["encoders"]["extended"]["ka"]
    {
        "a list": lambda: record.update(ner=[]),
        "no base": lambda: record.pop("base"),
        "base": lambda: record["base"].update(name=None),
        "encoder": lambda: stage["encoders"].update({"\x1b[31m": {}}),
        "stage": lambda: record["ner"].update({"../../x": stage}),
        "text": lambda: record["ner"].update({"more": "text"}),
        "language": lambda: stage["data"].update({"a/b": {}}),
        "sum": lambda: stage["data"]["ka"]["test"].pop("sha256"),
        "split": lambda: stage["data"]["ka"].update(test="text"),
        "score": lambda: cell.update(f1_mean="high"),
        "interval": lambda: cell.update(ci95=[1.0]),
        "scores": lambda: cell.update(f1=["high"]),
        "seeds": lambda: cell.update(seeds=[1]),
        "type": lambda: cell["per_type"].update(LOC={"f1": 1.0}),
        "types": lambda: cell.update(per_type=[]),
        "rate": lambda: record["encoders"]["extended"].update(unk_rate="high"),
        "against": lambda: stage["differences"]["ka"]["extended"].update(against="\u202e"),
        "difference": lambda: stage["differences"]["ka"]["extended"].pop("f1"),
        "targets": lambda: stage.update(targets=None),
    }[kind]()
    return record


SPOILED = (
    "a list", "no base", "base", "encoder", "stage", "text", "language", "sum", "split", "score", "interval",
    "scores", "seeds", "type", "types", "rate", "against", "difference", "targets",
)  # fmt: skip


@pytest.mark.parametrize("kind", SPOILED)
def test_a_record_that_is_none_is_told(elsewhere: Path, kind: str) -> None:
    record = read_record(elsewhere)
    assert list(problems(record)) == []
    write_json(elsewhere / "reproduce.json", _spoiled(record, kind))
    with pytest.raises(CheckpointError) as told:
        read_record(elsewhere)
    assert told.value.name == "E-RECORD"
    assert not {"\x1b", "\u202e"} & set(told.value.why)


@pytest.mark.parametrize("kind", ["nowhere", "file", "empty", "old", "nothing"])
def test_what_has_no_record_is_told(elsewhere: Path, capsys, kind: str) -> None:
    subject, name = "checkpoint", "E-RECORD"
    if kind == "nowhere":
        subject, name = "./no/such/folder", "E-PATH"
    elif kind == "file":
        subject, name = "checkpoint/config.json", "E-PATH"
    elif kind == "empty":
        (elsewhere / "reproduce.json").unlink()
    else:
        record = read_json(elsewhere / "reproduce.json")
        changed: dict[str, object] = {"schema": 99} if kind == "old" else {"ner": {}, "encoders": {}}
        write_json(elsewhere / "reproduce.json", {**record, **changed})
    result, _ = printed(capsys, "reproduce", subject, code=4 if name == "E-PATH" else 8)
    assert result["error"]["name"] == name


def test_settings_that_are_not_whole_are_told(elsewhere: Path, capsys) -> None:
    record = read_json(elsewhere / "reproduce.json")
    del record["ner"]["zero-shot"]["settings"]["head"]
    write_json(elsewhere / "reproduce.json", record)
    result, _ = printed(capsys, "reproduce", "checkpoint", *ELSEWHERE[:4], code=8)
    assert result["error"]["name"] == "E-RECORD"
    assert "head" in result["error"]["why"]


def test_pushed_with_every_check_told_pulled_and_measured_again(run: Path, hub, capsys) -> None:
    checks = ["certificate", "trained files", "card", "results", "files", "secrets"]
    result, said = printed(capsys, "push", REPO)
    assert [one["name"] for one in result["checks"] if one["holds"]] == checks
    assert re.findall(r"^  ok +([a-z ]+):", said, re.MULTILINE) == checks
    assert hub.url in result["hub"]
    assert result["hub"] in said
    assert "old rows" in said
    assert set(remote(hub)) == set(result["files"]) > {"README.md", "reproduce.json"}
    assert "Held: " in remote(hub)["README.md"].decode()
    _, said = printed(capsys, "push", REPO)
    assert "certified before" in said
    assert len(hub.repositories[REPO].commits) == 2
    pulled, _ = printed(capsys, "pull", REPO)
    assert (pulled["commit"], pulled["out"]) == (result["commit"], "tiny")
    assert read_json(Path("tiny/reproduce.json"))["ner"]["zero-shot"]["source"] == "en"
    again = reproduce(REPO, base="base", data=[Path()])
    assert again["commit"] == result["commit"]
    assert [one["name"] for one in again["warnings"]] == ["W-NOT-MEASURED"]
    assert again["counts"] == {"same": len(again["numbers"]) - 5, "within": 0, "outside": 0, "moved": 0,
                               "not measured": 5}  # fmt: skip


def test_a_checkpoint_that_was_changed_is_not_pushed_and_every_check_is_told(run: Path, hub, capsys) -> None:
    vocabulary = run / "model/vocab.txt"
    vocabulary.write_text(vocabulary.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    (run / "model/extend.json").write_text(json.dumps({"note": "ghp_" + "a" * 36}))
    result, said = printed(capsys, "push", REPO, "--dry-run", code=8)
    assert result["error"]["name"] == "E-CERTIFICATE"
    assert not (run / "certificate.json").exists()
    for told in ("FAILED  certificate", "FAILED  trained files", "ok      card", "FAILED  secrets"):
        assert told in said
    assert hub.requests == []


CELL = {"f1_mean": 40.0, "ci95": [35.0, 45.0], "unk_rate": 0.1, "fertility": 1.5, "f1": [39.0, 41.0],
        "per_type": {"PER": {"precision": 50.0, "recall": 30.0, "f1": 37.5}}}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "verdict"),
    [(40.04, "same"), (44.9, "within"), (35.0, "within"), (45.2, "outside"), (12.0, "outside")],
)
def test_a_score_holds_within_its_interval(now: float, verdict: str) -> None:
    card = {"encoders": {"extended": {"si": CELL}}}
    found = {"encoders": {"extended": {"si": {**CELL, "f1_mean": now}}}, "differences": {}}
    numbers = {one.name: one for one in score_numbers("zero-shot", card, found)}
    assert numbers["F1"].verdict == verdict
    assert {one.verdict for name, one in numbers.items() if name != "F1"} == {"same"}


def test_rates_must_be_the_same_and_numbers_without_an_interval_may_move() -> None:
    difference = {"against": "base", "f1": 3.0, "ci95": [1.0, 5.0]}
    card = {
        "encoders": {"extended": {"si": CELL}, "bilingual": {"si": CELL}},
        "differences": {"si": {"extended": difference}},
    }
    found = {"encoders": {"extended": {"si": {**CELL, "unk_rate": 0.2, "f1": [39.0, 43.0], "per_type": {}}}},
             "differences": {"si": {"extended": {"f1": 0.9}}}}  # fmt: skip
    numbers = {(one.encoder, one.name): one.verdict for one in score_numbers("zero-shot", card, found)}
    assert numbers["extended", "unk_rate"] == "outside"
    assert numbers["extended", "fertility"] == "same"
    assert numbers["extended", "F1 of seed 2"] == "moved"
    assert numbers["extended", "PER f1"] == "not measured"
    assert numbers["extended", "F1 over base"] == "outside"
    assert {verdict for (encoder, _), verdict in numbers.items() if encoder == "bilingual"} == {
        "not measured"
    }


def test_a_loss_may_differ_by_the_last_digit_that_is_shown() -> None:
    card = {"base": {"unk_rate": 0.5, "fertility": 1.2, "mlm_loss": None},
            "extended": {"unk_rate": 0.0, "fertility": 1.4, "mlm_loss": 3.92}}  # fmt: skip
    now = {"base": card["base"], "extended": {"unk_rate": 0.0, "fertility": 1.4, "mlm_loss": 3.929}}
    numbers = list(held_out_numbers(card, now))
    assert counted(numbers) == {"same": 5, "within": 0, "outside": 0, "moved": 0, "not measured": 0}
    now["extended"] = {"unk_rate": 0.0, "fertility": 1.4, "mlm_loss": 3.94}
    assert counted(list(held_out_numbers(card, now)))["outside"] == 1
    assert counted(list(held_out_numbers(card, None)))["not measured"] == 5
