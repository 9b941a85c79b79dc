"""A linear head and its encoder as the token classifier that transformers has for this architecture."""

import torch
from torch import Tensor
from transformers import AutoModelForTokenClassification, PreTrainedModel

from extend.errors import UsageError
from ner.features import FeatureSettings
from ner.tagger import Tagger

_PROBES = 8


def token_classifier(encoder: PreTrainedModel, head: Tagger, features: FeatureSettings) -> PreTrainedModel:
    """The model of class `...ForTokenClassification` that scores every piece as the head scores a word.

    A word's tag is the best one at its first piece (`aggregation_strategy="first"`). transformers knows no
    tag that may not follow another, so an illegal sequence, which our decoding excludes, may come out of it.

    Raises UsageError E-TAGGER-EXPORT when transformers cannot hold the tagger: a BiLSTM or CRF, a mix of
    layers, the mean over pieces, or an architecture whose classifier is more than one linear layer.
    """
    _check_head(head, features)
    config = encoder.config.__class__.from_dict(encoder.config.to_dict())
    names = head.tag_names
    config.num_labels = len(names)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    with torch.random.fork_rng(devices=[]):
        try:
            model: PreTrainedModel = AutoModelForTokenClassification.from_config(config, dtype=torch.float32)
        except ValueError as error:
            why = f"it has no token classifier for {encoder.config.model_type}"
            raise _impossible(why) from error
    base = model.base_model_prefix
    own = [name for name in model.state_dict() if not name.startswith(f"{base}.")]
    linear = [name.removesuffix(".weight") for name in own if name.endswith(".weight")]
    if len(linear) != 1 or sorted(own) != sorted(f"{linear[0]}.{part}" for part in ("weight", "bias")):
        raise _impossible(f"{type(model).__name__} puts more than one linear layer on the encoder")
    weights = {f"{base}.{name}": value for name, value in encoder.state_dict().items()}
    weights |= {f"{linear[0]}.{part}": getattr(head.linear, part).detach() for part in ("weight", "bias")}
    expected = model.state_dict().keys()
    if expected - weights.keys():
        raise _impossible(f"{type(model).__name__} has weights that the encoder lacks")
    model.load_state_dict({name: weights[name] for name in expected})
    model = model.eval()
    _check_same_scores(model, encoder, head)
    return model


def _check_head(head: Tagger, features: FeatureSettings) -> None:
    if head.settings.head != "linear":
        raise _impossible(f"it has no {head.settings.head} head")
    if features.layers != "last" or features.pooling != "first":
        raise _impossible("it reads the last layer at the first piece of a word")


@torch.no_grad()
def _check_same_scores(model: PreTrainedModel, encoder: PreTrainedModel, head: Tagger) -> None:
    """What the class does beside (norms, activations) shows in the scores of some pieces."""
    ids = torch.arange(min(_PROBES, int(encoder.config.vocab_size)))[None]
    mask = torch.ones_like(ids)
    theirs: Tensor = model(input_ids=ids, attention_mask=mask).logits
    mine = head.linear(encoder(input_ids=ids, attention_mask=mask).last_hidden_state)
    if not torch.allclose(theirs, mine, atol=1e-4, rtol=1e-4):
        raise _impossible(f"{type(model).__name__} does more than one linear layer")


def _impossible(why: str) -> UsageError:
    return UsageError(
        "transformers cannot hold this tagger",
        name="E-TAGGER-EXPORT",
        why=why,
        next="keep its own folder, which extend ner-tag reads; --pack puts the encoder inside",
    )
