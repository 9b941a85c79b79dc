"""The import contracts hold, and each of them catches what it is there for."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# contract -> (file, a line that breaks it); a contract with several sides has several.
VIOLATIONS = [
    ("layers-extend", "extend/types.py", "import extend.store"),
    ("layers-extend", "extend/errors.py", "import extend.types"),
    ("layers-extend", "extend/masking.py", "import extend.blocks"),
    ("layers-extend", "extend/growth.py", "import extend.initializers"),
    ("layers-extend", "extend/report/page.py", "import extend.hub"),
    ("layers-extend", "extend/store/files.py", "import extend.config"),
    ("layers-extend", "extend/hub/load.py", "from extend.recipe import check"),
    ("layers-extend", "extend/recipe/run.py", "import extend.cli.main"),
    ("layers-extend", "extend/unlisted.py", "import extend.types"),
    ("layers-ner", "ner/tags.py", "import ner.crf"),
    ("layers-ner", "ner/crf/layers.py", "import ner.data"),
    ("layers-ner", "ner/train/loop.py", "import ner.evaluate"),
    ("layers-ner", "ner/unlisted.py", "import ner.tags"),
    ("foundations-stdlib", "extend/store/files.py", "import numpy"),
    ("foundations-stdlib", "extend/types.py", "from torch import Tensor"),
    ("config-pydantic", "extend/config/tables.py", "import torch"),
    ("settings-stop-at-the-recipe", "extend/hub/pull.py", "from extend.config import RunSettings"),
    ("settings-stop-at-the-recipe", "ner/train/settings.py", "from extend.config import NerSettings"),
    ("words-without-tensors", "extend/corpus/readers.py", "import datasets"),
    ("words-without-tensors", "extend/wordpiece/learner.py", "import torch"),
    ("words-without-tensors", "extend/report/gather.py", "import ner.crf"),
    ("words-without-tensors", "ner/score/counts.py", "import transformers"),
    ("words-without-tensors", "extend/vectors/training.py", "import torch"),
    ("layers-extend", "extend/vectors/reading.py", "import extend.corpus"),
    ("words-without-tensors", "extend/survey/lint.py", "import torch"),
    ("layers-extend", "extend/survey/sample.py", "import extend.corpus"),
    ("layers-extend", "extend/deltas/rows.py", "import extend.growth"),
    ("one-home-of-tokenizers", "extend/deltas/files.py", "import tokenizers"),
    ("words-without-tensors", "extend/unigram/scores.py", "import torch"),
    ("tokenizer-without-models", "extend/tokenizer/kinds.py", "from transformers import AutoTokenizer"),
    ("formulas-are-pure", "extend/initializers/focus.py", "from pathlib import Path"),
    ("formulas-are-pure", "extend/masking.py", "import logging"),
    ("formulas-are-pure", "ner/crf/sums.py", "import transformers"),
    ("models-know-no-words", "extend/growth.py", "import tokenizers"),
    ("models-know-no-words", "extend/pretrain/loop.py", "import huggingface_hub"),
    ("one-door-to-the-hub", "extend/pretrain/loop.py", "import datasets"),
    ("one-door-to-the-hub", "extend/recipe/publishing.py", "from huggingface_hub import HfApi"),
    ("one-door-to-the-hub", "ner/features/encoding.py", "import urllib.request"),
    ("one-home-of-tokenizers", "ner/features/pieces.py", "import tokenizers"),
    ("one-home-of-tokenizers", "extend/corpus/readers.py", "def split():\n    import tokenizers"),
    ("ner-judges-folders", "ner/features/encoding.py", "import extend.hub"),
    ("ner-judges-folders", "ner/tagging/engine.py", "import extend.hub"),
    ("cli-calls-the-recipe", "extend/cli/tagging.py", "import ner.tagging"),
    ("ner-judges-folders", "ner/data/reading.py", "from extend.corpus import read_corpus"),
    ("extend-without-ner", "extend/report/gather.py", "import ner.score"),
    ("recipe-calls-the-story", "extend/recipe/evaluation.py", "from ner.score import interval"),
    ("cli-calls-the-recipe", "extend/cli/chain.py", "from extend.corpus import find_files"),
    ("cli-calls-the-recipe", "extend/cli/environment.py", "import transformers"),
    ("cli-calls-the-recipe", "extend/cli/evaluation.py", "def score():\n    import ner.score"),
    ("only-the-cli-talks", "extend/hub/push.py", "from rich.progress import track"),
    ("only-the-cli-talks", "ner/train/loop.py", "from tqdm import tqdm"),
    ("cli-stays-above", "ner/evaluate/bench.py", "import extend.cli"),
]


def _contracts() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [contract["id"] for contract in settings["tool"]["importlinter"]["contracts"]]


def _lint(root: Path, contract: str | None) -> subprocess.CompletedProcess[str]:
    limit = f"limit_to_contracts=({contract!r},), " if contract else ""
    program = (
        "import sys; from importlinter.cli import lint_imports; "
        f"sys.exit(lint_imports('pyproject.toml', {limit}cache_dir='cache', no_logo=True))"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two packages alone, to be spoilt."""
    root = tmp_path_factory.mktemp("tree")
    for package in ("extend", "ner"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def test_the_tree_keeps_every_contract(copy: Path) -> None:
    done = _lint(copy, None)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_every_contract_has_a_violation() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == set(_contracts())


@pytest.mark.parametrize(("contract", "file", "line"), VIOLATIONS)
def test_a_violation_is_caught(copy: Path, contract: str, file: str, line: str) -> None:
    path = copy / file
    before = path.read_bytes() if path.is_file() else None
    path.write_bytes((before or b"") + f"\n{line}\n".encode())
    try:
        done = _lint(copy, contract)
    finally:
        path.unlink() if before is None else path.write_bytes(before)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout, done.stdout + done.stderr
