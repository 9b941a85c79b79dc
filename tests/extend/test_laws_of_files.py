"""What no file of the packages may hold, read from the syntax tree: a reviewer who never tires."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [*sorted((ROOT / "extend").rglob("*.py")), *sorted((ROOT / "ner").rglob("*.py"))]
LONGEST_FILE = 400
WRITERS = {"operations.py"}

BANNED_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
BANNED_CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "os.system", "os.popen", "tempfile.mktemp", "shutil.unpack_archive",
}  # fmt: skip
BANNED_METHODS = {"extractall", "write_text", "write_bytes"}
BANNED_WRITES = {"os.rename", "os.replace", "os.renames", "shutil.move", "shutil.copy", "shutil.copy2",
                 "shutil.copyfile", "shutil.copytree"}  # fmt: skip
TRUE_FLAGS = {"allow_pickle", "trust_remote_code", "shell"}


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _mode(call: ast.Call) -> str:
    """The mode that `open` is called with; "?" when it is not written out."""
    given = [word.value for word in call.keywords if word.arg == "mode"] or call.args[1:2]
    if not given:
        return "r"
    return str(given[0].value) if isinstance(given[0], ast.Constant) else "?"


def breaches(source: str, name: str = "room.py") -> list[str]:
    """Every breach of the laws in one file, as `line: what`."""
    return [f"{line}: {what}" for line, what in sorted(_breaches(ast.parse(source), name))]


def _breaches(tree: ast.Module, name: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _of_import(node)
        if isinstance(node, ast.Call):
            yield from _of_call(node, name)
        if isinstance(node, ast.Constant) and node.value is NotImplemented:
            yield node.lineno, "NotImplemented"
        if isinstance(node, ast.Name) and node.id in ("NotImplementedError", "NotImplemented"):
            yield node.lineno, node.id


def _of_import(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[int, str]]:
    names = [alias.name for alias in node.names]
    modules = names if isinstance(node, ast.Import) else [node.module or ""]
    for module in modules:
        if module.split(".")[0] in BANNED_MODULES:
            yield node.lineno, f"import of {module}"
    if isinstance(node, ast.ImportFrom):
        for one in names:
            if f"{node.module}.{one}" in BANNED_CALLS | BANNED_WRITES:
                yield node.lineno, f"import of {node.module}.{one}"


def _of_call(node: ast.Call, name: str) -> Iterator[tuple[int, str]]:
    called = _dotted(node.func)
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if called in BANNED_CALLS or method == "extractall":
        yield node.lineno, called
    for word in node.keywords:
        if word.arg in TRUE_FLAGS and not (isinstance(word.value, ast.Constant) and not word.value.value):
            yield node.lineno, f"{word.arg} not plainly false"
    if name in WRITERS:
        return
    own = called.startswith("store.")
    if (
        called in BANNED_WRITES
        or (method in BANNED_METHODS and not own)
        or (method == "rename" and called != "os.rename")
    ):
        yield node.lineno, called or method
    opens = called == "open" or (method == "open" and called not in ("os.open",))
    if (
        opens
        and called.split(".")[0] in ("open", "io", "gzip", "lzma", "bz2")
        and not set(_mode(node)) <= set("rbt")
    ):
        yield node.lineno, f"{called} for writing"
    if method == "open" and called.split(".")[0] not in ("io", "gzip", "lzma", "bz2", "os", "zstandard"):
        first = node.args[0] if node.args else None
        mode = first.value if isinstance(first, ast.Constant) else "r"
        if not set(str(mode)) <= set("rbt"):
            yield node.lineno, f"{called} for writing"


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_file_keeps_the_laws(path: Path) -> None:
    assert breaches(path.read_text(encoding="utf-8"), path.name) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "from torch import load\nfrom os import system",
        "eval('1')",
        "exec('x = 1')",
        "import yaml\nyaml.load('x')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "archive.extractall('x')",
        "import numpy\nnumpy.load('x', allow_pickle=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=asked)",
        "open('x', 'w')",
        "open('x', mode='ab')",
        "open('x', 'r+')",
        "open('x', mode)",
        "gzip.open('x', 'wb')",
        "path.open('w')",
        "path.write_text('x')",
        "path.write_bytes(b'x')",
        "path.rename(other)",
        "os.rename('a', 'b')",
        "os.replace('a', 'b')",
        "from os import replace",
        "shutil.move('a', 'b')",
        "shutil.copytree('a', 'b')",
        "raise NotImplementedError",
    ],
)
def test_a_breach_is_noticed(source: str) -> None:
    assert breaches(source)


@pytest.mark.parametrize(
    "source",
    [
        "open('x')",
        "open('x', 'rb')",
        "open('x', encoding='utf-8')",
        "path.open()",
        "path.open('rb')",
        "gzip.open('x', 'rb')",
        "numpy.load('x', allow_pickle=False)",
        "AutoModel.from_pretrained('x', trust_remote_code=False)",
        "'a'.replace('a', 'b')",
        "re.compile('x')",
        "model.eval()",
        "store.write_json(path, value)",
    ],
)
def test_what_is_allowed_is_no_breach(source: str) -> None:
    assert breaches(source) == []


def test_only_store_may_write() -> None:
    assert breaches("open('x', 'wb')\nos.replace('a', 'b')", "operations.py") == []
    assert breaches("import pickle", "operations.py") != []


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_file_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_no_file_is_a_drawer_for_everything() -> None:
    assert not [path for path in PACKAGES if path.stem in ("utils", "util", "helpers", "misc", "common")]


SPEAKS_FOR_ITSELF = 5


def _public_functions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, bool]]:
    """Every public function, and whether it must have words of its own.

    A short method may lean on its class's.
    """
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, True
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield inner, len(inner.body) > SPEAKS_FOR_ITSELF


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_functions_are_annotated_and_documented(path: Path) -> None:
    missing = []
    for function, needs_words in _public_functions(ast.parse(path.read_text(encoding="utf-8"))):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        bare = [one.arg for one in arguments if one.annotation is None and one.arg not in ("self", "cls")]
        if bare or function.returns is None:
            missing.append(f"{function.name} lacks annotations {bare}")
        if needs_words and not ast.get_docstring(function):
            missing.append(f"{function.name} lacks a docstring")
    assert missing == []


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_nothing_is_left_undone() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [path.name for path in PACKAGES if marks.search(path.read_text(encoding="utf-8"))]
    assert found == []
