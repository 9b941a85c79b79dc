"""The card's YAML metadata: languages, licence, base, datasets and results, as hubs take them."""

import re
from collections.abc import Iterator

from extend.report.card_evidence import Evidence, HubSource, baseline, transfers
from extend.report.nouns import NerScore, NerStage, RunReport
from extend.report.text import number, yaml_text

KNOWN_LICENSES = {
    "google-bert/bert-base-multilingual-cased": "apache-2.0",
    "FacebookAI/xlm-roberta-base": "mit",
    "FacebookAI/xlm-roberta-large": "mit",
}
"""As the cards of these models state them."""
UNKNOWN = "unknown"
TAGS = ("extend", "vocabulary-extension", "fill-mask", "low-resource")


def license_of(report: RunReport, evidence: Evidence, license: str = "") -> str:
    """The checkpoint's licence: `license`, what the run states, the base's where known, or `unknown`."""
    return license or evidence.license or KNOWN_LICENSES.get(report.provenance.hub_base, UNKNOWN)


def title(report: RunReport) -> str:
    """What the checkpoint is called in its own card: its base and its language."""
    return f"{report.provenance.shown_base or 'encoder'}-{report.language.code}".replace("/", "-")


def metadata(report: RunReport, evidence: Evidence, license: str) -> str:
    """The block between two lines of `---`, and an empty line after it."""
    code = report.language.code
    language = hub_language(code) if evidence.language is None else evidence.language
    tags = list(TAGS)
    lines = ["---", "language:", *([f"- {yaml_text(language)}"] if language else []), '- "multilingual"']
    if language != code:
        lines += ["language_bcp47:", f"- {yaml_text(code)}"]
    if not language:
        tags.append(code)  # a hub finds free tags, where it takes no code
    lines.append(f"license: {yaml_text(license)}")
    if base := report.provenance.hub_base:
        lines += [f"base_model: {yaml_text(base)}", 'base_model_relation: "finetune"']
    if datasets := [source.hub.dataset for source in evidence.sources if source.hub]:
        lines += ["datasets:", *(f"- {yaml_text(name)}" for name in dict.fromkeys(datasets))]
    lines += ['library_name: "transformers"', 'pipeline_tag: "fill-mask"', "tags:"]
    lines += [f"- {yaml_text(tag)}" for tag in tags]
    return "\n".join([*lines, *_model_index(report, evidence), "---", "", ""])


def hub_language(code: str) -> str:
    """The ISO 639 code of two or three letters that hubs take for a BCP 47 tag; empty when there is none.

    qaa to qtz, which ISO reserves for local use, stand for no language there.
    """
    language = re.split("[-_]", code)[0].lower()
    known = re.fullmatch("[a-z]{2,3}", language) and not re.fullmatch("q[a-t][a-z]", language)
    return language if known else ""


def _model_index(report: RunReport, evidence: Evidence) -> list[str]:
    results = [
        line
        for stage in report.ner
        for score in stage.scores
        if score.encoder == "extended" and score.f1_mean is not None
        for line in _indexed(stage, score, evidence.source_of(score.language))
    ]
    return ["model-index:", f"- name: {yaml_text(title(report))}", "  results:", *results] if results else []


def _indexed(stage: NerStage, score: NerScore, source: HubSource | None) -> Iterator[str]:
    heads = f" from {stage.source}" if transfers(stage) else ""
    yield "  - task:"
    yield '      type: "token-classification"'
    yield f"      name: {yaml_text(f'NER on the frozen encoder, {stage.protocol}{heads}')}"
    yield "    dataset:"
    yield f"      type: {yaml_text(source.dataset if source else f'ner-{score.language}')}"
    yield f"      name: {yaml_text(f'NER test set, {score.language}')}"
    if source and source.config:
        yield f"      config: {yaml_text(source.config)}"
    yield '      split: "test"'
    yield "    metrics:"
    yield '    - type: "f1"'
    yield f"      value: {score.f1_mean or 0.0:.2f}"
    yield f"      name: {yaml_text(told_score(stage, score))}"


def told_score(stage: NerStage, score: NerScore) -> str:
    """What a mean F1 is: over how many seeds, with which interval, and the base's beside it."""
    told = f"span F1 in percent, mean of {len(score.f1)} seeds"
    if score.interval:
        told += f", 95 % interval {number(score.interval[0])} to {number(score.interval[1])}"
    before = baseline(stage, score)
    return told + (f"; the base before extension: {number(before.f1_mean)}" if before else "")
