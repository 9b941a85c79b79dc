"""How encoders are judged: what is read of them, what is trained, which weights are kept."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ner.features import FeatureSettings
from ner.train import TrainSettings

Mode = Literal["frozen", "finetune"]
Keep = Literal["best", "all", "none"]
Selection = Literal["source-dev", "target-dev oracle", "last", "averaged"]
SELECTIONS: tuple[Selection, ...] = ("source-dev", "target-dev oracle", "last", "averaged")


@dataclass(frozen=True)
class Method:
    """What is read of an encoder and what is trained.

    Args:
        features: what is read of the encoder for a word.
        mode: `frozen` trains a head on vectors; `finetune` the encoder with it, anew for every seed.
        encoder_dropout: run a frozen encoder as in training while heads are trained, encoding every batch
            anew in every epoch. Without it vectors are computed once.
        select: the weights that are tested, the scored ones first: those of the epoch that is best on the dev
            set of the training language, on that of the target (an oracle: left out where there is none),
            those of the last epoch, the mean over all epochs.
        paper: whether this is `released`; what differs all the same is then told in the results.
        keep: heads to save, the best of an encoder and training set (on dev), all or none. Of those trained
            with their encoder the best alone can be kept.
        changed: settings that were changed from the release, told with it.
    """

    features: FeatureSettings = field(default_factory=FeatureSettings)
    mode: Mode = "frozen"
    encoder_dropout: bool = False
    select: tuple[Selection, ...] = SELECTIONS
    paper: bool = False
    keep: Keep = "best"
    changed: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether training vectors are computed anew for every batch."""
        return self.mode == "finetune" or self.encoder_dropout


def released(seeds: int = 5) -> tuple[TrainSettings, Method]:
    """The configuration that EXTEND released (Wang et al. 2020; `base.jsonnet` for AllenNLP 0.9).

    A trained mix of all layers at the first piece of words that the WordPiece model alone has cut; tags in
    BIOUL; a BiLSTM of two layers of 200 a direction with dropout 0.5; a CRF without start and end scores,
    Xavier-normal, constrained in decoding only; the loss summed, Adam at 1e-3, gradients clipped at 5,
    batches of 32 that are not sorted, at most 75 epochs, patience 25, selected on the dev set of the training
    language; dropout of the frozen encoder on. The release names no seeds.
    """
    settings = TrainSettings(
        seeds=seeds,
        epochs=75,
        patience=25,
        batch_size=32,
        hidden_size=200,
        layers=2,
        dropout=0.5,
        learning_rate=1e-3,
        clip=5.0,
        head="bilstm-crf",
        scheme="BIOUL",
        constrain="decode",
        start_end=False,
        initial="xavier",
        pool=1,
    )
    features = FeatureSettings(layers="mix", pooling="first", wordpiece_only=True)
    return settings, Method(features, encoder_dropout=True, paper=True)


def differences_from_release(method: Method, wordpiece_only: Mapping[str, bool]) -> list[str]:
    """What of `released` still differs from a run of the release itself, for results.json.

    Args:
        wordpiece_only: by encoder, whether its words were cut by a WordPiece model alone.
    """
    told = [f"changed here: {setting}" for setting in method.changed]
    told += [
        "sentences longer than the encoder's window are read in windows of whole words that overlap by half; "
        "the release cuts windows of 512 pieces anywhere",
        "a word that gives no piece, or spells a special token, is read as unknown",
        "the release names no seeds and its random numbers are drawn in another order",
        "F1 counts spans after the tags are back in IOB2; decoding is constrained, so both counts are equal",
        "rows beside the score (last, averaged, oracle) are not in the release",
        "the language pairs are those given; the release was evaluated on LORELEI data, which is not public",
    ]
    others = sorted(name for name, alone in wordpiece_only.items() if not alone)
    if others:
        names = ", ".join(others)
        told.append(f"the tokenizer has no WordPiece model, its whole pipeline cuts the words: {names}")
    return told


def described(settings: TrainSettings, method: Method, first_seed: int) -> dict[str, Any]:
    """The `settings` entry of results.json: every choice that a number depends on."""
    features = method.features
    return {
        **asdict(settings),
        "first_seed": first_seed,
        "mode": method.mode,
        "encoder_dropout": method.encoder_dropout,
        "select": list(method.select),
        "paper": method.paper,
        "encoder_layers": features.layers,
        "pooling": features.pooling,
        "window": features.window,
        "wordpiece_only": features.wordpiece_only,
        "precision": features.precision,
    }
