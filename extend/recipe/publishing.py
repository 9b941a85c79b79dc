"""Files of the run to report, card and hub."""

import time
from dataclasses import asdict
from typing import Any

from extend import store
from extend.errors import UsageError
from extend.hub import push_checkpoint
from extend.recipe.run import Run
from extend.report import gather_run, summary_rows, write_report


def report(run: Run) -> dict[str, Any]:
    """Write report.html and README.md (also beside the model). Returns their paths and the table's rows."""
    with run.held():
        files = write_report(run.directory)
    return {"files": [str(path) for path in files], "summary": summary_rows(gather_run(run.directory))}


def push(run: Run, repo: str, *, public: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Publish `model/` with its card as one commit; what was pushed is written to pushed.json last."""
    if not (run.model / "config.json").is_file():
        raise UsageError(
            f"run {run.directory} has no trained model yet",
            name="E-STAGE",
            next=f"run extend pretrain --lang {run.language.code}",
        )
    if dry_run:
        return asdict(push_checkpoint(run.model, repo, private=not public, dry_run=True))
    with run.held():
        write_report(run.directory)
        pushed = asdict(push_checkpoint(run.model, repo, private=not public))
        store.write_json(
            run.directory / "pushed.json",
            {**pushed, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
        )
    return pushed
