"""A published checkpoint to a folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from extend.hub import hub_note, pull_checkpoint
from extend.recipe.run import OnProgress, silent


def pull(
    repo: str,
    out: Path | None = None,
    *,
    revision: str | None = None,
    dry_run: bool = False,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Fetch `repo` (USER/NAME) into `out`, by default `./NAME`; see `extend.hub.pull_checkpoint`.

    Returns `repo`, `commit`, `out`, `files`, `size`, `new` and `hub`, a line about a hub that is not the
    public one.
    """
    pulled = pull_checkpoint(
        repo,
        out or Path(repo.rpartition("/")[2] or repo),
        revision=revision,
        dry_run=dry_run,
        on_progress=on_progress,
    )
    return {**asdict(pulled), "hub": hub_note()}
