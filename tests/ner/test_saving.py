"""Saved taggers: the same bits back, the right encoder or none, and nothing dangerous ever opened."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from extend.errors import CheckpointError, ExtendError, PathError, RefusedError, UsageError
from extend.hub import load_encoder, save_model
from extend.store import publish_directory
from ner.features import FeatureSettings, WordPieces, word_features
from ner.heads import train_heads
from ner.saving import (
    check_encoder,
    encoder_sha256,
    load_tagger,
    save_heads,
    save_tagger,
)
from ner.tagger import Head, Tagger, TaggerSettings, TagScheme
from ner.train import LabelledFeatures, TrainSettings
from tests.models import write_tokenizer
from tests.ner.taggers import LABELS, made_head, made_tagger
from tests.ner.tiny import made_sentences, tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def folder(tmp_path: Path, encoder: Path) -> Path:
    return made_tagger(tmp_path / "tagger", encoder)


def republished(folder: Path, change: Callable[[Path], None]) -> Path:
    """A copy whose content was changed and whose manifest fits the change: what an attacker would send."""
    target = folder.with_name("changed")
    with publish_directory(target, manifest=True) as made:
        shutil.copytree(folder, made, dirs_exist_ok=True)
        (made / "MANIFEST.json").unlink()
        change(made)
    return target


def edited(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    def change(made: Path) -> None:
        config = json.loads((made / "config.json").read_text(encoding="utf-8"))
        edit(config)
        (made / "config.json").write_text(json.dumps(config), encoding="utf-8")

    return republished(folder, change)


@pytest.mark.parametrize("head", ["bilstm-crf", "bilstm-softmax", "linear"])
@pytest.mark.parametrize(("scheme", "layers"), [("IOB2", 0), ("BIOUL", 2)])
def test_a_tagger_comes_back_to_the_bit(
    tmp_path: Path, encoder: Path, head: Head, scheme: TagScheme, layers: int
) -> None:
    made = made_head(head, scheme=scheme, mixed_layers=layers)
    features = FeatureSettings(layers="mix" if layers else "last", pooling="mean", window=64)
    folder = made_tagger(tmp_path / "tagger", encoder, head=made, features=features)
    found = load_tagger(folder)
    assert found.head.settings == made.settings
    assert found.features == features
    assert found.about == {"trained_on": "ka", "seed": 1}
    assert not found.head.training
    weights = made.state_dict()
    assert found.head.state_dict().keys() == weights.keys()
    for name, value in found.head.state_dict().items():
        assert value.dtype == weights[name].dtype
        assert torch.equal(value, weights[name])


def test_an_encoder_trained_with_the_head_goes_inside(tmp_path: Path, encoder: Path) -> None:
    model = load_encoder(encoder)
    with torch.no_grad():
        next(model.parameters()).add_(0.5)
    folder = tmp_path / "tagger"
    save_tagger(
        folder,
        made_head(),
        features=FeatureSettings(),
        encoder=encoder,
        trained=lambda own: save_model(model, own),
    )
    found = load_tagger(folder)
    assert found.encoder == folder / "encoder"
    assert found.encoder_sha256["tokenizer"] == encoder_sha256(encoder)["tokenizer"]
    again = load_encoder(found.encoder)
    assert all(torch.equal(one, two) for one, two in zip(again.parameters(), model.parameters(), strict=True))


def test_an_evaluation_keeps_the_best_seed_and_on_request_every_head(tmp_path: Path, encoder: Path) -> None:
    pieces, model = WordPieces(encoder), load_encoder(encoder)

    def labelled(seed: int) -> LabelledFeatures:
        rows = made_sentences(30, seed=seed)
        vectors = word_features(model, pieces, [[word for word, _ in row] for row in rows])
        return LabelledFeatures(vectors, tuple(tuple(tag for _, tag in row) for row in rows))

    settings = TrainSettings(seeds=2, epochs=2, hidden_size=8)
    trained = train_heads(labelled(1), labelled(2), tagger=settings.tagger(32, LABELS), settings=settings)
    heads = dict(enumerate(trained, start=4))
    kept = save_heads(
        tmp_path, heads, name="base", train="en", features=FeatureSettings(), encoder=encoder, every=True
    )
    assert [path.name for path in kept] == ["base-en", "base-en-seed4", "base-en-seed5"]
    best = max(heads, key=lambda seed: (max(heads[seed].dev_f1), -seed))
    read = [load_tagger(path) for path in kept]
    assert [one.about["seed"] for one in read] == [best, 4, 5]
    assert read[0].about["dev_f1"] == max(heads[best].dev_f1)
    for one in read:
        expected = heads[one.about["seed"]].select("source-dev").state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in one.head.state_dict().items())


def test_saving_twice_gives_the_same_bytes(tmp_path: Path, encoder: Path) -> None:
    files = []
    for name in ("one", "two"):
        folder = made_tagger(tmp_path / name, encoder)
        files.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert files[0] == files[1]


def test_a_whole_tagger_moves(tmp_path: Path, folder: Path) -> None:
    moved = tmp_path / "elsewhere" / "mine"
    moved.parent.mkdir()
    shutil.move(folder, moved)
    assert load_tagger(moved).encoder == moved / "encoder"


def test_a_tagger_may_refer_to_its_encoder(tmp_path: Path, encoder: Path) -> None:
    folder = made_tagger(tmp_path / "tagger", encoder, inside=False)
    found = load_tagger(folder)
    assert found.encoder is None
    assert not (folder / "encoder").exists()
    check_encoder(folder, found.encoder_sha256, encoder)


def test_the_configuration_of_an_encoder_saved_again_is_the_same(tmp_path: Path, encoder: Path) -> None:
    copy = Path(shutil.copytree(encoder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["transformers_version"] = "9.9.9"
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert encoder_sha256(copy) == encoder_sha256(encoder)


@pytest.mark.parametrize("part", ["weights", "tokenizer", "config"])
def test_another_encoder_is_refused_and_the_difference_named(
    tmp_path: Path, encoder: Path, part: str
) -> None:
    folder = made_tagger(tmp_path / "tagger", encoder, inside=False)
    other = Path(shutil.copytree(encoder, tmp_path / "other"))
    if part == "weights":
        weights = load_file(other / "model.safetensors")
        next(iter(weights.values())).view(-1)[0] += 1
        save_file(weights, other / "model.safetensors", {"format": "pt"})
    elif part == "tokenizer":
        write_tokenizer(other)
    else:
        config = json.loads((other / "config.json").read_text(encoding="utf-8"))
        config["layer_norm_eps"] = 1e-3
        (other / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"has other {part} than the encoder") as caught:
        check_encoder(folder, load_tagger(folder).encoder_sha256, other)
    assert caught.value.exit_code == 8
    assert caught.value.name == "E-TAGGER-ENCODER"
    assert "--encoder" in caught.value.next


def _other_labels(config: dict[str, Any]) -> None:
    config["labels"] = ["LOC", "ORG"]


def _other_tags(config: dict[str, Any]) -> None:
    config["tags"][1:3] = config["tags"][2:0:-1]


def _more_labels(config: dict[str, Any]) -> None:
    config["labels"] = config["head"]["labels"] = ["LOC", "ORG", "PER"]
    config["tags"] = ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"]


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *path, last = key.split(".")

    def edit(config: dict[str, Any]) -> None:
        for part in path:
            config = config[part]
        config[last] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "name", "told"),
    [
        (_other_labels, "E-TAGGER-LABELS", "other labels"),
        (_other_tags, "E-TAGGER-LABELS", "other tags"),
        (_more_labels, "E-TENSORS", "linear.weight"),
        (_set("head.hidden_size", 16000), "E-TENSORS", "expected"),
        (_set("head.hidden_size", 10**9), "E-TAGGER", "hidden_size"),
        (_set("head.layers", 3), "E-TENSORS", "lstm.2"),
        (_set("head.head", "transformer"), "E-TAGGER", "head.head"),
        (_set("head.dropout", "much"), "E-TAGGER", "head.dropout"),
        (_set("head.code", "import os"), "E-TAGGER", "head.code is not known"),
        (_set("head.labels", ["LOC", "\u202ePER"]), "E-TAGGER", "\\u202e"),
        (_set("features.layers", "mix"), "E-TAGGER", "mixed"),
        (_set("schema", 2), "E-TAGGER", "newer extend"),
        (_set("kind", "other"), "E-TAGGER", "config.json"),
        (_set("encoder.sha256", {}), "E-TAGGER", "hash"),
        (_set("encoder.sha256.weights", "0" * 64), "E-TAGGER-ENCODER", "weights"),
        (_set("encoder.sha256.tokenizer", "0" * 64), "E-TAGGER-ENCODER", "tokenizer"),
    ],
)
def test_what_does_not_fit_is_told(
    folder: Path, edit: Callable[[dict[str, Any]], None], name: str, told: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_tagger(edited(folder, edit))
    assert caught.value.exit_code == 8
    assert caught.value.name == name
    assert told in f"{caught.value.what} {caught.value.why}"


def _link_out(made: Path) -> None:
    (made / "encoder" / "vocab.txt").unlink()
    (made / "encoder" / "vocab.txt").symlink_to("/etc/hostname")


def _link_away(made: Path) -> None:
    shutil.rmtree(made / "encoder")
    (made / "encoder").symlink_to("../..")


def _pickled_head(made: Path) -> None:
    (made / "model.safetensors").write_bytes(pickle.dumps({"linear.weight": [1.0]}))


def _torch_head(made: Path) -> None:
    torch.save({"linear.weight": torch.ones(1)}, made / "model.safetensors")


def _pickle_beside(made: Path) -> None:
    (made / "encoder" / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def _many(made: Path) -> None:
    for number in range(1001):
        (made / f"{number}.txt").touch()


def _huge(made: Path) -> None:
    with open(made / "model.safetensors", "r+b") as file:
        file.truncate((1 << 30) + 1)


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (_link_out, "E-LINK"),
        (_link_away, "E-LINK"),
        (_pickled_head, "E-PICKLE"),
        (_torch_head, "E-PICKLE"),
        (_pickle_beside, "E-PICKLE"),
        (_many, "E-SIZE"),
        (_huge, "E-SIZE"),
    ],
)
def test_attacks_are_refused(folder: Path, attack: Callable[[Path], None], name: str) -> None:
    attack(folder)
    with pytest.raises(RefusedError) as caught:
        load_tagger(folder)
    assert (caught.value.exit_code, caught.value.name) == (11, name)


@pytest.mark.parametrize("place", ["../encoder", "/etc", "encoder/../..", "C:\\encoder"])
def test_an_encoder_outside_is_refused(folder: Path, place: str) -> None:
    with pytest.raises(RefusedError) as caught:
        load_tagger(edited(folder, _set("encoder.folder", place)))
    assert (caught.value.exit_code, caught.value.name) == (11, "E-UNSAFE-NAME")


@pytest.mark.parametrize("place", ["../model.safetensors", "/etc/hostname", "a\\..\\b", "encoder//x"])
def test_a_manifest_that_leads_out_is_refused(folder: Path, place: str) -> None:
    manifest = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))
    manifest["files"][place] = {"size": 1, "sha256": "0" * 64}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(RefusedError, match="manifest"):
        load_tagger(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "encoder/model.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "zero", "remove"])
def test_damage_is_found_before_use(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-9] ^= 1
    elif damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "zero":
        content[-64:] = bytes(64)
    path.write_bytes(content)
    if damage == "remove":
        path.unlink()
    with pytest.raises(CheckpointError) as caught:
        load_tagger(folder)
    assert caught.value.exit_code == 8


def test_a_header_without_end_is_told(folder: Path) -> None:
    def change(made: Path) -> None:
        (made / "model.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")

    with pytest.raises(CheckpointError, match="not sound"):
        load_tagger(republished(folder, change))


def test_numbers_that_are_none_are_told(folder: Path) -> None:
    def change(made: Path) -> None:
        weights = load_file(made / "model.safetensors")
        weights["linear.bias"][0] = float("nan")
        save_file(weights, made / "model.safetensors")

    with pytest.raises(CheckpointError, match=r"linear\.bias"):
        load_tagger(republished(folder, change))


def test_other_folders_are_no_taggers(tmp_path: Path, encoder: Path) -> None:
    with pytest.raises(PathError, match="no tagger"):
        load_tagger(tmp_path / "nothing")
    with pytest.raises(ExtendError, match="manifest") as caught:
        load_tagger(encoder)
    assert caught.value.exit_code == 8


def test_a_label_that_cannot_be_a_tag_is_not_saved(tmp_path: Path, encoder: Path) -> None:
    head = Tagger(TaggerSettings(32, ("a b",), head="linear", constrain="none"))
    with pytest.raises(UsageError, match="entity type"):
        save_tagger(tmp_path / "tagger", head, features=FeatureSettings(), encoder=encoder)
    assert not (tmp_path / "tagger").exists()
