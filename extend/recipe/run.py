"""A run folder: where each stage's files lie, what was done with which settings, and who may write."""

import contextlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from extend import store
from extend.config import RunSettings, dump_toml
from extend.errors import CheckpointError, PathError, escaped
from extend.languages import Language
from extend.types import Progress

OnProgress = Callable[[Progress], None]
_VERSIONS = ("extend", "torch", "transformers", "tokenizers", "numpy", "pytorch-crf")


def silent(_: Progress) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Run:
    """One language brought to one base, and the folder that holds everything made on the way."""

    directory: Path
    settings: RunSettings
    language: Language

    @property
    def vocabulary(self) -> Path:
        return self.directory / "vocab"

    @property
    def grown(self) -> Path:
        return self.directory / "grown"

    @property
    def pretraining(self) -> Path:
        return self.directory / "pretrain"

    @property
    def model(self) -> Path:
        return self.directory / "model"

    @property
    def ner(self) -> Path:
        return self.directory / "ner"

    @property
    def manifest(self) -> Path:
        return self.directory / "manifest.json"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder alone and mend what a kill left in it.

        Raises BusyError when another process has it, PathError when it cannot be written or is not a run.
        """
        self.check_folder()
        with store.locked(self.directory):
            for folder in (self.directory, self.directory / "corpus", self.pretraining, self.ner):
                store.recover(folder)
            for name in ("data", "checkpoints"):
                store.recover(self.pretraining / name)
            yield

    def save_settings(self) -> None:
        """Write run.toml, the settings that later commands start from."""
        text = dump_toml(self.settings)
        saved = self.directory / "run.toml"
        if not saved.is_file() or saved.read_text(encoding="utf-8") != text:
            store.write_text(saved, text)

    def check_folder(self) -> None:
        """Refuse, with a PathError, a folder that cannot be written or holds something that is no run."""
        there = next(path for path in (self.directory, *self.directory.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            reason = "permission denied" if there.is_dir() else f"{there} is a file"
            raise PathError(
                f"cannot write the run folder {self.directory}: {reason}",
                name="E-PATH",
                done="nothing was changed",
                next="give another --run DIR",
            )
        if not self.directory.is_dir() or (self.directory / "run.toml").is_file():
            return
        found = sorted(path.name for path in self.directory.iterdir() if path.name != ".lock")
        if found and not any(name.startswith(".") and ".tmp-" in name for name in found):
            raise PathError(
                f"{self.directory} is not a run folder, and not empty: {', '.join(map(escaped, found[:3]))}",
                name="E-RUN-FOREIGN",
                done="nothing was changed",
                next="give another --run DIR",
            )

    def stages(self) -> dict[str, Any]:
        """What is done: by stage, the settings it was made with and the sha256 of its files."""
        if not self.manifest.is_file():
            return {}
        stages: dict[str, Any] = store.read_json(self.manifest)["stages"]
        return stages

    def finished(self, stage: str, settings: Mapping[str, Any]) -> bool:
        """Whether `stage` is done with these settings. Raises CheckpointError when done with others."""
        done = self.stages().get(stage)
        if done is None:
            return False
        theirs = done["settings"]
        different = [key for key in sorted({*theirs, *settings}) if theirs.get(key) != settings.get(key)]
        if different:
            shown = "; ".join(
                f"{key}: {theirs.get(key)} then, {settings.get(key)} now" for key in different[:3]
            )
            raise CheckpointError(
                f"run folder {self.directory} was made with other settings ({stage})",
                name="E-RUN-MISMATCH",
                why=shown,
                done="nothing was changed",
                next="give the same settings, or another --run DIR",
            )
        return True

    def record(
        self, stage: str, settings: Mapping[str, Any], outputs: Mapping[str, Path], **facts: Any
    ) -> None:
        """Write into manifest.json that `stage` is done, with the sha256 of its `outputs`."""
        manifest: dict[str, Any] = store.read_json(self.manifest) if self.manifest.is_file() else {}
        stages = manifest.get("stages", {})
        stages[stage] = {"settings": dict(settings), "sha256": _hashes(outputs), **facts}
        store.write_json(
            self.manifest,
            {
                "schema": 1,
                "language": self.language.code,
                "language_name": self.language.name,
                "autonym": self.language.autonym,
                "base": self.settings.base,
                "seed": self.settings.seed,
                "versions": versions(),
                "stages": stages,
            },
        )


def versions() -> dict[str, str]:
    """What the run was made with."""
    return {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}}


def _hashes(outputs: Mapping[str, Path]) -> dict[str, Any]:
    hashes: dict[str, Any] = {}
    for name, path in outputs.items():
        if path.is_file():
            hashes[name] = store.sha256_file(path)
        else:
            hashes |= {f"{name}/{file}": entry["sha256"] for file, entry in store.fingerprint(path).items()}
    return hashes
