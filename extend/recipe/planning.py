"""`extend plan`: what to know of a language, its text and a base before an hour of training is spent."""

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langcodes import Language as Tag
from tokenizers import Tokenizer

from extend import store
from extend.config import expand
from extend.corpus import Account, TextBatch, find_files, read_batches
from extend.errors import PathError, UsageError
from extend.hub import resolve_base, stream_dataset
from extend.languages import Passport, passport, seen
from extend.recipe.choosing import choose_vocabulary
from extend.recipe.corpora import STANDARD_INPUT, STREAMED, corpus_patterns, read_policy
from extend.recipe.findings import duplicate_warnings, reading_warnings
from extend.recipe.planning_costs import Costs, base_shape
from extend.recipe.planning_devices import known_gpu, told_costs
from extend.recipe.planning_measures import (
    Sentences,
    lacking_characters,
    split_sample,
    told_lint,
    told_sentences,
)
from extend.recipe.run import OnProgress, Run, silent
from extend.recipe.vocabulary_inputs import VocabularyInputs
from extend.survey import (
    Evidence,
    Identified,
    LineSample,
    draw_lines,
    duplicates,
    identify_lines,
    judge,
    line_lengths,
    script_shares,
)
from extend.tokenizer import kind_of, load_tokenizer, word_segmenter, word_splitter
from extend.types import Checkpoint, Progress, WordCounts
from extend.vocab import measure
from ner.evaluate.words import words_of

SAMPLE_BYTES = STREAM_BYTES = 20 * 10**6
STAGE, STEPS = "plan", 6
TOLD_EVERY = 100_000


@dataclass(frozen=True)
class Wanted:
    """What a plan is asked for beside the run's own settings.

    `sample_bytes` of distinct lines are looked at closely (None: all). `devices` are GPUs to reckon with,
    `probe` says whether this machine's speed is measured.
    """

    sample_bytes: int | None = SAMPLE_BYTES
    devices: tuple[str, ...] = ()
    probe: bool = True


def plan(
    run: Run,
    wanted: Wanted,
    *,
    ner: Mapping[str, Sentences] | None = None,
    out: Path | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Look at the run's corpus and base and say what extending would take and give. The run folder stays as
    it is; the result is written to `out` where one is given.

    `ner` are tagged sets by name, as sentences of words. Returns language, base, corpus, lint, identified,
    held_out, lacking, ner, costs, verdict, warnings and seconds (docs/plan.md). Raises what the readers, the
    tokenizer and the base's configuration raise, UsageError E-DEVICE, and PathError for a folder as `out`.
    """
    started, devices = time.monotonic(), [known_gpu(name) for name in wanted.devices]
    _check_out(out)
    base = resolve_base(run.settings.base, revision=run.settings.revision, weights=False)
    tokenizer, shape = load_tokenizer(base.directory), base_shape(base.directory)
    on_progress(Progress(STAGE, 0, STEPS, "reading the corpus"))
    text = _read(run, wanted, on_progress)
    on_progress(Progress(STAGE, 1, STEPS, "looking at lines and characters"))
    known = passport(run.language)
    identified = _identified(text.sample, known)
    lint = told_lint(text.words, tokenizer)
    on_progress(Progress(STAGE, 2, STEPS, "measuring the base"))
    measured = _Measured(run, tokenizer, base, text.sample)
    rates = measured.rates(on_progress)
    on_progress(Progress(STAGE, 4, STEPS, "reckoning costs"))
    rows = rates["added"] if text.whole else max(rates["added"], _asked(run))
    result = {
        "language": known.as_json(),
        "base": {
            "name": base.name,
            "revision": base.revision,
            "tokenizer": kind_of(tokenizer).name,
            "pieces": tokenizer.get_vocab_size(with_added_tokens=True),
            "seen": seen(base.name, run.language),
        },
        "corpus": text.told(run.settings.seed),
        "lint": lint,
        "identified": {**asdict(identified), "few": identified.few},
        **rates,
        "ner": {name: told_sentences(sentences, tokenizer) for name, sentences in (ner or {}).items()},
        "costs": told_costs(Costs(shape, rows, run.settings.pretrain), devices, probe=wanted.probe),
    }
    result["verdict"] = asdict(judge(evidence_of(result, identified)))
    result["warnings"] = [*duplicate_warnings(text.repeated), *reading_warnings(text.accounts)]
    result["warnings"] += [asdict(warning) for warning in known.warnings]
    result["seconds"] = round(time.monotonic() - started, 3)
    if out is not None:
        store.write_json(out, result)
    on_progress(Progress(STAGE, STEPS, STEPS, result["verdict"]["text"]))
    return result


def tagged_words(paths: Iterable[Path]) -> dict[str, Sentences]:
    """The words of every sentence by file of tags, read as `extend ner-eval` reads and refuses them."""
    return {str(path): words_of(path) for path in paths}


def check_plan(run: Run, wanted: Wanted, out: Path | None) -> dict[str, Any]:
    """What a plan would read, when all of it is there; reads no text and writes nothing."""
    _check_out(out)
    base = resolve_base(run.settings.base, revision=run.settings.revision, weights=False)
    tokenizer = load_tokenizer(base.directory)
    base_shape(base.directory)
    streams, files, _ = _sources(run)
    return {
        "stage": STAGE,
        "language": run.language.code,
        "base": {"name": base.name, "revision": base.revision},
        "tokenizer": kind_of(tokenizer).name,
        "corpus": {**dict.fromkeys(streams), **{str(path): path.stat().st_size for path in files}},
        "devices": [known_gpu(name) for name in wanted.devices],
        "out": None if out is None else str(out),
    }


def _check_out(out: Path | None) -> None:
    if out is not None and out.is_dir():
        raise PathError(
            f"{out} is a folder", name="E-PATH", done="nothing was written", next="name a file after --out"
        )


def evidence_of(result: Mapping[str, Any], identified: Identified) -> Evidence:
    """What the verdict rests on, from the parts of a plan."""
    corpus, lettered = result["corpus"], result["held_out"]["lettered"]
    return Evidence(
        words=corpus["words"],
        near_share=corpus["duplicates"]["near_share"],
        other_share=None if identified.few else identified.other,
        unk_rate=lettered["base"]["unk_rate"],
        fertility=lettered["base"]["fertility"],
        extended_unk_rate=lettered["extended"]["unk_rate"],
        extended_fertility=lettered["extended"]["fertility"],
        seen=result["base"]["seen"],
    )


@dataclass(frozen=True)
class _Text:
    """The sampled lines and their words (what blanks divide), and what reading them met."""

    sample: LineSample
    words: Mapping[str, int]
    sources: Mapping[str, int | None]
    accounts: Sequence[Account]
    repeated: Sequence[Path]
    cut: Sequence[str]

    @property
    def whole(self) -> bool:
        """Whether all of the corpus was read and looked at."""
        return self.sample.whole and not self.cut

    def told(self, seed: int) -> dict[str, Any]:
        """The part `corpus` of the result; words of a corpus that was drawn from are reckoned by bytes."""
        sample = self.sample
        words, lines, drawn = sum(self.words.values()), sample.drawn_lines, sample.drawn_bytes
        return {
            "sources": dict(self.sources),
            "cut": list(self.cut),
            "lines": sample.lines,
            "bytes": sample.bytes,
            "words": words if sample.whole else round(words * sample.bytes / max(drawn, 1)),
            "sample": {
                "whole": sample.whole,
                "lines": lines,
                "bytes": drawn,
                "words": words,
                "distinct_words": len(self.words),
                "seed": seed,
            },
            "duplicates": asdict(duplicates(sample)),
            "line_words": asdict(line_lengths(sample)),
            "scripts": script_shares(self.words),
        }


def _read(run: Run, wanted: Wanted, on_progress: OnProgress) -> _Text:
    streams, files, repeated = _sources(run)
    accounts, cut = list[Account](), list[str]()
    batches = itertools.chain(
        *(_streamed(run, pattern, cut) for pattern in streams),
        read_batches(files, accounts=accounts, policy=read_policy(run)) if files else (),
    )
    told = _told(batches, on_progress)
    sample = draw_lines(told, most_bytes=wanted.sample_bytes, seed=run.settings.seed)
    words: Counter[str] = Counter()
    for line, count in sample.counts.items():
        for word in line.split():
            words[word] += count
    sources = {**dict.fromkeys(streams), **{str(path): path.stat().st_size for path in files}}
    return _Text(sample, words, sources, accounts, repeated, cut)


def _told(batches: Iterable[TextBatch], on_progress: OnProgress) -> Iterator[TextBatch]:
    """The same batches; how many lines there were is told now and then."""
    lines = next_told = 0
    for batch in batches:
        yield batch
        lines += len(batch.texts)
        if lines >= next_told:
            next_told = lines + TOLD_EVERY
            on_progress(Progress(STAGE, 0, STEPS, f"reading the corpus: {lines:,} lines"))


def _sources(run: Run) -> tuple[list[str], list[Path], list[Path]]:
    """Datasets to stream, files to read, further paths to those. Raises as `find_files` does, UsageError."""
    patterns, repeated = corpus_patterns(run), list[Path]()
    if STANDARD_INPUT in patterns:
        raise UsageError(
            "a plan does not read standard input, which could be read only once",
            name="E-CORPUS",
            next="give the text as a file with --corpus",
        )
    streams = [pattern for pattern in patterns if pattern.startswith(STREAMED)]
    local = [expand(pattern) for pattern in patterns if pattern not in streams]
    return streams, find_files(local, duplicates=repeated) if local else [], repeated


def _streamed(run: Run, pattern: str, cut: list[str]) -> Iterator[TextBatch]:
    """The first STREAM_BYTES of a dataset, line by line; `cut` is told when there was more."""
    room = STREAM_BYTES
    for document in stream_dataset(pattern, language=run.language.code):
        lines = [line for line in document.text.split("\n") if line and not line.isspace()]
        yield TextBatch(lines, [True] * len(lines))
        room -= len(document.text.encode("utf-8"))
        if room < 0:
            cut.append(pattern)
            return


def _identified(sample: LineSample, known: Passport) -> Identified:
    own = known.language.bcp47.split("-")[0]
    codes = (
        own,
        known.iso639_3,
        known.macrolanguage or "",
        Tag.get(own).prefer_macrolanguage().language or "",
    )
    return identify_lines(sample, tuple(dict.fromkeys(filter(None, codes))), known.scripts)


@dataclass(frozen=True)
class _Measured:
    """What the base makes of held-out lines as it is, and with the pieces the learner finds in the others."""

    run: Run
    tokenizer: Tokenizer
    base: Checkpoint
    sample: LineSample

    def rates(self, on_progress: OnProgress) -> dict[str, Any]:
        wanted, tokenizer = self.run.settings.vocab, self.tokenizer
        parts = split_sample(
            self.sample,
            word_splitter(tokenizer),
            share=wanted.held_out_share,
            least=wanted.held_out_lines,
            seed=self.run.settings.seed,
        )
        on_progress(Progress(STAGE, 3, STEPS, f"learning pieces from {len(parts.words):,} distinct words"))
        chosen = choose_vocabulary(
            tokenizer,
            parts.words,
            parts.held_out,
            inputs=VocabularyInputs(),
            wanted=wanted,
            base_folder=self.base.directory,
        )
        unknown = kind_of(tokenizer).unknown(tokenizer)
        encoders = {"base": word_segmenter(tokenizer), "extended": word_segmenter(chosen.tokenizer)}
        lettered = {word: count for word, count in parts.held_out.items() if any(map(str.isalpha, word))}

        def rates_of(words: WordCounts) -> dict[str, dict[str, float]]:
            return {name: measure(words, cut, unknown=unknown) for name, cut in encoders.items()}

        sizes = {"sizes": chosen.facts["sizes"]} if "sizes" in chosen.facts else {}
        return {
            "held_out": {
                **rates_of(parts.held_out),
                "lettered": {**rates_of(lettered), "words": sum(lettered.values())},
                "lines": parts.held_out_lines,
                "words": sum(parts.held_out.values()),
            },
            "added": len(chosen.extension.added),
            "size": {**chosen.facts["size"], "chosen": len(chosen.extension.added)},
            **sizes,
            "lacking": lacking_characters(tokenizer, Counter(parts.words) + Counter(parts.held_out)),
        }


def _asked(run: Run) -> int:
    size = run.settings.vocab.size
    return size if isinstance(size, int) else 0
