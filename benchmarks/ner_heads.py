"""Heads on word vectors that are computed once, against encoding anew, one seed after the other.

    EXTEND_DATA=DIR python benchmarks/ner_heads.py               # five seeds, ten epochs, all sentences
    EXTEND_DATA=DIR python benchmarks/ner_heads.py --sentences 400 --epochs 2 --seeds 2
    python benchmarks/ner_heads.py --profile                     # the CRF in a training step

Both sides train the head of EXTEND's release (a mix of all layers, BIOUL, BiLSTM-CRF, batches of 32 that are
not sorted) with the encoder's dropout off, from the same weights, on the same batches, with the same dropout
of the head; the other side encodes each batch when its turn comes, uses pytorch-crf, and gives torch every
thread. Scores on dev after every epoch have to agree to 1e-6. The encoder is a run's model (`--encoder DIR`)
or one made on the spot: `--encoder small` (ModernBERT, 3 layers of 192), `--encoder base` (BERT, 12 of 768).
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchcrf import CRF
from transformers import AutoTokenizer, BertConfig, BertModel, ModernBertConfig, ModernBertModel

from extend.hub import load_encoder
from ner.crf import LinearChainCRF
from ner.data import read_data
from ner.evaluate import FeatureCache, FeatureSettings, TrainSettings, released
from ner.evaluate.encoder import Encoder
from ner.features import LiveFeatures, WordPieces
from ner.heads import train_heads
from ner.score import count_spans
from ner.tagger import Tagger, TaggerSettings, tags_inside, tags_outside
from ner.tags import TaggedSentence
from ner.train import training_batches
from ner.train.loop import _new_tagger

CPU = torch.device("cpu")
SHAPES = ((192, 17), (768, 64))
"""Size of a word vector and steps, as in en_ewt with the small base, and as in the papers' tables."""
Sentences = Sequence[TaggedSentence]
Epoch = tuple[float, float]


class PlainLoop:
    """What a plain script does: encode the batch, BiLSTM, pytorch-crf, step; then the dev set likewise."""

    def __init__(self, encoder: nn.Module, pieces: WordPieces, train: Sentences, dev: Sentences) -> None:
        settings = FeatureSettings(layers="mix", wordpiece_only=True)
        self.train, self.dev = train, dev
        self.features, self.dev_features = (
            LiveFeatures(encoder, pieces, [one.words for one in some], settings=settings)
            for some in (train, dev)
        )

    def run(self, tagger_settings: TaggerSettings, settings: TrainSettings, seed: int) -> list[Epoch]:
        """Mean loss a sentence and dev F1 of every epoch."""
        tagger = _new_tagger(tagger_settings, seed)
        tagger.draw_from(torch.Generator().manual_seed(seed))
        output = tagger.output
        if not isinstance(output, LinearChainCRF):
            raise TypeError("the released head ends in a CRF")
        crf = CRF(output.num_tags, batch_first=True)
        crf.load_state_dict(output.crf.state_dict())
        output.crf = crf
        for ends in (crf.start_transitions, crf.end_transitions):
            ends.requires_grad_(False)
        index = {name: position for position, name in enumerate(tagger.tag_names)}
        gold = [
            torch.tensor([index[tag] for tag in tags_inside(one.tags, tagger_settings.scheme)])
            for one in self.train
        ]
        optimizer = torch.optim.Adam(tagger.parameters(), lr=settings.learning_rate)
        order = torch.Generator().manual_seed(seed)
        found = []
        for _ in range(settings.epochs):
            tagger.train()
            total = 0.0
            for batch in training_batches(self.features, settings.batch_size, order, pool=settings.pool):
                vectors, lengths = self.features.batch(batch, CPU)
                tags = pad_sequence([gold[one] for one in batch], batch_first=True)
                emissions = tagger.emissions(vectors, lengths)
                loss = -crf(emissions, tags, _mask(lengths, emissions), reduction="sum")
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(tagger.parameters(), settings.clip)
                optimizer.step()
                total += loss.item()
            f1 = count_spans([one.tags for one in self.dev], self._tags(tagger)).total().f1
            found.append((total / len(self.train), f1))
        return found

    @torch.no_grad()
    def _tags(self, tagger: Tagger) -> list[tuple[str, ...]]:
        tagger.eval()
        output = tagger.output
        constrained = CRF(output.num_tags, batch_first=True)
        own = output.crf  # type: ignore[union-attr]
        constrained.transitions.copy_(own.transitions + output.penalty)
        constrained.start_transitions.copy_(own.start_transitions + output.start_penalty)
        constrained.end_transitions.copy_(own.end_transitions + output.end_penalty)
        result: list[tuple[str, ...]] = []
        for begin in range(0, len(self.dev), 32):
            batch = range(begin, min(begin + 32, len(self.dev)))
            vectors, lengths = self.dev_features.batch(batch, CPU)
            emissions = tagger.emissions(vectors, lengths)
            for row in constrained.decode(emissions, _mask(lengths, emissions)):
                names = (tagger.tag_names[tag] for tag in row)
                result.append(tags_outside(names, tagger.settings.scheme))
        return result


def _mask(lengths: Tensor, emissions: Tensor) -> Tensor:
    return torch.arange(emissions.shape[1]) < lengths[:, None]


def training(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both sides, alternating by seed on the plain one; times in seconds."""
    train, dev = (_sentences(arguments, split) for split in ("train", "dev"))
    directory = encoder_folder(arguments.encoder, folder, train)
    settings, method = released(arguments.seeds)
    settings = replace(settings, epochs=arguments.epochs, patience=arguments.epochs)
    settings = replace(settings, pool=arguments.pool)
    labels = sorted({tag[2:] for one in train for tag in one.tags if tag != "O"})

    begun = _now()
    cache = FeatureCache(folder / "cache")
    encoder = Encoder(directory, load_encoder, settings=method.features, device=CPU, cache=cache)
    labelled = encoder.labelled(train), encoder.labelled(dev)
    encoded = _since(begun)
    size, mixed = encoder.vector_size
    shape = settings.tagger(size, labels, mixed_layers=mixed)
    losses: dict[int, list[float]] = {}
    heads = train_heads(
        *labelled,
        tagger=shape,
        settings=settings,
        on_epoch=lambda seed, _, loss, __: losses.setdefault(seed, []).append(loss),
    )
    ours = _since(begun)

    plain = PlainLoop(encoder.model, encoder.pieces, train, dev)
    begun = _now()
    seeds = range(1, 1 + min(arguments.seeds, arguments.plain_seeds))
    expected = [plain.run(shape, settings, seed) for seed in seeds]
    theirs = {clock: taken * arguments.seeds / len(seeds) for clock, taken in _since(begun).items()}
    pairs = [
        (loss, other_loss, f1, other_f1)
        for seed, head, epochs in zip(seeds, heads, expected, strict=False)
        for loss, f1, (other_loss, other_f1) in zip(losses[seed], head.dev_f1, epochs, strict=True)
    ]
    return {
        "sentences": len(train),
        "words": sum(len(one.words) for one in train),
        "encoder": {"layers": mixed, "hidden": size},
        "seeds": arguments.seeds,
        "epochs": arguments.epochs,
        "seconds": {"encoding once": encoded, "ours": ours, "encoding anew": theirs},
        "plain_seeds_run": len(seeds),
        "times_faster": {clock: theirs[clock] / ours[clock] for clock in ours},
        "largest_difference_in_f1": max(abs(mine - other) for _, _, mine, other in pairs),
        "largest_relative_difference_in_loss": max(abs(mine / other - 1) for mine, other, _, _ in pairs),
        "f1": [head.dev_f1[-1] for head in heads],
    }


def _now() -> dict[str, float]:
    """Seconds on the clock, and of processor: what a machine shared with others would hide."""
    return {"wall": time.perf_counter(), "processor": time.process_time()}


def _since(begun: dict[str, float]) -> dict[str, float]:
    return {clock: now - begun[clock] for clock, now in _now().items()}


def encoder_folder(name: str, folder: Path, sentences: Sentences) -> Path:
    """A checkpoint folder: the one named, or one with random weights and a vocabulary of the words."""
    if name not in ("small", "base"):
        return Path(name)
    counts: dict[str, int] = {}
    for sentence in sentences:
        for word in sentence.words:
            counts[word] = counts.get(word, 0) + 1
    letters = sorted({letter for word in counts for letter in word})
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters)]
    pieces = list(dict.fromkeys([*pieces, *ranked[:20_000]]))
    target = folder / name
    target.mkdir()
    (target / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    (target / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    )
    torch.manual_seed(0)
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    if name == "small":
        model: nn.Module = ModernBertModel(
            ModernBertConfig(
                vocab_size=len(pieces),
                hidden_size=192,
                intermediate_size=576,
                num_hidden_layers=3,
                num_attention_heads=3,
                layer_types=["full_attention"] * 3,
                **special,
            )
        )
    else:
        model = BertModel(BertConfig(vocab_size=len(pieces)), add_pooling_layer=False)
    model.save_pretrained(target)  # type: ignore[operator]
    AutoTokenizer.from_pretrained(target)
    return target


def _sentences(arguments: argparse.Namespace, split: str) -> Sentences:
    data = Path(os.environ["EXTEND_DATA"]) / "ner" / "en_ewt" / f"{split}.iob2"
    found = read_data(data).sentences
    share = arguments.sentences if split == "train" else arguments.sentences // 6
    return found[:share] if arguments.sentences else found


def profile() -> dict[str, Any]:
    """Milliseconds of a training step of the released head on 32 sentences, and the CRF's part in it."""
    torch.set_num_threads(1)
    return {f"32 x {steps} x 17, vectors of {size}": _profiled(size, steps) for size, steps in SHAPES}


def _profiled(features: int, steps: int) -> dict[str, float]:
    settings, _ = released()
    tagger = Tagger(settings.tagger(features, ("EVENT", "LOC", "ORG", "PER")))
    lengths = torch.randint(max(1, steps - 20), steps + 1, (32,), generator=torch.Generator().manual_seed(1))
    lengths[0] = steps
    vectors = torch.randn(32, steps, features)
    gold = torch.randint(len(tagger.tag_names), (32, steps))
    emissions = tagger.emissions(vectors, lengths).detach().requires_grad_()
    plain = CRF(len(tagger.tag_names), batch_first=True)
    mask = _mask(lengths, emissions)
    works: dict[str, Callable[[], object]] = {
        "step": lambda: tagger.loss(vectors, gold, lengths).backward(),
        "crf": lambda: (-tagger.output.log_likelihood(emissions, gold, lengths).sum()).backward(),
        "pytorch-crf": lambda: (-plain(emissions, gold, mask)).backward(),
        "decode": lambda: tagger.output.decode(emissions, lengths),
        "pytorch-crf decode": lambda: plain.decode(emissions, mask),
    }
    times = {name: _best(work) for name, work in works.items()}
    return {**times, "crf_share_of_step": round(times["crf"] / times["step"], 4)}


def _best(work: Callable[[], object], times: int = 8) -> float:
    work()
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - begun))
    return round(min(found), 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sentences", type=int, default=0, help="of the training set; 0: all")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plain-seeds", type=int, default=5, help="run on the plain side, then scaled")
    parser.add_argument("--pool", type=int, default=1, help="batches sorted together; 1: none")
    parser.add_argument("--encoder", default="runs/si-base/model", help="a folder, small or base")
    parser.add_argument("--threads", type=int, default=0, help="of both sides; 0: as torch has them")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    if not Path(arguments.encoder).is_dir() and arguments.encoder not in ("small", "base"):
        arguments.encoder = "small"
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        result = profile() if arguments.profile else training(arguments, Path(folder))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
