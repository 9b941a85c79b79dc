"""What the tutorial, the how-tos and the help of every command show is run as it is typed, in small."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

from extend.cli.reference import example_of
from extend.tokenizer import load_tokenizer
from tests.extend.documentation_runs import (
    COMMANDS,
    MBERT,
    ROOT,
    Ran,
    hub_with_mbert,
    made_entities,
    made_text,
    run_commands,
    shell_commands,
    write_text,
)
from tests.loopback_hub import LoopbackHub
from tests.unigram_models import write_trained

EXAMPLES: Mapping[str, str] = {name: example_of(one) for name, one in COMMANDS.items()}
FIRST = (
    *("env", "config", "init", "quickstart", "plan", "vocab", "grow", "pretrain", "blend", "ner-eval"),
    *("ner-tag", "report", "push", "pull", "reproduce", "delta", "apply", "remove", "ner-score"),
    *("ner-compare", "run"),
)
"""The order in which the examples make a chain; commands that are not named here come last."""
BEFORE: Mapping[str, Sequence[str]] = {
    "pull": ["extend push USER/NAME --lang ug"],
    "apply": [
        "extend vocab --lang si --corpus si.txt --size 40",
        "extend grow --lang si",
        "extend delta --lang si --out si.delta",
    ],
}
"""What an example takes for granted beside the examples before it."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with hub_with_mbert(tmp_path / "hub") as made:
        yield made


def in_order(names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def all_well(ran: Sequence[Ran], commands: Sequence[str]) -> None:
    *_, last = ran
    assert last.code == 0, f"{last.command}\n{last.out}\n{last.err}"
    assert [one.command for one in ran] == list(commands)


def write_inputs(folder: Path) -> None:
    """The files that examples and documents name."""
    for language in ("ug", "en", "kk", "si", "rw"):
        text = made_text(language)
        for place in (folder, folder / "text", folder / "data" / "text"):
            write_text(place / f"{language}.txt", text)
        (folder / f"{language}.txt.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    for language in ("ug", "en"):
        for split in ("train", "dev", "test"):
            for name in (f"{language}/{split}.conll", f"ner/{language}/{split}.conll"):
                write_text(folder / name, made_entities(language))


def test_every_command_has_an_example() -> None:
    assert [name for name, example in EXAMPLES.items() if not example.startswith(f"extend {name}")] == []


def test_the_examples_of_all_commands_run_one_after_the_other(tmp_path: Path, hub: LoopbackHub) -> None:
    write_inputs(tmp_path)
    write_text(tmp_path / "news.txt", made_text("ug", lines=3))
    tagged = [f"{line}\tO" for line in made_entities("si").splitlines() if line]
    write_text(tmp_path / "gold.conll", made_entities("ug"))
    write_text(tmp_path / "predicted.conll", made_entities("ug").replace("B-PER", "O", 3))
    for encoder in ("base", "extended"):
        write_text(tmp_path / f"predictions/{encoder}-en-si-seed1.conll", "\n".join(tagged) + "\n")
    for place in ROOT.glob("configs/si*.toml"):
        write_text(tmp_path / "configs" / place.name, place.read_text(encoding="utf-8"))
    write_si_inputs(tmp_path)
    names = [name for name in in_order(list(EXAMPLES)) if EXAMPLES[name]]
    commands = [one for name in names for one in (*BEFORE.get(name, ()), EXAMPLES[name])]
    ran = run_commands(commands, tmp_path, hub, EXTEND_DATA="data")
    all_well(ran, commands)
    records = (tmp_path / "entities.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(record)["text"] for record in records] == made_text("ug", lines=3).splitlines()


def write_si_inputs(folder: Path) -> None:
    """What configs/si.toml names: a base in the run of its own, and NER sets in EXTEND_DATA."""
    base = folder / "runs" / "si-base" / "model"
    base.mkdir(parents=True)
    for path in (folder / "hub" / "mbert").iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    for language in ("en", "si", "ta"):
        for split in ("train", "dev", "test"):
            write_text(
                folder / f"data/ner/{language}_multiner/{split}.iob2",
                made_entities("si" if language == "ta" else language),
            )


HOWTOS = {
    "howto-mbert": ("ug", "extend ner-eval --lang ug --zero-shot"),
    "howto-xlm-r": ("rw", "extend ner-eval --lang rw --zero-shot"),
}


def xlm_r(folder: Path) -> Path:
    """A tiny checkpoint with the ids and files of XLM-R."""
    tokenizer = load_tokenizer(write_trained(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=130, type_vocab_size=1, **sizes
    )
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", HOWTOS)
def test_the_commands_of_a_how_to_run(name: str, tmp_path: Path, hub: LoopbackHub) -> None:
    write_inputs(tmp_path)
    base = xlm_r(tmp_path / "xlm-r")
    hub.add("FacebookAI/xlm-roberta-base", {path.name: path.read_bytes() for path in base.iterdir()})
    commands = shell_commands((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
    language, evaluation = HOWTOS[name]
    files = [
        "--train",
        "en=ner/en/train.conll",
        "--test",
        "en=ner/en/test.conll",
        "--test",
        f"{language}=ner/ug/test.conll",
    ]
    ran = run_commands(commands, tmp_path, hub, more={evaluation: files})  # in the place of WikiANN
    all_well(ran, commands)
    assert "USER/NAME" in hub.repositories


def test_the_tutorial_leads_from_text_to_a_published_checkpoint(tmp_path: Path, hub: LoopbackHub) -> None:
    write_inputs(tmp_path)
    typed = shell_commands((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
    commands = [line for line in typed if line.startswith("extend ")]
    assert [line for line in typed if line not in commands] == ["pip install .", f"export BASE={MBERT}"]
    ran = run_commands(commands, tmp_path, hub, BASE=MBERT)
    all_well(ran, commands)
    published = hub.repositories["USER/NAME"].files("main")
    assert published is not None
    model = tmp_path / "runs" / "ug" / "model"
    for name in ("README.md", "config.json", "model.safetensors", "tokenizer.json", "vocab.txt"):
        assert published[name].content == (model / name).read_bytes()
