"""Corpus to extended tokenizer: count, choose what the base lacks, append it, measure it, prove it."""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from extend import store
from extend.certificate import certify_tokenizer
from extend.corpus import CorpusCounts
from extend.errors import CheckpointError, DataError
from extend.hub import resolve_base
from extend.recipe.choosing import Chosen, choose_vocabulary
from extend.recipe.corpora import corpus_patterns, count_split, counts_folder, split_corpus
from extend.recipe.findings import duplicate_warnings, reading_warnings, vocabulary_warnings
from extend.recipe.run import OnProgress, Run, silent
from extend.recipe.vocabulary_inputs import VocabularyInputs, input_settings, read_inputs
from extend.report import ReviewSheet, TextRates, review_page, review_pieces
from extend.tokenizer import (
    AbstractTokenizerKind,
    kind_of,
    load_tokenizer,
    read_settings,
    save_tokenizer,
    special_ids,
    special_tokens,
    subwords,
    word_segmenter,
    word_splitter,
)
from extend.types import Progress, Subword, WordCounts
from extend.vocab import SegmentWord, drift, drift_words, lost_characters, measure, unused_pieces

STAGE = "vocab"
STEPS = 5
EXAMPLES = 40
NOT_OF_THE_RESULT = {"memory", "processes", "veto", "protect"}
"""Settings that change no byte of the tokenizer, or are known by their files' content instead."""


def vocabulary_settings(run: Run) -> dict[str, Any]:
    """What the extended tokenizer depends on."""
    settings = run.settings
    wanted = {
        key: value for key, value in settings.vocab.model_dump().items() if key not in NOT_OF_THE_RESULT
    }
    return {
        "lang": run.language.code,
        "base": settings.base,
        "revision": settings.revision,
        "corpus": corpus_patterns(run),
        "run_seed": settings.seed,
        **{f"reading.{key}": value for key, value in settings.reading.model_dump().items()},
        **{f"vocab.{key}": value for key, value in wanted.items()},
        **input_settings(run),
    }


def learn_vocabulary(run: Run, on_progress: OnProgress = silent, *, again: bool = False) -> dict[str, Any]:
    """Learn what the base lacks for the run's corpus and publish `vocab/`; done already, it says so again.

    With `again`, a vocabulary that was learned with other settings is replaced, as long as nothing was made
    with it. Returns the content of vocab/report.json. Every folder is certified before it is published:
    the invariants of `extend.certificate`, among them a reload in a fresh process. Counting that was
    killed goes on where it stopped.
    """
    settings = vocabulary_settings(run)
    with run.held():
        if again:
            _refuse_what_was_built(run)
        if again or not run.finished(STAGE, settings):
            _learn(run, on_progress)
            run.record(STAGE, settings, {"vocab": run.vocabulary})
            store.remove_directories([counts_folder(run, run.language.code)])
        report: dict[str, Any] = store.read_json(run.vocabulary / "report.json")
        return report


def _refuse_what_was_built(run: Run) -> None:
    later = [stage for stage in run.stages() if stage != STAGE]
    if later:
        raise CheckpointError(
            f"the vocabulary of {run.directory} is in use: {', '.join(later)} was made with it",
            name="E-RUN-MISMATCH",
            done="nothing was changed",
            next="give another --run DIR",
        )


def _learn(run: Run, on_progress: OnProgress) -> None:
    started, wanted = time.monotonic(), run.settings.vocab
    base_folder = resolve_base(run.settings.base, revision=run.settings.revision).directory
    base = load_tokenizer(base_folder)
    on_progress(Progress(STAGE, 0, STEPS, "sampling the held-out lines"))
    inputs, corpus = read_inputs(run, base), split_corpus(run, run.language.code, corpus_patterns(run))
    on_progress(Progress(STAGE, 1, STEPS, "counting words"))
    counts = count_split(run, corpus, word_splitter(base), on_progress)
    on_progress(Progress(STAGE, 2, STEPS, f"choosing pieces for {counts.distinct_words:,} distinct words"))
    chosen = choose_vocabulary(
        base, counts.words, counts.held_out, inputs=inputs, wanted=wanted, base_folder=base_folder
    )
    on_progress(Progress(STAGE, 3, STEPS, "measuring"))
    measured = _Measured(run, base, chosen, counts, inputs)
    report = measured.report()
    report["warnings"] = [*duplicate_warnings(corpus.duplicates), *report["warnings"]]
    _refuse_unknown(report["held_out"]["extended"]["unk_rate"], wanted.max_unk)
    report["seconds"] = round(time.monotonic() - started, 3)
    on_progress(Progress(STAGE, 4, STEPS, "writing and reloading"))
    run.save_settings()
    with store.publish_directory(run.vocabulary) as folder:
        target = store.make_directory(folder / "tokenizer")
        save_tokenizer(chosen.tokenizer, target, base=base_folder)
        report["certificate"] = certify_tokenizer(
            target,
            chosen.extension,
            base=base,
            extended=chosen.tokenizer,
            held_out=report["held_out"],
            drift=report["drift"],
            texts=counts.probes,
            special=special_tokens(base, read_settings(base_folder)),
        )
        store.write_text(folder / "added.txt", "".join(f"{piece}\n" for piece in chosen.extension.added))
        store.write_json(folder / "examples.json", measured.examples())
        store.write_text(folder / "review.html", review_page(measured.sheet(report)))
        store.write_json(folder / "report.json", report)
    on_progress(Progress(STAGE, STEPS, STEPS, f"{len(chosen.extension.added):,} new pieces"))


def _refuse_unknown(share: float, most: float) -> None:
    if share > most:
        raise DataError(
            f"{share:.1%} of the held-out words would stay unknown, {most:.1%} are allowed",
            name="E-UNK",
            why="characters too rare for a piece, or words the tokenizer never spells, are unknown",
            done="nothing was published",
            next="look at the corpus, lower vocab.min_count, or raise vocab.max_unk",
        )


@dataclass(frozen=True)
class _Measured:
    """What the extension does to held-out words, to the base's own words, and to protected text."""

    run: Run
    base: Tokenizer
    chosen: Chosen
    counts: CorpusCounts
    inputs: VocabularyInputs

    @property
    def before(self) -> SegmentWord:
        return word_segmenter(self.base)

    @property
    def after(self) -> SegmentWord:
        return word_segmenter(self.chosen.tokenizer)

    @property
    def unknown(self) -> str:
        return kind_of(self.base).unknown(self.base)

    def report(self) -> dict[str, Any]:
        """vocab/report.json, but for the time and the certificate."""
        counts, extension = self.counts, self.chosen.extension
        kind, before, after = kind_of(self.base), self.before, self.after
        known = subwords(kind, extension.base, special=special_ids(self.base).unmaskable)
        own_words = {kind.marked(word): 1 for word in drift_words(known)}
        facts = dict(self.chosen.facts)
        facts["size"] = {**facts["size"], "chosen": len(extension.added)}
        left_out = facts.pop("left_out", None)
        report: dict[str, Any] = {
            "added": len(extension.added),
            "base_size": len(extension.base),
            "corpus": counts.facts(),
            "held_out": {
                "base": measure(counts.held_out, before, unknown=self.unknown),
                "extended": measure(counts.held_out, after, unknown=self.unknown),
            },
            "drift": drift(own_words, before, after, unknown=self.unknown),
            "unused": len(unused_pieces(counts.words, after, extension.added)),
            "vetoed": len(self.inputs.vetoed),
            **facts,
        }
        if self.inputs.protected:
            report["protected"] = self._protected(left_out)
        total, lost = lost_characters(counts.probes, _normalizer(self.base))
        report["lost_characters"] = {"share": lost.total() / max(total, 1), "most": dict(lost.most_common(5))}
        report["warnings"] = [
            *reading_warnings(counts.accounts),
            *vocabulary_warnings(report, asked=self.run.settings.vocab.size),
        ]
        return report

    def _protected(self, left_out: int | None) -> dict[str, Any]:
        files = [
            {
                "name": name,
                "words": (changes := drift(words, self.before, self.after, unknown=self.unknown))["sample"],
                "words_changed": changes["words_changed"],
                "words_newly_unk": changes["words_newly_unk"],
            }
            for name, words in self.inputs.protected.items()
        ]
        bound = {"files": files, "max_drift": self.run.settings.vocab.max_drift}
        return bound if left_out is None else {**bound, "left_out": left_out}

    def examples(self) -> list[dict[str, Any]]:
        """Held-out words whose spelling changed, the most frequent first."""
        return _examples(self.counts.held_out, self.before, self.after)

    def sheet(self, report: Mapping[str, Any]) -> ReviewSheet:
        """What a speaker of the language is shown."""
        kind, language, base = kind_of(self.base), self.run.language, self.run.settings.base
        added = _as_subwords(kind, self.chosen.extension.added)
        return ReviewSheet(
            language=language.code,
            name=language.name,
            autonym=language.autonym,
            base=base if not Path(base).exists() else Path(base).resolve().name,
            right_to_left=language.right_to_left,
            pieces=review_pieces(self.counts.words, added, before=self.before, after=self.after),
            added=len(added),
            before=TextRates(**report["held_out"]["base"]),
            after=TextRates(**report["held_out"]["extended"]),
            unknown=self.unknown,
            vetoed=self.inputs.vetoed,
        )


def _as_subwords(kind: AbstractTokenizerKind, pieces: Sequence[str]) -> dict[str, Subword]:
    """What a speaker can judge: pieces of bytes that are no whole characters are left out."""
    found: dict[str, Subword] = {}
    for piece in pieces:
        try:
            found[piece] = kind.parse(piece)
        except ValueError:
            continue
    return found


def _normalizer(tokenizer: Tokenizer) -> Any:
    normalizer = tokenizer.normalizer
    return normalizer.normalize_str if normalizer else lambda text: text


def _examples(words: WordCounts, before: SegmentWord, after: SegmentWord) -> list[dict[str, Any]]:
    frequent = sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))
    changed = (
        {"word": word, "count": count, "before": list(before(word)), "after": list(after(word))}
        for word, count in frequent
        if list(before(word)) != list(after(word))
    )
    return list(itertools.islice(changed, EXAMPLES))


def added_pieces(run: Run) -> tuple[str, ...]:
    """The new pieces in id order, from vocab/added.txt."""
    text = (run.vocabulary / "added.txt").read_text(encoding="utf-8")
    return tuple(text.split("\n")[:-1])
