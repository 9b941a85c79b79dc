"""The NER files of a run: as they are, or spooled once from the hub; and the text searched for leaks."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from extend import store
from extend.config import expand
from extend.corpus import find_files, read_corpus
from extend.errors import DataError, PathError, UsageError
from extend.hub import stream_tagged
from extend.languages import passport, resolve
from extend.recipe.corpora import STREAMED, corpus_patterns, is_spooled, read_policy
from extend.recipe.run import Run
from ner.files import NerFile, PretrainingText

WIKIANN = "hf:unimelb-nlp/wikiann"
SPLITS = {"train": "train", "dev": "validation", "test": "test"}
"""What the splits of a language are called in datasets."""
_BATCH = 1000


def ner_targets(run: Run) -> list[str]:
    """The languages to test on: `ner.targets`, by default the run's own."""
    return run.settings.ner.targets or [run.language.code]


def ner_sources(run: Run) -> dict[str, dict[str, str]]:
    """Files or datasets by language and split, as they were given.

    Where none is given at all, WikiANN (Pan et al. 2017; the splits of Rahimi et al. 2019) in the source
    language and in the targets. A dataset of which no split is named gives each split its own.
    """
    wanted = run.settings.ner
    if not wanted.data:
        languages = dict.fromkeys((wanted.source, *ner_targets(run)))
        return {
            language: {split: f"{WIKIANN}:{_wikiann(language)}:{name}" for split, name in SPLITS.items()}
            for language in languages
        }
    return {
        language: {
            split: _with_split(source, split)
            for split, source in files.model_dump(exclude_none=True, exclude={"format"}).items()
        }
        for language, files in wanted.data.items()
    }


def is_streamed(source: str) -> bool:
    """Whether this is a dataset of the hub and no file."""
    return source.startswith(STREAMED)


def ner_files(run: Run) -> dict[str, Mapping[str, NerFile]]:
    """What `ner_sources` names as files with their formats; datasets are spooled once into the run folder."""
    wanted = run.settings.ner
    text = pretraining_text(run)
    formats = {language: files.format or "" for language, files in wanted.data.items()}
    return {
        language: {
            split: NerFile(
                _spooled(run, source) if is_streamed(source) else Path(expand(source)),
                format="jsonl" if is_streamed(source) else formats.get(language, ""),
                label_map=wanted.map,
                text=text,
            )
            for split, source in splits.items()
        }
        for language, splits in ner_sources(run).items()
    }


def pretraining_text(run: Run) -> PretrainingText | None:
    """The run's own and replayed text, as far as its files are still there; None when they are not.

    Nothing is fetched again: of datasets, what was spooled when the run first read them is what there is.
    """
    patterns = [*corpus_patterns(run), *itertools.chain(*run.settings.pretrain.replay.values())]
    spooled = map(str, sorted((run.directory / "corpus").glob("*/text*")))
    try:
        local = [expand(pattern) for pattern in patterns if not is_spooled(pattern)]
        files = find_files([*local, *spooled])
    except (PathError, DataError, UsageError):
        return None

    def lines() -> Iterator[str]:
        return (document.text for document in read_corpus(files, run.language.code, policy=read_policy(run)))

    return PretrainingText(lines, identity=_identity(files, run))


def _identity(files: Sequence[Path], run: Run) -> str:
    """Of files as they are now: paths, sizes and times of change, not their bytes, and how they are read.

    Empty, which stands for no known text, when one of them is gone meanwhile.
    """
    try:
        facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    except OSError:
        return ""
    told = json.dumps([facts, run.settings.reading.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _wikiann(language: str) -> str:
    """WikiANN's own code of a language (`als` for `gsw`); the language's where it has none."""
    return next(iter(passport(resolve(language)).codes_of("wikiann")), language)


def _with_split(source: str, split: str) -> str:
    if not is_streamed(source) or source.count(":") > 2:
        return source
    return f"{source}{':' * (3 - source.count(':'))}{SPLITS[split]}"


def _spooled(run: Run, source: str) -> Path:
    """A split of a dataset as JSON lines in the run folder; what is there is not fetched again."""
    name = re.sub(r"[^\w.-]+", "_", source.removeprefix(STREAMED))
    folder = run.directory / "corpus" / f"ner-{name}"
    if not store.is_published(folder):
        with store.publish_directory(folder, manifest=True) as temporary:
            records = stream_tagged(source)
            for batch in iter(lambda: list(itertools.islice(records, _BATCH)), []):
                text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in batch)
                store.append_bytes(temporary / "sentences.jsonl", text.encode("utf-8", "replace"))
    return folder / "sentences.jsonl"
