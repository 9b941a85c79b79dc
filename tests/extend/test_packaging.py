"""The wheel that users install holds all that the tree runs on, and the pins fit the declared bounds."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("extend", "ner")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the tree stays clean."""
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    target = tmp_path_factory.mktemp("wheel")
    build = [
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(target),
    ]
    subprocess.run([sys.executable, "-m", *build, str(source)], check=True, capture_output=True, text=True)
    (made,) = target.glob("extend-*.whl")
    return made


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_has_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert _names(wheel) == files
    assert {"extend/py.typed", "ner/py.typed"} <= files


def test_the_installed_wheel_runs_outside_the_tree(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            assert not name.startswith(("/", ".."))
            archive.extract(name, tmp_path)
    program = (
        "import sys, extend, extend.report; from importlib import metadata; from pathlib import Path\n"
        "assert Path(extend.__file__).is_relative_to(Path.cwd()), extend.__file__\n"
        "(entry,) = metadata.distribution('extend').entry_points\n"
        "sys.exit(entry.load()(['--version']))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("extend ")


def _project() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_constraints_pin_every_dependency_inside_its_bounds() -> None:
    pins = {canonicalize_name(name): version for name, version in _pins().items()}
    for requirement in map(Requirement, [*_project()[""], *_project()["dev"]]):
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_constraints_pin_whatever_comes_with_a_dependency() -> None:
    pins = {canonicalize_name(name) for name in _pins()}
    waiting = [Requirement(one) for one in [*_project()[""], *_project()["dev"]]]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        key = f"{canonicalize_name(requirement.name)}{sorted(requirement.extras)}"
        if key in seen:
            continue
        seen.add(key)
        assert canonicalize_name(requirement.name) in pins, requirement
        for inner in map(Requirement, metadata.requires(requirement.name) or []):
            extras = [{"extra": extra} for extra in ("", *requirement.extras)]
            if inner.marker is None or any(map(inner.marker.evaluate, extras)):
                waiting.append(inner)


def test_pins_are_exact_and_torch_has_no_local_label() -> None:
    pins = _pins()
    assert pins["torch"] == "2.13.0"
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in pins.values())


def test_there_are_no_upper_caps() -> None:
    for requirement in map(Requirement, _project()[""]):
        assert {bound.operator for bound in requirement.specifier} == {">="}, requirement


def test_the_two_commands_are_targets_and_ci_runs_the_second() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("setup", "quickstart", "test"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for step in ("ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"):
        assert step in makefile
