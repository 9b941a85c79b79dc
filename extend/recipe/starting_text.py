"""The words of a starting configuration: names of the language, where its data are, why a setting is so."""

from collections.abc import Mapping, Sequence

from extend.languages import CATALOGUES, Passport, published

WIDTH = 110
MASAKHANER = "$EXTEND_DATA/masakhane-ner"
_RELEASES = {"masakhaner-2": "MasakhaNER2.0/data", "masakhaner-1": "data"}
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_FREE_SETS = ("wikiann", *_RELEASES)

WHY: Mapping[str, str] = {
    "vocab.size": "new pieces at most; auto takes the knee of the curve",
    "grow.init": "how new rows start; extend grow --compare measures others",
    "pretrain.steps": "optimizer steps in all",
    "pretrain.new_rows_steps": "first steps that train the new rows alone, everything old frozen",
    "pretrain.batch_size": "samples a step",
    "pretrain.length": "tokens a sample",
    "pretrain.learning_rate": "small, because the old weights are to be kept",
    "pretrain.warmup_steps": "steps in which the rate rises",
    "pretrain.weight_decay": "of weights, not of biases and layer norms",
    "pretrain.clip": "largest gradient norm",
    "pretrain.mask_rate": "share of the tokens to predict",
    "pretrain.max_predictions": "tokens to predict in a sample at most",
    "pretrain.duplicates": "masks of a sample, in turn by epoch; 0: always new ones",
    "pretrain.whole_word": "all pieces of a word are masked together",
    "pretrain.nsp": "next-sentence prediction too; only where the base has a head for it",
    "pretrain.softmax": "over all pieces; active: over those that occur, faster",
    "pretrain.packing": "text to the brim; documents: whole documents, apart in attention",
    "pretrain.train": "what the steps after new_rows_steps train; embeddings, new-rows: less is forgotten",
    "pretrain.replay_share": "share of old languages' text, see [pretrain.replay]: against forgetting",
    "pretrain.save_every": "steps between checkpoints; what a kill costs at most",
    "pretrain.eval_every": "steps between held-out losses; 0: only at the end",
    "ner.labels": "entity types that every set below has",
    "ner.paper": "the released configuration of the paper; settings changed here win",
    "ner.seeds": "heads trained from as many seeds, for the interval",
    "ner.epochs": "at most; training stops when the selection set no longer gains",
    "ner.batch_size": "sentences a step",
}
"""Why a setting is there, by dotted key: the comments of the file."""


def comment(known: Passport, *, paper: bool) -> list[str]:
    """What the language is called and what to beware of, as comment lines; without lists that have it not."""
    facts = [(label, text) for label, text in known.facts() if text != "has none"]
    wide = max(len(label) for label, _ in facts)
    lines = [f"# {label:<{wide}}  {text}" for label, text in facts]
    if known.warnings:
        lines += ["#", *(line for one in known.warnings for line in wrapped(f"Beware: {one.text}."))]
    if paper:
        return lines
    return [*lines, "#", *wrapped("Every other setting, and where its value comes from: extend config FILE.")]


def paper_comment() -> list[str]:
    """What is of the paper in a preset, and what cannot be."""
    return wrapped(
        "Settings of pretraining: --preset paper (Wang, K, Mayhew and Roth 2020, arXiv 2004.13640). The "
        "paper's text and its NER data are LORELEI language packs, which the Linguistic Data Consortium "
        "licenses and which are not free: its numbers cannot be had from the data below, which are free to "
        "fetch. For a trial: --set pretrain.steps=2000."
    )


def corpus_comment(known: Passport, sources: Sequence[str], *, given: bool) -> list[str]:
    """Where the text is from, and its licence where we know it."""
    if given:
        return wrapped("Text as it was given. Say in the model card whose it is, and its licence.")
    if not known.codes_of("wikipedia"):
        return wrapped(
            f"No Wikipedia of {known.language.name} is known to us: name files, folders or hf: datasets here."
        )
    told = "Wikipedia as plain text (hf:wikimedia/wikipedia; licences: CC BY-SA 3.0 and GFDL)."
    if len(sources) > 1:
        told += f" {known.language.name} has none of its own: these are of the languages in it."
    return wrapped(told + " Add files, folders, globs or hf: datasets where there is more text.")


def data_of(known: Passport, *, source: str) -> list[list[str]]:
    """The `ner.data` tables: the source language's, and the language's own where a free set has it."""
    own = free_sets(known)
    if not own:
        return [_no_set(known)]
    note = wrapped(
        f"Heads are trained on {source} (zero-shot) and on {known.language.code} (supervised). WikiANN is "
        "silver: made from the links of Wikipedia, by no annotator (Pan et al. 2017), and for many languages "
        "a hundred sentences a split. Its Hub card names no licence."
    )
    blocks = [note]
    if source != known.language.code:
        blocks.append(_table(source, _streamed(source)))
    first, *others = own
    for name in others:
        blocks.append([*_set_note(known, name), *(f"# {line}" for line in _own_table(known, name))])
    blocks.insert(len(blocks) - len(others), [*_set_note(known, first), *_own_table(known, first)])
    return blocks


def free_sets(known: Passport) -> list[str]:
    """The free NER sets that have the language, the one to take first; of MasakhaNER the newest release."""
    there = [name for name in _FREE_SETS if known.codes_of(name)]
    older = set(there) & set(_RELEASES) if "masakhaner-2" in there else set()
    return [name for name in there if name not in older or name == "masakhaner-2"]


def wrapped(text: str) -> list[str]:
    """Comment lines of at most WIDTH characters."""
    lines, line = [], "#"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return [*lines, line]


def _no_set(known: Passport) -> list[str]:
    looked = ", ".join(published(name).title for name in CATALOGUES if name in (*_FREE_SETS, "uner"))
    code = known.language.code
    return wrapped(
        f"No free NER set of {known.language.name} is known to us ({looked} have none), so that the chain "
        f"ends without an evaluation. With files of your own, CoNLL columns or JSON lines, write "
        f"[ner.data.{code}] with train, dev and test, and [ner.data.en] for zero-shot, for example "
        'train = "hf:unimelb-nlp/wikiann:en".'
    )


def _set_note(known: Passport, name: str) -> list[str]:
    if name == "wikiann":
        return []
    title, codes = published(name).title, ", ".join(known.codes_of(name))
    return wrapped(
        f"{title} ({codes}), annotated by people: git clone https://github.com/masakhane-io/masakhane-ner "
        "in the folder that the variable EXTEND_DATA names. "
        + ("Its Hub card says AFL-3.0" if name == "masakhaner-2" else "Its Hub card names no licence")
        + "; look before any use beyond research. Its dates (DATE) are left out by ner.labels."
    )


def _own_table(known: Passport, name: str) -> list[str]:
    code = known.codes_of(name)[0]
    if name == "wikiann":
        return _table(known.language.code, _streamed(code))
    folder = f"{MASAKHANER}/{_RELEASES[name]}/{code}"
    return _table(known.language.code, {split: f"{folder}/{split}.txt" for split in _SPLITS})


def _streamed(code: str) -> dict[str, str]:
    return {split: f"hf:unimelb-nlp/wikiann:{code}:{name}" for split, name in _SPLITS.items()}


def _table(language: str, files: Mapping[str, str]) -> list[str]:
    return [f"[ner.data.{language}]", *(f'{split} = "{file}"' for split, file in files.items())]
