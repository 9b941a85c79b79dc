"""Ways to start the new rows, side by side: held-out loss before any training, and after a little."""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from extend import store
from extend.architectures import architecture_of
from extend.errors import UsageError
from extend.growth import grow_
from extend.hub import load_pretraining_model, resolve_base
from extend.pretrain import Stage, StageTrainer, autocast_dtype, device_of_choice, held_out_loss
from extend.recipe.corpora import corpus_patterns
from extend.recipe.data import Corpora, batches, language_weights, masking_rule, tokenise_corpora
from extend.recipe.distilling import distil
from extend.recipe.growing import check_growth, output_rows, started_rows
from extend.recipe.initializing import distil_lines, with_method
from extend.recipe.run import OnProgress, Run, silent
from extend.recipe.vocabulary import added_pieces, learn_vocabulary
from extend.tokenizer import load_tokenizer
from extend.types import Progress

STAGE = "compare"


def compare_methods(
    run: Run, methods: Sequence[str], *, probe_steps: int = 0, on_progress: OnProgress = silent
) -> dict[str, Any]:
    """Held-out MLM loss (nats a masked piece) with the new rows started by each of `methods`.

    All losses are over the same held-out blocks under the same masks. With `probe_steps`, the new rows are
    then trained alone for so many steps, on the same batches at the settings' rate, and measured again.
    With `grow.distil_lines` every method's rows are distilled before they are measured.
    Learns the vocabulary first if needed; grows nothing. Returns `compare{METHOD{mlm_loss, seconds,
    probe_loss}}` and writes it to compare.json. Raises UsageError for methods that cannot be made, before
    anything is read.
    """
    if not methods:
        raise UsageError("no methods to compare", name="E-USAGE", next="for example --compare mean,subword")
    runs = {method: _with_method(run, method) for method in dict.fromkeys(methods)}
    for one in runs.values():
        check_growth(one)
    learn_vocabulary(run, on_progress)
    with run.held():
        bench = _opened(run, on_progress)
        found: dict[str, Any] = {}
        for number, (method, one) in enumerate(runs.items()):
            on_progress(Progress(STAGE, number, len(runs), method))
            started = time.monotonic()
            bench.start(one, on_progress)
            seconds = round(time.monotonic() - started, 3)
            found[method] = {"mlm_loss": bench.loss(), "seconds": seconds}
            if probe_steps:
                bench.probe(probe_steps)
                found[method]["probe_loss"] = bench.loss()
        result = {"compare": found, "probe_steps": probe_steps, "added": len(bench.added)}
        store.write_json(run.directory / "compare.json", result)
    on_progress(Progress(STAGE, len(runs), len(runs), "compared"))
    return result


def _with_method(run: Run, method: str) -> Run:
    wanted = with_method(run.settings.grow, method)
    return dataclasses.replace(run, settings=run.settings.model_copy(update={"grow": wanted}))


@dataclass(frozen=True)
class _Bench:
    """A grown model, whose new rows are put in and measured again and again."""

    run: Run
    model: PreTrainedModel
    base: Tokenizer
    extended: Tokenizer
    added: tuple[str, ...]
    corpora: Corpora

    @property
    def first_new(self) -> int:
        return int(self.base.get_vocab_size(with_added_tokens=True))

    def start(self, run: Run, on_progress: OnProgress) -> None:
        """Give the new entries of every parameter that has one for each piece as `run` starts them."""
        self._put(run, on_progress)
        if distil_lines(run.settings.grow):
            distil(
                run, self.model, self.base, self.extended, first_new=self.first_new, on_progress=on_progress
            )

    @torch.no_grad()
    def _put(self, run: Run, on_progress: OnProgress) -> None:
        new = started_rows(run, self.model, self.base, self.added, on_progress)
        outputs = output_rows(run, self.model, self.base, self.added)
        values = {"embedding": new.rows, "output": new.rows if outputs is None else outputs}
        for name, parameter in architecture_of(self.model).vocabulary_parameters(self.model).items():
            parameter[self.first_new :] = values.get(name, new.bias).to(parameter)

    def loss(self) -> float | None:
        """None when there is no whole block of held-out text."""
        wanted, device = self.run.settings.pretrain, device_of_choice()
        loss = held_out_loss(
            self.model,
            self.corpora.held_out[self.run.language.code],
            length=wanted.length,
            special=self.corpora.special,
            rule=masking_rule(wanted),
            dtype=autocast_dtype(wanted.precision, device),
        )
        return None if math.isnan(loss) else loss

    def probe(self, steps: int) -> None:
        """Train the new rows alone, everything old frozen."""
        wanted, seed = self.run.settings.pretrain, self.run.settings.pretrain_seed
        stage = Stage(
            "probe",
            steps,
            wanted.new_rows_learning_rate,
            wanted.new_rows_warmup_steps,
            "new-rows",
            self.first_new,
        )
        trainer = StageTrainer(
            self.model,
            stage,
            seed=seed,
            weight_decay=wanted.weight_decay,
            clip=wanted.clip,
            dtype=autocast_dtype(wanted.precision, device_of_choice()),
        )
        shares = language_weights(self.corpora, wanted, replayed=())
        batch_at = batches(self.corpora, shares, wanted.model_copy(update={"nsp": False}), seed=seed)
        for step in range(steps):
            trainer.step(batch_at(step), step, step=step)
        trainer.objective.finish_()
        self.model.eval()


def _opened(run: Run, on_progress: OnProgress) -> _Bench:
    folder = resolve_base(run.settings.base, revision=run.settings.revision).directory
    model, base, added = load_pretraining_model(folder), load_tokenizer(folder), added_pieces(run)
    width = architecture_of(model).embedding(model).shape[1]
    known = base.get_vocab_size(with_added_tokens=True)
    grow_(model, torch.zeros(len(added), width), torch.zeros(len(added)), first_id=known)
    extended = load_tokenizer(run.vocabulary / "tokenizer")
    corpora = tokenise_corpora(run, {run.language.code: corpus_patterns(run)}, extended, on_progress)
    return _Bench(run, model.to(device_of_choice()), base, extended, added, corpora)
