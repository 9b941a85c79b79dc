"""Held-out losses before, while and after a model is trained, and what follows from them and from spikes.

Two numbers say what an old language's loss was before. `before` is that of the grown model under the
extended tokenizer: the same text, cut the same, the same masks and the same old pieces to predict as in every
later measurement, so that the difference is what training did (new pieces take their share of the probability
in both). `base_held_out` is that of the base itself under its own tokenizer: what a user had. Between the two
lies what growing did, and words that the extended tokenizer cuts otherwise.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from extend import store
from extend.blocks import Stream, open_stream, write_stream
from extend.config import RunSettings
from extend.errors import DataError, UsageError
from extend.hub import load_pretraining_model, resolve_base
from extend.pretrain import Stage, autocast_dtype
from extend.pretrain.held_out import held_out_losses
from extend.pretrain.watching import (
    BlockLosses,
    Forgetting,
    Measured,
    forgetting_between,
    forgotten_in,
    mean_of,
    plateau_in,
)
from extend.recipe.corpora import split_corpus
from extend.recipe.data import Corpora, encoded_lines, masking_rule
from extend.recipe.metrics import Metrics
from extend.recipe.run import Run
from extend.recipe.spikes import Spikes
from extend.tokenizer import load_tokenizer, special_ids, tokenizer_settings
from extend.types import Progress, SpecialIds

_SCHEMA = 1


def check_watch(settings: RunSettings, language: str) -> None:
    """Raises UsageError for a watched language that is trained on, and for bounds that nothing measures."""
    wanted = settings.pretrain
    if twice := sorted(wanted.watch.keys() & {language, *wanted.replay}):
        raise UsageError(
            f"pretrain.watch names {twice[0]}, which is trained on",
            name="E-CONFIG",
            why="languages that are trained on are measured anyway, on lines held out",
            next=f"leave {twice[0]} out of pretrain.watch",
        )
    if wanted.max_forgetting is not None and not (wanted.watch or wanted.replay):
        raise UsageError(
            "pretrain.max_forgetting needs a language to measure it on",
            name="E-CONFIG",
            next="name text of an old language in pretrain.watch or pretrain.replay",
        )
    if not wanted.eval_every and (wanted.patience or wanted.max_forgetting is not None):
        raise UsageError(
            f"pretrain.{'patience' if wanted.patience else 'max_forgetting'} needs evaluations on the way",
            name="E-CONFIG",
            next="set pretrain.eval_every, for example to pretrain.save_every",
        )


@dataclass(frozen=True)
class _Text:
    """One language's held-out text; of an old language, also its files (patterns)."""

    stream: Stream
    old: tuple[str, ...] | None


def open_watch(
    run: Run,
    texts: Corpora,
    corpora: Mapping[str, Sequence[str]],
    *,
    tokenizer: Tokenizer,
    first_new: int | None,
    stages: Sequence[Stage],
    metrics: Metrics,
) -> "Watch":
    """What the run measures: the languages it trains on (`corpora`) and those of `pretrain.watch`.

    A language that is trained on and whose held-out text is shorter than a block is left out; for one that
    is to be watched that is a DataError.
    """
    wanted, special = run.settings.pretrain, special_ids(tokenizer)
    measured: dict[str, _Text] = {}
    for language, stream in texts.held_out.items():
        old = tuple(corpora[language]) if language in wanted.replay and first_new is not None else None
        if _has_block(stream, wanted.length):
            measured[language] = _Text(stream, old)
    for language, patterns in wanted.watch.items():
        stream = held_out_stream(run, language, patterns, tokenizer, special)
        if not _has_block(stream, wanted.length):
            raise DataError(
                f"the text of {language} in pretrain.watch is too short to be measured",
                name="E-CORPUS-SMALL",
                why=f"its held-out lines have {len(stream.ids)} tokens, a block has {wanted.length}",
                next=f"give more text of {language}, or a smaller pretrain.length",
            )
        measured[language] = _Text(stream, tuple(patterns))
    return Watch(run, measured, special, first_new=first_new, stages=stages, metrics=metrics)


def held_out_stream(
    run: Run, language: str, patterns: Sequence[str], tokenizer: Tokenizer, special: SpecialIds
) -> Stream:
    """The held-out lines of a corpus as this tokenizer reads them, written once beside the training data."""
    corpus = split_corpus(run, language, patterns)
    key = repr(
        (tokenizer.get_vocab_size(), [(str(path), path.stat().st_size) for path in sorted(corpus.files)])
    )
    name = f"{language}.watched-{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
    folder = run.pretraining / "data" / name
    if not store.is_published(folder):
        write_stream(folder, encoded_lines(tokenizer, corpus.unseen()), special=special)
    return open_stream(folder, language)


def _has_block(stream: Stream, length: int) -> bool:
    return len(stream.ids) >= length - 1


@final
class Watch:
    """Measures, remembers and decides for one run. `Metrics` writes what it finds."""

    def __init__(
        self,
        run: Run,
        texts: Mapping[str, _Text],
        special: SpecialIds,
        *,
        first_new: int | None,
        stages: Sequence[Stage],
        metrics: Metrics,
    ) -> None:
        self.run, self.texts, self.special, self.first_new = run, texts, special, first_new
        self.metrics, self.steps = metrics, sum(stage.steps for stage in stages)
        self.last_stage = self.steps - stages[-1].steps if stages else 0
        self._before: dict[str, BlockLosses] = {}
        self._base: dict[str, dict[str, Any] | None] = {}
        self._lines: dict[int, dict[str, Any]] = {}
        self.spikes = Spikes(run.settings.pretrain, metrics)

    def begin(self, model: PreTrainedModel) -> None:
        """Measure what later losses are compared with; `model` is the one that training starts from.

        It is kept in before.json, so that a resumed run measures nothing anew.
        """
        self._lines = {line["step"]: line for line in self.metrics.evaluations.lines()}
        known = _read(self.run.pretraining / "before.json")
        old = {language: text for language, text in self.texts.items() if text.old is not None}
        keys = {language: self._key(text) for language, text in old.items()}
        missing = [language for language in old if known.get(language, {}).get("key") != keys[language]]
        measured = self._measured(model, 0) if missing or 0 not in self._lines else {}
        base = self._measured_base(missing) if missing else {}
        for language in old:
            if language in missing:
                losses = measured[language][1]
                known[language] = {
                    "key": keys[language],
                    "sums": losses.sums.tolist(),
                    "counts": losses.counts.tolist(),
                    "base": base.get(language),
                }
            entry = known[language]
            self._before[language] = BlockLosses(
                np.array(entry["sums"]), np.array(entry["counts"], dtype=np.int64)
            )
            self._base[language] = entry["base"]
        if missing:
            kept = {language: known[language] for language in old}
            store.write_json(self.run.pretraining / "before.json", {"schema": _SCHEMA, "languages": kept})
        if 0 not in self._lines:
            self._note(0, measured)

    def resumed(self, step: int) -> None:
        """Training goes on after `step` steps: what was logged later is dropped, for it will come again."""
        self.metrics.cut(step)
        self._forget_later(step)

    def rewound(self, step: int) -> None:
        """The run went back to `step`: what was logged later is dropped, and why it went back is noted."""
        self.metrics.rewind(step)
        self._forget_later(step)
        self.spikes.rewound(step)

    def _forget_later(self, step: int) -> None:
        self._lines = {number: line for number, line in self._lines.items() if number <= step}

    def evaluate(self, step: int, model: PreTrainedModel) -> str | None:
        """Measure after `step` steps, unless that was done. Returns a reason to end the run, or None."""
        if step not in self._lines:
            self._note(step, self._measured(model, step))
        why = self._reason() if step else None
        if why:
            self.metrics.event(step, "stopped", why=why)
        return why

    def close(self, step: int, model: PreTrainedModel) -> None:
        """The last measurement, after `step` steps."""
        if step not in self._lines:
            self._note(step, self._measured(model, step))

    def closing(self) -> dict[str, Any]:
        """For the report: the last `held_out`, `forgetting`, and `base_held_out` of old languages."""
        last = self._lines[max(self._lines)] if self._lines else {"held_out": {}}
        base = {language: entry for language, entry in self._base.items() if entry}
        return {
            "held_out": last["held_out"],
            "base_held_out": base,
            "forgetting": last.get("forgetting", {}),
        }

    def _note(self, step: int, measured: Mapping[str, tuple[BlockLosses, BlockLosses]]) -> None:
        held_out = {
            language: told
            for language, (whole, _) in measured.items()
            if (told := _as_json(whole.measured()))
        }
        changes = {
            language: change
            for language, before in self._before.items()
            if language in measured and (change := forgetting_between(before, measured[language][1]))
        }
        forgetting = {language: asdict(change) for language, change in changes.items()}
        more = {"forgetting": forgetting} if forgetting else {}
        self._lines[step] = {"step": step, "held_out": held_out, **more}
        self.metrics.evaluated(step, held_out, **more)

    def _measured(self, model: PreTrainedModel, step: int) -> dict[str, tuple[BlockLosses, BlockLosses]]:
        return {
            language: self._losses(model, text.stream, self.special, step, old=text.old is not None)
            for language, text in self.texts.items()
        }

    def _losses(
        self, model: PreTrainedModel, stream: Stream, special: SpecialIds, step: int, *, old: bool
    ) -> tuple[BlockLosses, BlockLosses]:
        wanted, device = self.run.settings.pretrain, next(model.parameters()).device
        if self.metrics.writes:
            told = f"measuring {stream.language}"
            self.metrics.on_progress(Progress("pretrain", step, self.steps, told))
        return held_out_losses(
            model,
            stream,
            length=wanted.length,
            special=special,
            rule=masking_rule(wanted),
            old_pieces=self.first_new if old else None,
            dtype=autocast_dtype(wanted.precision, device),
        )

    def _measured_base(self, languages: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """The base's own loss on the same held-out lines, which its own tokenizer cuts its own way."""
        settings = self.run.settings
        folder = resolve_base(settings.base, revision=settings.revision).directory
        model, tokenizer = load_pretraining_model(folder), load_tokenizer(folder)
        special = special_ids(tokenizer, tokenizer_settings(folder))
        found: dict[str, dict[str, Any] | None] = {}
        for language in languages:
            stream = held_out_stream(self.run, language, self.texts[language].old or (), tokenizer, special)
            whole, _ = self._losses(model, stream, special, 0, old=False)
            found[language] = _as_json(whole.measured())
        return found

    def _key(self, text: _Text) -> dict[str, Any]:
        """What a measurement must agree in to be compared."""
        wanted = self.run.settings.pretrain
        return {
            "text": text.stream.sha256,
            "length": wanted.length,
            "rule": asdict(masking_rule(wanted)),
            "old_pieces": self.first_new,
            "precision": wanted.precision,
        }

    def _reason(self) -> str | None:
        """Why the run should end by its last evaluation."""
        wanted, last = self.run.settings.pretrain, self._lines[max(self._lines)]
        changes = {language: Forgetting(**change) for language, change in last.get("forgetting", {}).items()}
        if forgotten := forgotten_in(changes, limit=wanted.max_forgetting):
            return forgotten.told()
        history = [
            (step, mean)
            for step, line in sorted(self._lines.items())
            if step >= self.last_stage and (mean := self._learned(line)) is not None
        ]
        plateau = plateau_in(history, patience=wanted.patience)
        return plateau.told() if plateau else None

    def _learned(self, line: Mapping[str, Any]) -> Measured | None:
        """The mean loss of the languages that the run is there to learn."""
        learned = [language for language, text in self.texts.items() if text.old is None]
        entries = [line["held_out"][language] for language in learned if language in line["held_out"]]
        return mean_of(
            [
                Measured(entry["mlm_loss"], entry["standard_error"], entry["blocks"], entry["predictions"])
                for entry in entries
            ]
        )


def _as_json(measured: Measured | None) -> dict[str, Any] | None:
    if measured is None:
        return None
    return {
        "mlm_loss": measured.loss,
        "perplexity": measured.perplexity,
        "standard_error": measured.standard_error,
        "blocks": measured.blocks,
        "predictions": measured.predictions,
    }


def _read(path: Path) -> dict[str, Any]:
    """What was measured before, by language; nothing when there is no such file, or one of another form."""
    if not path.is_file():
        return {}
    found: Any = store.read_json(path)
    is_ours = isinstance(found, dict) and found.get("schema") == _SCHEMA
    return dict(found["languages"]) if is_ours else {}
