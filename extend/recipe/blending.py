"""Between the grown model and the trained one: published as a model, or measured at several places."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedModel

from extend import store
from extend.blending import blend_, check_alike, check_share
from extend.blocks import Stream
from extend.certificate import certify_folder, raise_failed
from extend.errors import CheckpointError, PathError, UsageError
from extend.hub import load_pretraining_model, save_model
from extend.pretrain import autocast_dtype, device_of_choice
from extend.pretrain.held_out import held_out_losses
from extend.recipe.corpora import corpus_patterns
from extend.recipe.data import masking_rule
from extend.recipe.run import OnProgress, Run, silent
from extend.recipe.watching import held_out_stream
from extend.tokenizer import TOKENIZER_FILES, load_tokenizer, special_ids
from extend.types import Progress, SpecialIds

STAGE = "blend"
NewRows = Literal["trained", "blended"]
NOTHING_DONE = "nothing was written"


def blend(
    run: Run,
    t: float,
    *,
    new_rows: NewRows = "trained",
    model: Path | None = None,
    out: Path | None = None,
    dry_run: bool = False,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Publish (1 - t) grown + t trained, weight by weight (WiSE-FT), as a checkpoint of its own.

    `model` is what was trained from the run's grown model, by default its `model/`; `out` by default
    `blended-T` in the run's folder, where an earlier one of the same `t` is replaced. New rows and their
    biases are those of the trained model whatever `t` is: before training they stand for nothing yet, so
    that there is nothing of theirs to keep. With `new_rows` "blended" they take part: t = 0 is then the
    grown model, byte by byte, and t = 1 the trained one under either.

    Returns `out`, `t`, `new_rows` and `held_out` (by language, as pretrain does), which report.json beside
    the model also has. Raises UsageError for a bad `t` (E-USAGE) and for a run without both models
    (E-STAGE), CheckpointError E-BLEND for models or tokenizers that do not belong together, PathError
    E-OUTPUT for an `out` that is there and is no blend.
    """
    check_share(t)
    ends = _opened(run, model, new_rows)
    target = out or run.directory / f"blended-{t:g}"
    _check_output(target)
    told = {"out": str(target), "t": t, "new_rows": new_rows}
    if dry_run:
        check_alike(*ends.both())
        return told
    with run.held():
        on_progress(Progress(STAGE, 0, 3, "blending"))
        blended, folders = ends.at(t), (ends.before, ends.after)
        on_progress(Progress(STAGE, 1, 3, "measuring"))
        measured = _Texts.of(run, ends).losses(blended)
        on_progress(Progress(STAGE, 2, 3, "writing"))
        made_of = {folder.name: store.sha256_file(folder / "model.safetensors") for folder in folders}
        with store.publish_directory(target) as folder:
            save_model(blended.to("cpu"), folder)
            store.copy_files(ends.after, folder, TOKENIZER_FILES)
            raise_failed(certify_folder(folder, base=None))
            store.write_json(folder / "report.json", {**told, "made_of": made_of, "held_out": measured})
        run.record(f"{STAGE}-{t:g}", {**told, "made_of": made_of}, {target.name: target})
    on_progress(Progress(STAGE, 3, 3, "published"))
    return {**told, "held_out": measured}


def sweep(
    run: Run,
    shares: Sequence[float],
    *,
    new_rows: NewRows = "trained",
    model: Path | None = None,
    dry_run: bool = False,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Held-out loss by language at each of `shares`; publishes nothing.

    Returns `new_rows` and `sweep`, a list of `t` and `held_out`, and writes them to blend.json in the run's
    folder. Raises as `blend` does.
    """
    for t in shares:
        check_share(t)
    if not shares:
        raise UsageError("no share to try", name="E-USAGE", next="for example --sweep 0,0.3,0.5,0.7,1")
    ends = _opened(run, model, new_rows)
    if dry_run:
        check_alike(*ends.both())
        return {"new_rows": new_rows, "sweep": [{"t": t} for t in shares]}
    with run.held():
        texts, found = _Texts.of(run, ends), list[dict[str, Any]]()
        for number, t in enumerate(shares):
            on_progress(Progress(STAGE, number, len(shares), f"t = {t:g}"))
            found.append({"t": t, "held_out": texts.losses(ends.at(t))})
        result = {"new_rows": new_rows, "sweep": found}
        store.write_json(run.directory / "blend.json", result)
    on_progress(Progress(STAGE, len(shares), len(shares), "measured"))
    return result


@dataclass(frozen=True)
class _Ends:
    """The folders of the two models; ids from `first_new` on are new, and stay as they were trained unless
    `with_new_rows`."""

    before: Path
    after: Path
    first_new: int
    with_new_rows: bool

    def both(self) -> tuple[PreTrainedModel, PreTrainedModel]:
        return load_pretraining_model(self.before), load_pretraining_model(self.after)

    def at(self, t: float) -> PreTrainedModel:
        """The model at `t`, in eval mode."""
        before, after = self.both()
        blend_(after, before, t=t, old=None if self.with_new_rows else self.first_new)
        return after


def _opened(run: Run, model: Path | None, new_rows: NewRows) -> _Ends:
    """Raises before anything is loaded: both folders, and one tokenizer in the two."""
    run.check_folder()
    after = model or run.model
    for folder, stage in ((run.grown, "grow"), (after, "pretrain")):
        if not (folder / "config.json").is_file():
            raise UsageError(
                f"there is no model in {folder} yet",
                name="E-STAGE",
                done=NOTHING_DONE,
                next=f"run extend {stage} --lang {run.language.code}",
            )
    if load_tokenizer(run.grown).to_str() != load_tokenizer(after).to_str():
        raise CheckpointError(
            f"the tokenizers of {run.grown} and {after} are not the same",
            name="E-BLEND",
            why="the same row would stand for two pieces",
            done=NOTHING_DONE,
            next="give a checkpoint that was trained from the run's grown model",
        )
    report: Mapping[str, Any] = store.read_json(run.grown / "report.json")
    size = load_tokenizer(after).get_vocab_size(with_added_tokens=True)
    return _Ends(run.grown, after, size - int(report["added"]), new_rows == "blended")


@dataclass(frozen=True)
class _Texts:
    """Held-out text of all that the run trains on, replays or watches, measured as pretrain does."""

    run: Run
    streams: Mapping[str, Stream]
    special: SpecialIds
    first_new: int

    @classmethod
    def of(cls, run: Run, ends: _Ends) -> "_Texts":
        wanted, tokenizer = run.settings.pretrain, load_tokenizer(ends.after)
        special = special_ids(tokenizer)
        corpora = {run.language.code: corpus_patterns(run), **wanted.replay, **wanted.watch}
        streams = {
            language: held_out_stream(run, language, patterns, tokenizer, special)
            for language, patterns in corpora.items()
        }
        return cls(run, streams, special, ends.first_new)

    def losses(self, model: PreTrainedModel) -> dict[str, dict[str, float]]:
        """By language; one whose text is shorter than a block is left out."""
        wanted, device = self.run.settings.pretrain, device_of_choice()
        found: dict[str, dict[str, float]] = {}
        for language, stream in self.streams.items():
            new = language == self.run.language.code
            losses, _ = held_out_losses(
                model.to(device),
                stream,
                length=wanted.length,
                special=self.special,
                rule=masking_rule(wanted),
                old_pieces=None if new else self.first_new,
                dtype=autocast_dtype(wanted.precision, device),
            )
            if measured := losses.measured():
                found[language] = {"mlm_loss": measured.loss, "perplexity": measured.perplexity}
        return found


def _check_output(out: Path) -> None:
    """A blend may be made again in its place; nothing else is replaced."""
    report = out / "report.json"
    ours = out.is_dir() and report.is_file() and "made_of" in store.read_json(report)
    if out.is_symlink() or (out.exists() and not ours and not (out.is_dir() and not any(out.iterdir()))):
        raise PathError(
            f"cannot make {out}: it is there already",
            name="E-OUTPUT",
            done=NOTHING_DONE,
            next="give another --out",
        )
