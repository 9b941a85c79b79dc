"""What a card tells beside the report: sources and licences of data, seeds, the certificate. Files only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from extend.report.nouns import NerScore, NerStage
from extend.report.reading import Node, read_node
from extend.report.text import file_name

STREAMED = "hf:"
KNOWN_LICENSES = {"wikimedia/wikipedia": "CC BY-SA 3.0 and GFDL"}
"""Of datasets, as their own cards state them; what a run states comes first."""


@dataclass(frozen=True, slots=True)
class HubSource:
    """A dataset of a hub, `hf:DATASET[:CONFIG[:SPLIT]]`; CONFIG and SPLIT may be empty."""

    dataset: str
    config: str
    split: str


@dataclass(frozen=True, slots=True)
class DataSource:
    """What was read: `use` is `text` or `NER si test`, `source` a dataset's spec or the name of a file."""

    use: str
    source: str
    sha256: str
    license: str

    @property
    def hub(self) -> HubSource | None:
        return hub_source(self.source)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The assertions on the published folder by what became of them, and who read it again."""

    held: tuple[str, ...]
    failed: tuple[str, ...]
    open: tuple[str, ...]
    reader: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """`language` is the card's ISO 639 code: empty when there is none, None when no file says.

    `seeds` are those of the heads, by name of the NER stage; `license` is the checkpoint's, if stated.
    """

    language: str | None = None
    license: str = ""
    sources: tuple[DataSource, ...] = ()
    seeds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    certificate: Certificate | None = None

    def source_of(self, language: str, split: str = "test") -> HubSource | None:
        """The dataset that this NER set came from; None for a file or when nothing is recorded."""
        use = f"NER {language} {split}"
        return next((one.hub for one in self.sources if one.use == use), None)


def hub_source(source: str) -> HubSource | None:
    """A dataset of a hub, None for a file."""
    if not source.startswith(STREAMED):
        return None
    dataset, config, split, *_ = (*source.removeprefix(STREAMED).split(":"), "", "")
    return HubSource(dataset, config, split)


def gather_evidence(run: Path) -> Evidence:
    """Read `reproduce.json`, `certificate.json` and the seeds of `ner/NAME/results.json`, where there are."""
    record = read_node(run / "reproduce.json")
    return Evidence(
        language=record.text("card_language") if record.node("card_language") else None,
        license=record.node("licenses").text("model"),
        sources=tuple(dict.fromkeys(_sources(record))),
        seeds={path.parent.name: _seeds(read_node(path)) for path in sorted(run.glob("ner/*/results.json"))},
        certificate=_certificate(read_node(run / "certificate.json")),
    )


def _sources(record: Node) -> Iterator[DataSource]:
    licenses, corpus = record.node("licenses"), record.node("corpus")
    for source in corpus.texts("sources"):
        yield DataSource("text", _shown(source), "", licenses.text("corpus") or _known(source))
    for _, stage in record.node("ner").items():
        for language, splits in stage.node("data").items():
            for split, one in splits.items():
                source, use = one.text("source") or one.text("file"), f"NER {language} {split}"
                if source:
                    license = licenses.text("ner") or _known(source)
                    yield DataSource(use, _shown(source), one.text("sha256"), license)


def _known(source: str) -> str:
    found = hub_source(source)
    return KNOWN_LICENSES.get(found.dataset, "") if found else ""


def _shown(source: str) -> str:
    return source if hub_source(source) else file_name(source)


def _seeds(results: Node) -> tuple[int, ...]:
    """Those of the first cell that has any: heads of one protocol have the same seeds everywhere."""
    cells = (cell for _, languages in results.node("encoders").items() for _, cell in languages.items())
    found = (cell.numbers("seeds") for cell in cells)
    return tuple(round(seed) for seed in next((seeds for seeds in found if seeds), ()))


def _certificate(node: Node) -> Certificate | None:
    if not node:
        return None
    verdicts: dict[bool | None, dict[str, None]] = {True: {}, False: {}, None: {}}
    for entry in node.node("assertions").elements():
        holds = entry.node("holds").value
        verdicts[holds if isinstance(holds, bool) else None][entry.text("name")] = None
    return Certificate(
        held=tuple(verdicts[True]),
        failed=tuple(verdicts[False]),
        open=tuple(verdicts[None]),
        reader=node.node("versions").text("transformers"),
    )


def transfers(stage: NerStage) -> bool:
    """Whether heads were trained on another language than they are tested on."""
    return stage.protocol == "zero-shot" and bool(stage.source)


def baseline(stage: NerStage, score: NerScore) -> NerScore | None:
    """The base's score on the same sentences."""
    found = stage.score("base", score.language)
    return found if found and found.f1_mean is not None and score.encoder != "base" else None
