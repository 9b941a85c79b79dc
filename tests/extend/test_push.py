"""Push with the real client against a local hub: one commit, all or nothing, nothing secret."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch

from extend.errors import CheckpointError, DataError, NetworkError, RefusedError
from extend.hub import connection, load_pretraining_model, publication, push_checkpoint
from extend.hub.address import endpoint_note
from extend.store import MANIFEST, publish_directory
from tests.loopback_hub import Fault, LoopbackHub
from tests.models import tiny_checkpoint
from tests.publishing import CARD, FILES, REPO, TOKEN, checkpoint_with_card, content, go_online, push, remote


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    go_online(monkeypatch)


@pytest.fixture
def checkpoint(tmp_path):
    return checkpoint_with_card(tmp_path / "model")


def test_one_commit_holds_exactly_the_checkpoint(checkpoint):
    with LoopbackHub(token=TOKEN) as hub:
        result = push(hub, checkpoint)
        repository = hub.repositories[REPO]
        assert len(repository.commits) == 2  # the one of the creation, and ours
        assert repository.private
        assert remote(hub) == content(checkpoint)
        assert repository.commits[-1][1]["model.safetensors"].lfs
    assert result.repo == REPO
    assert result.commit == repository.head
    assert result.files == FILES
    assert result.private
    assert result.size == sum(len(data) for data in content(checkpoint).values())
    for name, data in content(checkpoint).items():
        assert result.sha256[name] == hashlib.sha256(data).hexdigest()
    assert json.loads(json.dumps(result.as_json()))["commit"] == repository.head


def test_public_only_when_asked(checkpoint):
    with LoopbackHub() as hub:
        assert push(hub, checkpoint, private=False).private is False
        assert not hub.repositories[REPO].private


def test_the_same_again_makes_no_commit(checkpoint):
    with LoopbackHub() as hub:
        first = push(hub, checkpoint)
        asked = len(hub.requests)
        again = push(hub, checkpoint)
        assert again == first
        assert len(hub.repositories[REPO].commits) == 2
        assert not any(path.endswith("/batch") for _, path in hub.requests[asked:])


def test_a_new_state_is_one_more_commit_and_drops_what_is_gone(checkpoint):
    with LoopbackHub() as hub:
        push(hub, checkpoint)
        hub.add(REPO, {**remote(hub), "model-00001-of-00002.safetensors": b"old", "notes.md": b"theirs"})
        (checkpoint / "vocab.txt").unlink()
        (checkpoint / "README.md").unlink()
        push(hub, checkpoint)
        assert remote(hub) == {**content(checkpoint), "notes.md": b"theirs", "README.md": CARD.encode()}
        assert len(hub.repositories[REPO].commits) == 4


def test_dry_run_asks_nothing(checkpoint, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with LoopbackHub() as hub:
        result = push(hub, checkpoint, dry_run=True)
        assert hub.requests == []
    assert (result.repo, result.commit, result.files) == (REPO, None, FILES)


def test_a_card_from_elsewhere_takes_the_place_of_the_folder_s(checkpoint, tmp_path):
    (tmp_path / "run-card.md").write_text("---\nlanguage: ug\n---\nOther\n", encoding="utf-8")
    with LoopbackHub() as hub:
        push(hub, checkpoint, card=tmp_path / "run-card.md")
        assert remote(hub)["README.md"] == b"---\nlanguage: ug\n---\nOther\n"


FORBIDDEN = (
    ".env",
    "optimizer.safetensors",
    "training_args.bin",
    "pytorch_model.bin",
    "run.log",
    "metrics.jsonl",
    "model.safetensors.bad",
    "MANIFEST.json.tmp",
    "events.out.tfevents",
    "model-00001-of-00002.safetensors",
)


def test_only_the_allow_list_leaves(checkpoint):
    for name in FORBIDDEN:
        (checkpoint / name).write_bytes(b"private")
    (checkpoint / "cache").mkdir()
    (checkpoint / "cache" / "config.json").write_bytes(b"{}")
    with LoopbackHub() as hub:
        push(hub, checkpoint)
        assert set(remote(hub)) == set(FILES)


SECRETS = (
    TOKEN,
    "hf_" + "a1B2" * 9,
    "ghp_" + "a" * 36,
    "AKIA" + "A" * 16,
    "AIza" + "b" * 35,
    "xoxb-" + "1" * 24,
    "-----BEGIN RSA PRIVATE KEY-----",
)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors"])
def test_a_secret_in_any_file_stops_the_push(checkpoint, name, secret):
    if name == "config.json":
        settings = json.loads((checkpoint / name).read_text())
        (checkpoint / name).write_text(json.dumps({**settings, "note": secret}))
    elif name == "model.safetensors":
        model = load_pretraining_model(checkpoint)
        from safetensors.torch import save_file

        tensors = {key: value.clone() for key, value in model.state_dict().items() if "decoder" not in key}
        save_file(tensors, checkpoint / name, metadata={"format": "pt", "note": secret})
    else:
        (checkpoint / name).write_text(f"{CARD}\n`export X={secret}`\n")
    with LoopbackHub() as hub:
        with pytest.raises(RefusedError) as told:
            push(hub, checkpoint)
        assert hub.requests == []
    assert told.value.exit_code == 11
    assert told.value.name == "E-SECRET"
    assert secret not in told.value.message("push")


def test_a_secret_across_two_chunks_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(publication, "_CHUNK", 64)
    monkeypatch.setattr(publication, "_OVERLAP", 48)
    for before in range(30, 66, 5):
        path = tmp_path / "vocab.txt"
        path.write_text("x" * before + "\n" + "hf_" + "q" * 30 + "\n" + "y" * 100)
        with pytest.raises(RefusedError):
            publication.refuse_secrets("vocab.txt", path)


RESULT = "- dataset: {id: a/b, task_id: si}\n  value: 43.0\n"


def test_results_and_the_record_go_along_and_those_of_others_stay(checkpoint):
    (checkpoint / "reproduce.json").write_text("{}\n")
    (checkpoint / ".eval_results").mkdir()
    for name in ("extend-zero-shot-si.yaml", "extend-old-si.yaml", "notes.txt"):
        (checkpoint / ".eval_results" / name).write_text(RESULT)
    with LoopbackHub() as hub:
        push(hub, checkpoint)
        published = {*FILES, "reproduce.json", ".eval_results/extend-zero-shot-si.yaml"}
        assert set(remote(hub)) == published | {".eval_results/extend-old-si.yaml"}
        hub.add(REPO, {**remote(hub), ".eval_results/theirs.yaml": b"theirs"})
        (checkpoint / ".eval_results" / "extend-old-si.yaml").unlink()
        push(hub, checkpoint)
        assert set(remote(hub)) == published | {".eval_results/theirs.yaml"}


def test_metadata_that_no_hub_would_take_are_refused_before_any_request(checkpoint):
    (checkpoint / ".eval_results").mkdir()
    (checkpoint / ".eval_results" / "extend-si.yaml").write_text("- value: high\n")
    with LoopbackHub() as hub:
        with pytest.raises(DataError) as told:
            push(hub, checkpoint)
        assert told.value.name == "E-RESULTS"
        (checkpoint / "README.md").write_text("---\nlanguage: Sinhala\n---\nText\n")
        with pytest.raises(DataError) as told:
            push(hub, checkpoint)
        assert told.value.name == "E-CARD"
        assert hub.requests == []


def test_another_hub_is_told_without_its_credentials():
    assert endpoint_note("https://huggingface.co") == endpoint_note("https://hub-ci.huggingface.co/") == ""
    told = endpoint_note("https://me:secret@hub.example:8080/x")
    assert told.startswith("hub https://hub.example:8080: Xet is off")
    assert "secret" not in told
    assert endpoint_note("https://huggingface.co.example") != ""


def test_links_are_refused(checkpoint, tmp_path):
    (tmp_path / "elsewhere").write_text("{}")
    (checkpoint / "extend.json").symlink_to(tmp_path / "elsewhere")
    with LoopbackHub() as hub:
        with pytest.raises(RefusedError, match="not a plain file"):
            push(hub, checkpoint)
        (checkpoint / "extend.json").unlink()
        (tmp_path / "results").mkdir()
        (checkpoint / ".eval_results").symlink_to(tmp_path / "results")
        with pytest.raises(RefusedError, match="is a link"):
            push(hub, checkpoint)
        assert hub.requests == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_folder_is_refused_before_any_request(checkpoint, name):
    (checkpoint / name).unlink()
    with LoopbackHub() as hub:
        with pytest.raises(CheckpointError):
            push(hub, checkpoint)
        assert hub.requests == []


def test_a_folder_that_is_not_what_was_written_is_refused(tmp_path):
    with publish_directory(tmp_path / "model", manifest=True) as folder:
        tiny_checkpoint(folder, hidden=16, layers=1)
    with LoopbackHub() as hub:
        (tmp_path / "model" / "README.md").write_text(CARD)
        push(hub, tmp_path / "model")
        assert MANIFEST not in remote(hub)
        (tmp_path / "model" / "vocab.txt").write_text("[PAD]\n")
        with pytest.raises(CheckpointError, match=r"vocab\.txt") as told:
            push(hub, tmp_path / "model")
    assert told.value.name == "E-DAMAGED"


@pytest.mark.parametrize(
    ("status", "name"), [(401, "E-AUTH"), (403, "E-AUTH"), (404, "E-NOT-FOUND"), (400, "E-HUB")]
)
def test_refusals_are_told_and_nothing_is_uploaded(checkpoint, status, name):
    with LoopbackHub(fault=Fault(0, status, times=10**6)) as hub:
        with pytest.raises(NetworkError) as told:
            push(hub, checkpoint)
        assert not any("lfs" in path or "commit" in path for _, path in hub.requests)
    assert told.value.name == name


def test_a_wrong_token_is_told_without_showing_it(checkpoint, monkeypatch):
    with LoopbackHub(token="hf_another") as hub:
        with pytest.raises(NetworkError) as told:
            push(hub, checkpoint)
        assert hub.repositories == {}
    assert told.value.name == "E-AUTH"
    assert TOKEN not in told.value.message("push")
    assert TOKEN not in json.dumps(told.value.as_json())


def test_tokens_are_cut_out_of_foreign_words():
    shown = connection.redacted(f"url?token={TOKEN} and hf_{'z' * 40}\ud800")
    assert TOKEN not in shown
    assert "z" * 10 not in shown


def test_a_card_that_the_hub_does_not_take(checkpoint):
    (checkpoint / "README.md").write_text(CARD + "refused by the hub\n")
    with LoopbackHub() as hub, pytest.raises(DataError) as told:
        push(hub, checkpoint)
    assert told.value.name == "E-CARD"
    assert "a rule of its own" in told.value.why


@pytest.mark.parametrize("name", ["nobody", "a/b/c", "a b/c", "me/", "/x", "me/../x", "me/x.git", ""])
def test_names_that_are_none(checkpoint, name):
    with pytest.raises(NetworkError) as told:
        push_checkpoint(checkpoint, name, dry_run=True)
    assert told.value.name == "E-REPO-NAME"


def test_offline_is_told_at_once(checkpoint, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError) as told:
        push_checkpoint(checkpoint, REPO)
    assert told.value.name == "E-OFFLINE"
    assert told.value.exit_code == 6


RELOAD = """
import sys, torch
from transformers import AutoModelForMaskedLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForMaskedLM.from_pretrained(sys.argv[1]).eval()
with torch.no_grad():
    logits = model(**tokenizer("the houser walk", return_tensors="pt")).logits
torch.save(logits, sys.argv[2])
"""

PUSH = """
import sys
from pathlib import Path
from extend.hub import push_checkpoint
import huggingface_hub
assert huggingface_hub.constants.HF_HUB_DISABLE_XET  # before any connection
print(push_checkpoint(Path(sys.argv[1]), sys.argv[2]).commit)
assert huggingface_hub.constants.HF_HUB_DISABLE_XET
"""


def fresh(code: str, *arguments: object, url: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": TOKEN,
    }
    environment.pop("HF_HUB_DISABLE_XET", None)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)


def test_pushed_from_a_fresh_process_and_loaded_by_name_in_another(checkpoint, tmp_path):
    from transformers import AutoTokenizer

    with LoopbackHub(token=TOKEN) as hub:
        pushed = fresh(PUSH, checkpoint, REPO, url=hub.url, home=tmp_path / "home")
        assert pushed.stdout.split() == [hub.repositories[REPO].head]
        assert pushed.stderr == ""
        fresh(RELOAD, REPO, tmp_path / "logits.pt", url=hub.url, home=tmp_path / "home")
    inputs = AutoTokenizer.from_pretrained(checkpoint)("the houser walk", return_tensors="pt")
    with torch.no_grad():
        expected = load_pretraining_model(checkpoint)(**inputs)["prediction_logits"]
    logits = torch.load(tmp_path / "logits.pt", weights_only=True)
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)
    assert TOKEN not in pushed.stdout + pushed.stderr
