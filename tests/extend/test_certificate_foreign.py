"""What of a folder that somebody else made is refused, and that none of it comes out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from extend.certificate import certify_folder
from extend.errors import CheckpointError, ExtendError, PathError, RefusedError
from tests.extend.written_tokenizers import Written, change_json, failed, finish_run, read_here

CANARY = "CANARY-7f3a"


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    read_here(monkeypatch)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file whose content no message may show."""
    path = tmp_path / "outside.txt"
    path.write_text(f"[UNK]\n{CANARY}\n", encoding="utf-8")
    return path


def refused(folder: Path, code: int, name: str) -> None:
    with pytest.raises(ExtendError) as caught:
        certify_folder(folder, base=None)
    assert isinstance(caught.value, RefusedError)
    assert (caught.value.exit_code, caught.value.name) == (code, name)
    assert CANARY not in caught.value.message("vocab")


@pytest.mark.parametrize(
    "name",
    ["tokenizer.json", "vocab.txt", "tokenizer_config.json", "config.json", "special_tokens_map.json",
     "added_tokens.json", "sentencepiece.bpe.model", "model.safetensors"],
)  # fmt: skip
def test_links_out_of_the_folder(written, outside, name):
    (written.folder / name).unlink(missing_ok=True)
    (written.folder / name).symlink_to(outside)
    refused(written.folder, 11, "E-LINK")


@pytest.mark.parametrize("value", [".env", "../outside.txt", "/etc/passwd", ["tokenizer.json", "../x"]])
@pytest.mark.parametrize("key", ["vocab_file", "tokenizer_file", "fast_tokenizer_files"])
def test_names_of_other_files(written, outside, key, value):
    change_json(written.folder / "tokenizer_config.json", **{key: value})
    refused(written.folder, 11, "E-UNSAFE-NAME")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize(
    "change",
    [{"auto_map": {"AutoTokenizer": ["own.Own", None]}},
     {"text_config": {"auto_map": {"AutoConfig": "own.X"}}},
     {"trust_remote_code": True}],
)  # fmt: skip
def test_code_of_its_own(written, name, change):
    (written.folder / "own.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    change_json(written.folder / name, **change)
    refused(written.folder, 11, "E-REMOTE-CODE")


def test_a_file_too_large(written):
    with open(written.folder / "tokenizer.json", "wb") as file:
        file.truncate(1 << 30)
    refused(written.folder, 11, "E-SIZE")


@pytest.mark.parametrize("index", ["../x.safetensors", "/x.safetensors", "x.bin"])
def test_weights_that_an_index_has_elsewhere(written, index):
    change_json(written.folder / "model.safetensors.index.json", weight_map={"a": index})
    refused(written.folder, 11, "E-UNSAFE-NAME")


def test_a_stage_of_a_run_whose_tokenizer_leads_out(written, outside, tmp_path):
    run = finish_run(tmp_path / "run", written)
    (run / "grown" / "tokenizer.json").unlink()
    (run / "grown" / "tokenizer.json").symlink_to(outside)
    refused(run, 11, "E-LINK")


def test_a_run_whose_folder_leads_out(written, tmp_path):
    run = finish_run(tmp_path / "run", written)
    (run / "model").rename(tmp_path / "elsewhere")
    (run / "model").symlink_to(tmp_path / "elsewhere")
    refused(run, 11, "E-LINK")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b"[]"),
        ("tokenizer.json", b"\xff\xfe"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b'{"model": {"vocab": {"a": "b"}}}'),
        ("tokenizer.json", b'{"model": {"vocab": [3, 4]}}'),
        ("tokenizer.json", b'{"model": {"vocab": {"a": 0}}, "added_tokens": [1]}'),
        ("tokenizer.json", b"[" * 200_000),
        ("vocab.txt", b"\xc9\n"),
        ("tokenizer_config.json", b"[]"),
        ("config.json", b"not json"),
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 64),
        ("model.safetensors", (2).to_bytes(8, "little") + b"[]"),
        ("model.safetensors", (13).to_bytes(8, "little") + b'{"a": {"b":1}}'),
        ("model.safetensors.index.json", b'{"weight_map": 3}'),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "b.safetensors"}}'),
    ],
)
def test_what_cannot_be_read(here, written, name, data):
    (written.folder / name).write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        certify_folder(written.folder, base=None)
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    "make", [lambda path: None, Path.mkdir, Path.touch], ids=["missing", "empty", "file"]
)
def test_what_is_missing(tmp_path, make: Callable[[Path], None]):
    make(tmp_path / "none")
    with pytest.raises(PathError) as caught:
        certify_folder(tmp_path / "none", base=None)
    assert caught.value.exit_code == 4


def test_a_pattern_that_never_ends(written, monkeypatch):
    """The reading process is ended; the folder fails, this process goes on."""
    slow = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False}
    written.edit("tokenizer.json", lambda state: state.update(pre_tokenizer=slow))
    monkeypatch.setattr("extend.certificate.reload.TIMEOUT_SECONDS", 4)
    certificate = certify_folder(written.folder, base=None)
    assert failed(certificate) == [(4, "reload")]


def test_text_of_a_folder_is_escaped(here, written):
    change_json(written.folder / "config.json", vocab_size="\u202e\x1b[31m")
    told = json.dumps(certify_folder(written.folder, base=None), ensure_ascii=False)
    assert "\u202e" not in told
    assert "\x1b" not in told
