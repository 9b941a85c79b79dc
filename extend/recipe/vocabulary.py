"""Corpus to extended tokenizer: count, learn what the base lacks, append it, prove it."""

import itertools
import time
from typing import Any

from extend import store
from extend.certificate import certify_tokenizer
from extend.corpus import corpus_sha256, count_words
from extend.hub import resolve_base
from extend.recipe.corpora import corpus_patterns, held_out_split, text_files
from extend.recipe.run import OnProgress, Run, silent
from extend.tokenizer import (
    kind_of,
    load_tokenizer,
    save_tokenizer,
    special_ids,
    subwords,
    word_segmenter,
    word_splitter,
)
from extend.types import Progress, WordCounts
from extend.vocab import (
    SegmentWord,
    corpus_facts,
    drift,
    drift_words,
    extend_vocabulary,
    measure,
    unused_pieces,
    vocabulary_report,
)
from extend.wordpiece import Rules, learn_subwords

STAGE = "vocab"
EXAMPLES = 40
PROBED_LINES = 50


def vocabulary_settings(run: Run) -> dict[str, Any]:
    """What the extended tokenizer depends on."""
    settings = run.settings
    return {
        "lang": run.language.code,
        "base": settings.base,
        "revision": settings.revision,
        "corpus": corpus_patterns(run),
        "run_seed": settings.seed,
        **{f"vocab.{key}": value for key, value in settings.vocab.model_dump().items()},
    }


def learn_vocabulary(run: Run, on_progress: OnProgress = silent) -> dict[str, Any]:
    """Learn what the base lacks for the run's corpus and publish `vocab/`; done already, it says so again.

    Returns the content of vocab/report.json. Every folder is certified before it is published: the
    invariants of `extend.certificate`, among them a reload in a fresh process.
    """
    settings = vocabulary_settings(run)
    with run.held():
        if not run.finished(STAGE, settings):
            _learn(run, on_progress)
            run.record(STAGE, settings, {"vocab": run.vocabulary})
        report: dict[str, Any] = store.read_json(run.vocabulary / "report.json")
        return report


def _learn(run: Run, on_progress: OnProgress) -> None:
    started, wanted, files = time.monotonic(), run.settings.vocab, text_files(run, corpus_patterns(run))
    base_folder = resolve_base(run.settings.base, revision=run.settings.revision).directory
    base = load_tokenizer(base_folder)
    kind, special = kind_of(base), special_ids(base)
    on_progress(Progress(STAGE, 0, 4, "counting words"))
    counted, held_out = held_out_split(run, run.language.code, corpus_patterns(run))
    split = word_splitter(base)
    words = count_words((document.text for document in counted), split)
    on_progress(Progress(STAGE, 1, 4, f"learning {wanted.size} pieces from {len(words)} distinct words"))
    known = subwords(kind, kind.vocabulary(base), special=special.unmaskable)
    learned = learn_subwords(
        words,
        size=wanted.size,
        known=known,
        rules=Rules(min_count=wanted.min_count, max_length=wanted.max_piece_length),
    )
    extension = extend_vocabulary(kind.vocabulary(base), map(kind.spell, learned), limit=wanted.size)
    extended = kind.extended(base, extension)
    on_progress(Progress(STAGE, 2, 4, "measuring"))
    before, after = word_segmenter(base), word_segmenter(extended)
    unknown = kind.vocabulary(base).pieces[special.unk]
    unseen = count_words((document.text for document in held_out), split)
    report = vocabulary_report(
        extension,
        corpus=corpus_facts(
            lines=len(counted) + len(held_out),
            words=words,
            size_bytes=sum(path.stat().st_size for path in files),
            sha256=corpus_sha256(files),
        ),
        base=measure(unseen, before, unknown=unknown),
        extended=measure(unseen, after, unknown=unknown),
        drift=drift(drift_words(known), before, after, unknown=unknown),
        unused=unused_pieces(words, after, extension.added),
        seconds=time.monotonic() - started,
    )
    on_progress(Progress(STAGE, 3, 4, "writing and reloading"))
    run.save_settings()
    with store.publish_directory(run.vocabulary) as folder:
        target = store.make_directory(folder / "tokenizer")
        save_tokenizer(extended, target, base=base_folder)
        report["certificate"] = certify_tokenizer(
            target,
            extension,
            base=base,
            extended=extended,
            held_out=report["held_out"],
            drift=report["drift"],
            texts=[document.text for document in held_out[:PROBED_LINES]],
        )
        store.write_text(folder / "added.txt", "".join(f"{piece}\n" for piece in extension.added))
        store.write_json(folder / "examples.json", _examples(unseen, before, after))
        store.write_json(folder / "report.json", report)
    on_progress(Progress(STAGE, 4, 4, f"{len(extension.added)} new pieces"))


def _examples(words: WordCounts, before: SegmentWord, after: SegmentWord) -> list[dict[str, Any]]:
    """Held-out words whose spelling changed, the most frequent first."""
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
