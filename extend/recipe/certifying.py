"""The certificate of a folder that is there already, whoever made it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extend.certificate import certify_folder, raise_failed
from extend.hub import resolve_base

__all__ = ["check_folder", "raise_failed"]


def check_folder(
    directory: Path, *, base: str | None, revision: str | None = None, texts: Sequence[str] = ()
) -> dict[str, Any]:
    """Every assertion on a run, tokenizer or model folder: held, failed or not applicable. Writes nothing.

    `base` is a hub name or a folder; without it a run folder's own base is taken, and of any other folder
    what can be told alone is checked. Nothing is raised for a failed assertion: see `raise_failed`.
    """
    if base is None:
        folder = None
    elif Path(base).is_dir():
        folder = Path(base)
    else:
        folder = resolve_base(base, revision=revision).directory
    return certify_folder(directory, base=folder, texts=texts)
