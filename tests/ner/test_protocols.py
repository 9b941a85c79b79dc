"""Few-shot, fine-tuned, oracle and released settings, from files to files on a tiny encoder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from extend.errors import DivergedError, OutOfMemoryError, UsageError
from extend.hub import load_encoder
from extend.types import Progress
from ner.evaluate import FeatureCache, FeatureSettings, Method, TrainSettings, check, evaluate, released
from ner.evaluate.bench import Bench
from ner.evaluate.encoder import Encoder
from ner.evaluate.meter import Meter
from ner.evaluate.shots import draw
from ner.features import WordPieces, word_features
from ner.results import scored
from ner.saving import load_tagger
from ner.score import count_spans
from ner.sets import Experiment, LanguageSets, read_sets
from ner.tagger import Tagger
from ner.tags import TaggedSentence
from ner.train import predict
from tests.ner.test_evaluate import Data, data, encoders, without_time  # noqa: F401 - fixtures

SETTINGS = TrainSettings(
    seeds=2, epochs=6, patience=6, hidden_size=12, layers=1, dropout=0.1, learning_rate=2e-2
)

Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture
def evaluated(encoders: dict[str, Path], data: Data, tmp_path: Path) -> Evaluate:  # noqa: F811
    def call(**changes: Any) -> dict[str, Any]:
        asked = {"source": "aa", "targets": ["bb"], "zero_shot": True, "supervised": False}
        common = {"settings": SETTINGS, "out": tmp_path / "ner"}
        own = changes.pop("encoders", {"extended": encoders["extended"]})
        (result,) = evaluate(own, data, **{**asked, **common, **changes}).values()
        return result

    return call


def test_few_sentences_of_the_target_help(evaluated: Evaluate) -> None:
    none = evaluated()["encoders"]["extended"]["bb"]
    result = evaluated(zero_shot=False, few_shot=[40])
    assert result["protocol"] == "few-shot-40"
    assert result["source"] == "aa"
    assert result["few_shot"]["sentences"] == 40
    found = result["encoders"]["extended"]["bb"]
    assert found["trained_on"] == "aa-and-40-bb"
    assert found["f1_mean"] > none["f1_mean"] + 30
    mixture = result["data"]["aa-and-40-bb"]["train"]
    assert mixture["sentences"] == 200 + 40 * 5


def test_shots_are_drawn_by_text_and_seed() -> None:
    sentences = [TaggedSentence((f"w{number % 30}",), ("O",)) for number in range(60)]
    drawn = draw(sentences, 10, seed=1)
    assert len({one.words for one in drawn}) == 10
    assert draw(sentences[::-1], 10, seed=1) == drawn
    assert draw(sentences, 10, seed=2) != drawn
    assert draw(sentences, 20, seed=1)[:10] == drawn


def test_more_shots_than_there_are_sentences_are_refused(evaluated: Evaluate) -> None:
    with pytest.raises(UsageError, match="few-shot asks for 5000 sentences of bb"):
        evaluated(zero_shot=False, few_shot=[5000])
    with pytest.raises(UsageError, match="a target beside the source"):
        evaluated(zero_shot=False, few_shot=[5], targets=["aa"])


def test_the_encoder_is_trained_when_it_is_to_be(
    evaluated: Evaluate,
    encoders: dict[str, Path],  # noqa: F811
) -> None:
    before = (encoders["extended"] / "model.safetensors").read_bytes()
    quick = replace(SETTINGS, seeds=2, epochs=8, head="linear", encoder_learning_rate=5e-3)
    state = torch.random.get_rng_state()
    tuned = evaluated(settings=quick, method=Method(mode="finetune"), targets=["aa"])
    assert torch.random.get_rng_state().equal(state)
    frozen = evaluated(settings=quick, targets=["aa"])
    cells = [one["encoders"]["extended"]["aa"] for one in (tuned, frozen)]
    assert cells[0]["f1_mean"] > 60
    assert cells[0]["f1"] != cells[1]["f1"]
    assert len(cells[0]["f1"]) == 2
    again = evaluated(settings=quick, method=Method(mode="finetune"), targets=["aa"])
    assert without_time(again) == without_time(tuned)
    assert (encoders["extended"] / "model.safetensors").read_bytes() == before


def test_the_released_configuration(evaluated: Evaluate) -> None:
    settings, method = released(seeds=1)
    assert (settings.epochs, settings.patience, settings.clip, settings.pool) == (75, 25, 5.0, 1)
    assert (settings.scheme, settings.constrain, settings.start_end) == ("BIOUL", "decode", False)
    assert method.features == FeatureSettings(layers="mix", pooling="first", wordpiece_only=True)
    small = replace(settings, epochs=3, hidden_size=12, layers=1, learning_rate=2e-2)
    result = evaluated(settings=small, method=method, targets=["aa"])
    assert result["encoders"]["extended"]["aa"]["f1_mean"] > 60
    assert result["encoders"]["extended"]["aa"]["illegal"] == 0
    assert result["settings"]["paper"]
    assert any("windows" in told for told in result["differences_from_release"])
    again = evaluated(settings=small, method=method, targets=["aa"])
    assert without_time(again) == without_time(result)
    still = evaluated(settings=small, method=replace(method, encoder_dropout=False), targets=["aa"])
    assert still["encoders"]["extended"]["aa"]["f1"] is not None
    assert "wordpiece_only" in still["settings"]


def test_other_weights_are_told_beside_the_score(evaluated: Evaluate) -> None:
    found = evaluated(targets=["aa"])["encoders"]["extended"]["aa"]
    assert found["selections"].keys() == {"last", "averaged"}
    last = evaluated(method=Method(select=("last", "source-dev")), targets=["aa"])
    cell = last["encoders"]["extended"]["aa"]
    assert cell["f1"] == found["selections"]["last"]["f1"]
    assert cell["selections"]["source-dev"]["f1"] == found["f1"]


def test_an_oracle_is_told_where_the_target_has_a_dev_set(
    encoders: dict[str, Path],  # noqa: F811
    data: Data,  # noqa: F811
) -> None:
    read = read_sets(data, [Experiment("aa", ("aa",)), Experiment("bb", ("bb",))], labels=(), seed=1)
    sets = {"aa": read["aa"], "bb": LanguageSets(dev=read["bb"].dev, test=read["bb"].test)}
    cpu = torch.device("cpu")
    plan = [Experiment("aa", ("aa", "bb"))]
    bench = Bench(plan, sets, SETTINGS, method=Method(), first_seed=1, device=cpu, meter=Meter(1, None))
    one = Encoder(encoders["base"], load_encoder, settings=FeatureSettings(), device=cpu, cache=None)
    bench.add("base", one)
    cells = scored(bench.outcomes, bench.tests(), seed=1)["encoders"]["base"]
    assert cells["bb"]["selections"].keys() == {"target-dev oracle", "last", "averaged"}
    assert cells["aa"]["selections"].keys() == {"last", "averaged"}


def test_an_oracle_cannot_be_the_score_without_a_dev_set(
    encoders: dict[str, Path],  # noqa: F811
    data: Data,  # noqa: F811
) -> None:
    ask = {"source": "aa", "targets": ["bb"], "zero_shot": True, "supervised": False}
    with pytest.raises(UsageError, match="no dev set of bb to select on"):
        check(encoders, data, **ask, select=("target-dev oracle",))


def test_a_cache_changes_no_score_and_spares_the_encoder(
    evaluated: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = evaluated()
    first = evaluated(cache=FeatureCache(tmp_path / "cache"))

    def unused(*_: object) -> None:
        raise AssertionError("the encoder was loaded")

    monkeypatch.setattr("ner.evaluate.load_encoder", unused)
    second = evaluated(cache=FeatureCache(tmp_path / "cache"))
    assert without_time(plain) == without_time(first) == without_time(second)
    assert first["timing"]["cache"] == {"made": 4}
    assert second["timing"]["cache"] == {"found": 4}


def test_want_of_memory_is_told(evaluated: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 PB")

    monkeypatch.setattr("ner.evaluate.bench.train_heads", too_much)
    with pytest.raises(OutOfMemoryError, match="too little memory on cpu") as told:
        evaluated()
    assert told.value.exit_code == 10


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_evaluation_that_is_ended_leaves_nothing_half_written(
    evaluated: Evaluate, tmp_path: Path, error: type[BaseException]
) -> None:
    def ended(progress: Progress) -> None:
        if "dev_f1" in progress.details and progress.done > 3:
            raise error

    with pytest.raises(error):
        evaluated(cache=FeatureCache(tmp_path / "cache"), on_progress=ended)
    assert not (tmp_path / "ner").exists() or not list((tmp_path / "ner").iterdir())
    cache = FeatureCache(tmp_path / "cache")
    again = evaluated(cache=cache)
    assert cache.told["found"] >= 2
    assert without_time(again) == without_time(evaluated())


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_what_is_not_finite_ends_the_evaluation(
    evaluated: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    loss = Tagger.loss

    def broken(self: Tagger, *given: torch.Tensor) -> torch.Tensor:
        right = loss(self, *given)
        return right * float("nan") if bad == "loss" else _BadGradient.apply(right)

    monkeypatch.setattr(Tagger, "loss", broken)
    with pytest.raises(DivergedError, match=f"the NER {bad} became nan") as told:
        evaluated()
    assert told.value.exit_code == 9
    assert not list(tmp_path.glob("ner/*"))


class _BadGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> torch.Tensor:
        return upstream * float("nan")


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
def test_the_best_head_is_kept_and_tags_as_it_was_scored(
    evaluated: Evaluate,
    data: Data,  # noqa: F811
    encoders: dict[str, Path],  # noqa: F811
    tmp_path: Path,
    mode: str,
) -> None:
    settings = replace(SETTINGS, epochs=2)
    result = evaluated(settings=settings, method=Method(mode=mode), targets=["aa"])
    (folder,) = (tmp_path / "ner" / "zero-shot" / "heads").iterdir()
    saved = load_tagger(folder)
    model = load_encoder(saved.encoder if mode == "finetune" else encoders["extended"])
    test = read_sets(data, [Experiment("aa", ("aa",))], labels=(), seed=1)["aa"].test.sentences
    vectors = word_features(model, WordPieces(encoders["extended"]), [one.words for one in test])
    f1 = count_spans([one.tags for one in test], predict(saved.head, vectors)).total().f1
    scores = result["encoders"]["extended"]["aa"]["f1"]
    assert f1 == pytest.approx(scores[saved.about["seed"] - 1], abs=1e-3)
