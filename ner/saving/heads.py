"""What an evaluation keeps of the heads it trained."""

from collections.abc import Mapping
from pathlib import Path

from ner.features import FeatureSettings
from ner.saving.folder import WriteWeights, save_tagger
from ner.train import SOURCE_DEV, TrainedHead


def save_heads(
    directory: Path,
    heads: Mapping[int, TrainedHead],
    *,
    name: str,
    train: str,
    features: FeatureSettings,
    encoder: Path,
    every: bool = False,
    trained: WriteWeights | None = None,
) -> list[Path]:
    """Save the best head as `directory/NAME-TRAIN`, and with `every` all as `directory/NAME-TRAIN-seedN`.

    Heads have the weights of their best epoch on the dev set of the training language, and the best head is
    the one with the best F1 there (of equals the lowest seed): no test set has a say.

    Args:
        heads: by seed. name: of the encoder. train: the training language.
        features, encoder, trained: see `save_tagger`; without `trained` the encoder is referred to.

    Returns the folders.
    """
    best = min(heads, key=lambda seed: (-max(heads[seed].dev_f1), seed))
    wanted = {f"{name}-{train}": best}
    if every:
        wanted |= {f"{name}-{train}-seed{seed}": seed for seed in heads}
    for folder, seed in wanted.items():
        head = heads[seed]
        save_tagger(
            directory / folder,
            head.select(SOURCE_DEV),
            features=features,
            encoder=encoder,
            trained=trained,
            about={
                "encoder": name,
                "trained_on": train,
                "seed": seed,
                "epoch": head.best_epoch,
                "dev_f1": max(head.dev_f1),
            },
        )
    return [directory / folder for folder in wanted]
