"""From settings and options to how encoders are judged."""

from pathlib import Path

import pytest

from extend import recipe
from extend.cli.ner_method import NerMethod
from extend.config import NerSettings, RunSettings, load_settings
from extend.errors import UsageError
from extend.languages import resolve
from extend.recipe.ner_method import feature_cache, further_encoders, ner_method
from ner.evaluate import FeatureSettings, Method, TrainSettings, released


def run_with(tmp_path: Path, **ner: object) -> recipe.Run:
    settings = RunSettings.model_validate({"lang": "si", "ner": ner})
    return recipe.Run(tmp_path / "run", settings, resolve("si"))


def test_defaults_are_those_of_the_parts() -> None:
    assert ner_method(NerSettings()) == (TrainSettings(), Method())


def test_every_setting_reaches_its_part() -> None:
    wanted = NerSettings(
        head="linear",
        scheme="BIOUL",
        constrain="none",
        start_end=False,
        pool=1,
        mode="finetune",
        encoder_layers="mix",
        pooling="mean",
        window=64,
        precision="float16",
        select=["last"],
        encoder_learning_rate=1e-4,
        warmup=0.5,
        keep="all",
    )
    training, method = ner_method(wanted)
    assert (training.head, training.scheme, training.constrain) == ("linear", "BIOUL", "none")
    assert (training.start_end, training.pool, training.encoder_learning_rate) == (False, 1, 1e-4)
    assert training.warmup == 0.5
    assert method == Method(
        FeatureSettings("mix", "mean", window=64, precision="float16"),
        mode="finetune",
        select=("last",),
        keep="all",
    )


def test_paper_is_the_release_and_changed_settings_win() -> None:
    assert ner_method(NerSettings(paper=True)) == released()
    training, method = ner_method(NerSettings(paper=True, seeds=2, epochs=3, pooling="mean"))
    assert (training.seeds, training.epochs, training.scheme) == (2, 3, "BIOUL")
    assert method.features.pooling == "mean"
    assert method.features.wordpiece_only
    assert method.changed == ("ner.epochs = 3", "ner.pooling = mean")


def test_options_are_settings() -> None:
    given = NerMethod(
        few_shot=[5, 20], paper=True, encoder=["a=/x", "b=/y=z"], encoder_layers="mix", select="last"
    )
    found = {key: value for key, value in given.settings().items() if value is not None}
    assert found == {
        "ner.few_shot": [5, 20],
        "ner.paper": True,
        "ner.encoders.a": "/x",
        "ner.encoders.b": "/y=z",
        "ner.encoder_layers": "mix",
        "ner.select": ["last", "source-dev", "target-dev oracle", "averaged"],
    }
    oracle = NerMethod(select="oracle").settings()["ner.select"]
    assert oracle[0] == "target-dev oracle"
    settings = load_settings(None, {**found, "ner.select": oracle}).ner
    assert settings.encoders == {"a": "/x", "b": "/y=z"}
    assert not any(NerMethod().settings().values())


@pytest.mark.parametrize("text", ["folder", "=folder", "name=", "a.b=folder"])
def test_an_encoder_without_name_or_folder_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=FOLDER"):
        NerMethod(encoder=[text]).settings()


def test_more_encoders_have_names_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    run = run_with(tmp_path, encoders={"other": str(folder)})
    assert further_encoders(run, {"base": tmp_path}) == {"other": folder}
    with pytest.raises(UsageError, match="name of an encoder of the run"):
        further_encoders(run, {"other": tmp_path})


def test_the_cache_is_in_the_run_or_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = feature_cache(run_with(tmp_path))
    assert own is not None
    assert own.directory == tmp_path / "run" / "cache"
    monkeypatch.setenv("PLACE", str(tmp_path / "elsewhere"))
    other = feature_cache(run_with(tmp_path, cache="$PLACE/vectors", cache_gib=0.5))
    assert other is not None
    assert (other.directory, other.limit) == (tmp_path / "elsewhere" / "vectors", 2**29)
    assert feature_cache(run_with(tmp_path, cache="off")) is None
