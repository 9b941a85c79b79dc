"""The notebook runs from top to bottom, on a world small enough for a test."""

import ast
import importlib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
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


def read_notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = [cell for cell in read_notebook().cells if cell.cell_type == "code"]
    assert len(cells) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


def test_every_cell_parses_and_imports_what_there_is() -> None:
    for cell in (cell for cell in read_notebook().cells if cell.cell_type == "code"):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = read_notebook()
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source += TINY
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    told = "".join(
        str(output.get("text") or output.get("data"))
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
    assert "extended" in told
    assert "guesses:" in told
    assert "iframe" in told
    assert (tmp_path / "runs" / "notebook" / "report.html").is_file()
