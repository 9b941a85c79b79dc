"""Every notebook runs from top to bottom, on data small enough for a test."""

import ast
import importlib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.extend.documentation_runs import made_entities, made_text, write_text
from tests.models import tiny_checkpoint

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
TINY = """
PLAN = Plan(
    world=WorldSize(base_words=6000, new_words=6000, train=24, dev=12, test=24),
    base_pieces=700,
    new_pieces=150,
    bilingual_pieces=500,
    hidden_size=32,
    layers=1,
    base_steps=6,
    new_rows_steps=6,
    bilingual_steps=6,
    batch_size=4,
    length=32,
    held_out_lines=20,
    ner_seeds=1,
    ner_epochs=1,
)
"""
REAL = """
BASE = "base"
SETTINGS = SETTINGS | {
    "vocab.size": 40, "vocab.held_out_lines": 20, "grow.init": "subword", "pretrain.steps": 4,
    "pretrain.new_rows_steps": 4, "pretrain.eval_every": 2, "pretrain.length": 16, "pretrain.batch_size": 4,
    "pretrain.log_every": 1, "ner.seeds": 1, "ner.epochs": 1, "ner.hidden_size": 8,
}
"""
COMPARED = """
BASE = "base"
METHODS = ["mean", "paper", "subword"]
SEEDS = [1, 2]
PROBE_STEPS = 2
SETTINGS = {"vocab.size": 40, "vocab.held_out_lines": 20, "pretrain.length": 16, "pretrain.batch_size": 4}
"""


def read(name: str) -> nbformat.NotebookNode:
    (path,) = (path for path in NOTEBOOKS if path.stem == name)
    return nbformat.read(path, as_version=4)


def code_cells(name: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def run(name: str, folder: Path, parameters: str) -> str:
    """Run a notebook in `folder` with more `parameters`; everything its cells showed."""
    notebook = read(name)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    cell.source += "\n" + parameters
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(str(output.get("text") or output.get("data")) for output in outputs)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that a notebook names, with made words, and a tiny base."""
    monkeypatch.delenv("MPLBACKEND", raising=False)  # pictures are shown in the notebook, as for its reader
    tiny_checkpoint(tmp_path / "base", hidden=16, layers=1)
    for language in ("ug", "en"):
        write_text(tmp_path / "text" / f"{language}.txt", made_text(language))
        for split in ("train", "dev", "test"):
            write_text(tmp_path / "ner" / language / f"{split}.conll", made_entities(language))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs(name: str) -> None:
    cells = code_cells(name)
    assert len(cells) >= 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_cell_installs_what_is_missing(name: str) -> None:
    first = code_cells(name)[0].source
    assert 'find_spec("extend")' in first
    assert '"pip", "install"' in first
    notebook = nbformat.writes(read(name))
    assert "/home/" not in notebook
    assert '"/' not in notebook.replace('"/td', "")


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_parses_and_imports_what_there_is(name: str) -> None:
    for cell in code_cells(name):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")


def test_a_real_language_from_top_to_bottom(inputs: Path) -> None:
    told = run("real-language", inputs, REAL)
    for text in ("Uyghur", "pieces a word", "zero-shot extended", "iframe", "model.safetensors"):
        assert text in told
    folder = inputs / "runs" / "ug"
    for name in ("report.html", "README.md", "model/model.safetensors", "ner/zero-shot/results.json"):
        assert (folder / name).is_file()


def test_initialisers_from_top_to_bottom(inputs: Path) -> None:
    told = run("initialisers", inputs, COMPARED)
    assert "3 ways, 2 seeds" in told
    assert "after 2 steps" in told
    assert "image/png" in told
    assert len(list(inputs.glob("runs/initialisers/ug-*/compare.json"))) == 2


@pytest.mark.slow
def test_the_quickstart_from_top_to_bottom(tmp_path: Path) -> None:
    told = run("quickstart", tmp_path, TINY)
    assert "extended" in told
    assert "guesses:" in told
    assert "iframe" in told
    assert (tmp_path / "runs" / "notebook" / "report.html").is_file()
