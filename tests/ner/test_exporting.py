"""A linear tagger in transformers: the same tags from its own pipeline, or a plain no."""

import shutil
from pathlib import Path

import pytest
from transformers import pipeline

from extend.errors import UsageError
from extend.hub import load_encoder
from ner.features import FeatureSettings
from ner.saving import token_classifier
from ner.tagger import Head
from ner.tagging import text_passage
from ner.tags import spans_of
from tests.ner.taggers import LABELS, made_head, opened
from tests.ner.tiny import made_sentences, tiny_encoder


@pytest.mark.parametrize("architecture", ["bert-mlm", "roberta", "deberta-v2"])
def test_a_linear_head_becomes_a_token_classifier_with_the_same_tags(
    tmp_path: Path, architecture: str
) -> None:
    encoder = tiny_encoder(tmp_path / "encoder", architecture=architecture)
    head = made_head("linear")
    head.output.penalty.zero_()  # transformers decodes each word for itself
    head.output.start_penalty.zero_()
    head.output.end_penalty.zero_()
    tagger = opened(encoder, head)
    model = token_classifier(load_encoder(encoder), head, FeatureSettings())
    model.save_pretrained(tmp_path / "exported")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(encoder / name, tmp_path / "exported" / name)
    theirs = pipeline("token-classification", model=str(tmp_path / "exported"))
    texts = [" ".join(word for word, _ in rows) for rows in made_sentences(30, seed=5)]
    found = 0
    for tagged in tagger.tag(map(text_passage, texts)):
        firsts = {one["start"]: one["entity"] for one in theirs(tagged.passage.text, ignore_labels=[])}
        raw = [firsts[start] for start, _ in tagged.passage.bounds]
        assert spans_of(raw) == spans_of(tagged.tags)
        found += len(tagged.entities)
    assert found > 30
    assert type(model).__name__.endswith("ForTokenClassification")
    assert set(model.config.id2label.values()) == {"O", *(f"{m}-{label}" for label in LABELS for m in "BI")}


@pytest.mark.parametrize(
    ("head", "features", "architecture", "told"),
    [
        ("bilstm-crf", FeatureSettings(), "bert-mlm", "no bilstm-crf head"),
        ("linear", FeatureSettings(layers="mean"), "bert-mlm", "last layer"),
        ("linear", FeatureSettings(pooling="mean"), "bert-mlm", "first piece"),
        ("linear", FeatureSettings(), "modernbert", "ModernBertForTokenClassification"),
    ],
)
def test_what_transformers_cannot_hold_is_said(
    tmp_path: Path, head: Head, features: FeatureSettings, architecture: str, told: str
) -> None:
    encoder = tiny_encoder(tmp_path / "encoder", architecture=architecture)
    with pytest.raises(UsageError, match="cannot hold") as caught:
        token_classifier(load_encoder(encoder), made_head(head), features)
    assert told in caught.value.why
