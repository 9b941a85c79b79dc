"""Taggers over the tiny encoder, with weights large enough that they find entities everywhere."""

from pathlib import Path

import torch

from extend.hub import load_encoder
from ner.features import FeatureSettings
from ner.saving import save_tagger
from ner.tagger import Head, Tagger, TaggerSettings, TagScheme
from ner.tagging import EntityTagger, entity_tagger

LABELS = ("LOC", "PER")


def made_head(
    head: Head = "bilstm-crf", *, scheme: TagScheme = "IOB2", mixed_layers: int = 0, seed: int = 0
) -> Tagger:
    """A seeded head on vectors of size 32, in eval mode."""
    settings = TaggerSettings(
        32, LABELS, mixed_layers=mixed_layers, head=head, scheme=scheme, hidden_size=8, layers=2
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tagger = Tagger(settings)
        for name, parameter in tagger.named_parameters():
            if name.startswith(("lstm", "linear.weight")):
                torch.nn.init.normal_(parameter)
        if tagger.mix is not None:
            torch.nn.init.normal_(tagger.mix.weights)
    return tagger.eval()


def made_tagger(
    directory: Path,
    encoder: Path,
    *,
    head: Tagger | None = None,
    inside: bool = True,
    features: FeatureSettings | None = None,
) -> Path:
    """The folder of a tagger over `encoder`."""
    save_tagger(
        directory,
        head or made_head(),
        features=features or FeatureSettings(),
        encoder=encoder,
        inside=inside,
        about={"trained_on": "ka", "seed": 1},
    )
    return directory


def opened(
    encoder: Path, head: Tagger | None = None, features: FeatureSettings | None = None
) -> EntityTagger:
    """A tagger over `encoder` ready to tag."""
    return entity_tagger(load_encoder(encoder), encoder, head or made_head(), features or FeatureSettings())
