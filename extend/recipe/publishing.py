"""Files of the run to report, card and hub: what is checked before anything leaves the machine."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from extend import store
from extend.certificate import certify_folder, raise_failed
from extend.errors import CheckpointError, ExtendError, UsageError, escaped
from extend.hub import (
    check_card,
    check_results,
    files_to_publish,
    hub_note,
    local_base,
    push_checkpoint,
    refuse_secrets,
)
from extend.languages import passport
from extend.recipe.record import RECORD, record_of
from extend.recipe.run import Run
from extend.report import gather_run, render_card, summary_rows, write_report
from extend.report.card_results import FOLDER as RESULTS
from extend.report.card_results import result_files

CERTIFICATE = "certificate.json"
_CERTIFIED = ("*.safetensors", "*.json", "vocab.txt")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at before a push; `error` is the failure when it does not hold."""

    name: str
    detail: str
    error: ExtendError | None = None

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "holds": self.error is None, "detail": self.detail}


OnCheck = Callable[[Check], None]


def report(run: Run) -> dict[str, Any]:
    """Write report.html, README.md, the record and the results, the last three also beside the model.

    Returns their paths and the table's rows.
    """
    with run.held():
        return _write(run)


def _write(run: Run) -> dict[str, Any]:
    places = [run.directory, *([run.model] if run.model.is_dir() else [])]
    if any((run.directory / name).exists() for name in ("ner", "encoders.json")):
        record = record_of(run)
        for place in places:
            store.write_json(place / RECORD, record)
    files = write_report(run.directory, passport=passport(run.language).facts())
    gathered = gather_run(run.directory)
    results = _write_results(run, result_files(gathered)) if run.model.is_dir() else []
    records = [path for place in places if (path := place / RECORD).is_file()]
    return {
        "files": [str(path) for path in (*files, *records, *results)],
        "summary": summary_rows(gathered),
    }


def _write_results(run: Run, texts: Mapping[str, str]) -> list[Path]:
    """The files of `.eval_results/` as they are now, all at once; the folder goes when there are none."""
    folder = run.model / RESULTS
    if texts:
        with store.publish_directory(folder) as temporary:
            for name, text in texts.items():
                store.write_text(temporary / Path(name).name, text)
    elif folder.is_dir():
        store.remove_directories([folder])
    return [run.model / name for name in texts]


def push(
    run: Run, repo: str, *, public: bool = False, dry_run: bool = False, on_check: OnCheck | None = None
) -> dict[str, Any]:
    """Publish `model/` with its card as one commit; what was pushed is written to pushed.json last.

    Before anything is sent every check is made, and told to `on_check` as it ends: the reload certificate,
    the files that training wrote, the card, the results, the list of files, secrets. The first that does not
    hold is raised when all were made. Returns what `push_checkpoint` tells, `checks` and `hub` (a line about
    a hub that is not the public one). A dry run writes nothing and makes no request.

    Raises UsageError E-STAGE without a trained model, else what `push_checkpoint` raises, CheckpointError
    E-CERTIFICATE and E-DAMAGED.
    """
    if not (run.model / "config.json").is_file():
        raise UsageError(
            f"run {run.directory} has no trained model yet",
            name="E-STAGE",
            next=f"run extend pretrain --lang {run.language.code}",
        )
    note = {"hub": hub_note()}
    if dry_run:
        checks = _checked(run, on_check, write=False)
        result = push_checkpoint(run.model, repo, private=not public, dry_run=True)
        return {**asdict(result), "checks": checks, **note}
    with run.held():
        checks = _checked(run, on_check, write=True)
        pushed = asdict(push_checkpoint(run.model, repo, private=not public))
        store.write_json(
            run.directory / "pushed.json",
            {**pushed, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
        )
    return {**pushed, "checks": checks, **note}


def _checked(run: Run, on_check: OnCheck | None, *, write: bool) -> list[dict[str, Any]]:
    """Every check in order, each told as it ends; raises the first failure after the last check."""
    made: list[Check] = []
    looked_at: tuple[tuple[str, Callable[[], str]], ...] = (
        ("certificate", lambda: _certified(run, write=write)),
        ("trained files", lambda: _as_trained(run)),
        ("card", lambda: _card(run, write=write)),
        ("results", lambda: _results(run)),
        ("files", lambda: _files(run)),
        ("secrets", lambda: _secrets(run)),
    )
    for name, look in looked_at:
        try:
            check = Check(name, look())
        except ExtendError as error:
            check = Check(name, error.what, error)
        made.append(check)
        if on_check:
            on_check(check)
    for check in made:
        if check.error:
            raise check.error
    return [check.as_json() for check in made]


def _certified(run: Run, *, write: bool) -> str:
    """The folder read again in a new process, unless that was done with these very files; old rows, too.

    Kept in certificate.json with the sha256 of every file and the versions that read them.
    """
    sums, kept = _sums(run.model), run.directory / CERTIFICATE
    certificate: Mapping[str, Any] = store.read_json(kept) if kept.is_file() else {}
    fresh = certificate.get("files") == sums and certificate.get("base") == run.settings.base
    if not fresh:
        base = local_base(run.settings.base, revision=_revision(run))
        made = certify_folder(run.directory, base=base)
        told = {name: made[name] for name in ("assertions", "probes", "versions", "pieces", "added")}
        certificate = {"schema": 1, "base": run.settings.base, "files": sums, **told}
        if write:
            store.write_json(kept, certificate)
    raise_failed(certificate)
    held = sorted({entry["name"] for entry in certificate["assertions"] if entry["holds"]})
    reader = certificate["versions"].get("transformers")
    again = " (these files were certified before)" if fresh else ""
    return f"read again by transformers {reader}: {', '.join(held)}{again}"


def _sums(folder: Path) -> dict[str, str]:
    names = sorted({path for pattern in _CERTIFIED for path in folder.glob(pattern) if path.name != RECORD})
    return dict(zip([path.name for path in names], store.sha256_files(names), strict=True))


def _revision(run: Run) -> str | None:
    grown = run.stages().get("grow", {})
    return grown.get("base_revision") or run.settings.revision


def _as_trained(run: Run) -> str:
    """The weights and tokenizer against the sums that the stage recorded when it wrote them."""
    recorded = run.stages().get("pretrain", {}).get("sha256", {})
    wanted = {name: total for name, total in recorded.items() if name.startswith(f"{run.model.name}/")}
    found = {name: run.directory / name for name in wanted if not name.endswith(".md")}
    changed = [
        name for name, path in found.items() if not path.is_file() or store.sha256_file(path) != wanted[name]
    ]
    if changed:
        raise CheckpointError(
            f"{run.model} is not what training wrote: {', '.join(map(escaped, changed[:3]))}",
            name="E-DAMAGED",
            why="its sha256 is another than in manifest.json",
            done="nothing was sent",
            next="run extend pretrain again, or bring the files back",
        )
    return f"{len(found)} files are those that manifest.json names" if found else "no sums are recorded"


def _card(run: Run, *, write: bool) -> str:
    """The card as the files of the run tell it now; written first, unless nothing is to be written."""
    if write:
        _write(run)
        check_card(run.model / "README.md")
        return f"metadata are valid, {(run.model / 'README.md').stat().st_size:,} bytes"
    text = render_card(gather_run(run.directory))
    check_card(text)
    return "metadata are valid; it would be written anew"


def _results(run: Run) -> str:
    texts = result_files(gather_run(run.directory))
    for text in texts.values():
        check_results(text)
    return f"{len(texts)} of test sets that are on a hub"


def _files(run: Run) -> str:
    going = files_to_publish(run.model)
    staying = sum(path.is_file() for path in run.model.iterdir()) - sum("/" not in name for name in going)
    size = sum(path.stat().st_size for path in going.values())
    return f"{len(going)} files, {size:,} bytes; {staying} others stay"


def _secrets(run: Run) -> str:
    going = files_to_publish(run.model)
    for name, path in going.items():
        refuse_secrets(name, path)
    return f"no token and no key in {len(going)} files"
