"""Cells, strata, groups and alarms: by hand, against seqeval, and counted again from what is saved."""

import json
from dataclasses import replace

import pytest
from seqeval.metrics import f1_score

from ner.results import Outcome, SpanRows, TestSet, same_predictions, scored, summarise, token_statistics
from ner.score import count_spans, interval
from ner.screen import difference_line
from ner.tags import TaggedSentence
from tests.ner.made_outcomes import made_outcomes, made_tests

GOLD = (("B-PER", "O", "B-MISC", "I-MISC"), ("B-LOC", "I-LOC", "O", "B-ORG"))
PREDICTED = (("B-PER", "O", "B-ORG", "I-ORG"), ("B-LOC", "O", "O", "B-MISC"))


def as_test(*tags: tuple[str, ...]) -> TestSet:
    sentences = tuple(TaggedSentence(tuple("abcd"[: len(one)]), one) for one in tags)
    return TestSet(sentences, {"e": 0.0}, {"e": 1.0}, {})


def outcome(*tags: tuple[str, ...], seed: int = 1) -> Outcome:
    return Outcome("e", "xx", "xx", seed, tags, 0.0, 1)


def without_misc(tags: tuple[str, ...]) -> list[str]:
    return ["O" if tag.endswith("MISC") else tag for tag in tags]


def test_the_core_score_is_that_of_tags_without_the_other_types() -> None:
    core = summarise([outcome(*PREDICTED)], as_test(*GOLD), seed=1)["core"]
    expected = 100 * f1_score([without_misc(one) for one in GOLD], [without_misc(one) for one in PREDICTED])
    assert core["f1"] == [pytest.approx(expected, abs=1e-3)]
    assert core["types"] == ["PER", "LOC", "ORG"]


def test_a_set_of_shared_types_has_no_second_score() -> None:
    assert "core" not in summarise([outcome(("B-PER",))], as_test(("B-PER",)), seed=1)


def test_every_interval_follows_from_the_saved_counts_alone() -> None:
    tests = made_tests()
    saved = json.loads(json.dumps(scored(made_outcomes(), tests, seed=5)["encoders"]))
    for cells in saved.values():
        for language, cell in cells.items():
            counts = cell["counts"]
            assert counts["sentences"] == len(tests[language].sentences)
            rows = [
                SpanRows.from_json(one, sentences=counts["sentences"], types=counts["types"])
                for one in counts["seeds"]
            ]
            spread = interval([row.by_sentence() for row in rows], seed=5)
            assert [spread.low, spread.high] == pytest.approx(cell["ci95"], abs=1e-4)
            assert spread.mean == pytest.approx(cell["f1_mean"], abs=1e-4)
            unk = interval([row.by_sentence(row.traits & 2 > 0) for row in rows], seed=5)
            assert [unk.low, unk.high] == pytest.approx(cell["strata"]["with_unk"]["ci95"], abs=1e-4)
            for label, rate in cell["per_type"].items():
                some = rows[0].by_sentence(rows[0].type == counts["types"].index(label))
                assert some[:, 2].sum() == rate["support"]


def test_counts_by_sentence_are_those_of_the_scorer() -> None:
    tests = made_tests()
    cells = scored(made_outcomes(), tests, seed=5)["encoders"]
    for one in made_outcomes():
        counts = cells[one.encoder][one.test]["counts"]
        row = SpanRows.from_json(
            counts["seeds"][one.seed - 1], sentences=counts["sentences"], types=counts["types"]
        )
        expected = count_spans(tests[one.test].tags, one.predicted).by_sentence()
        assert row.by_sentence().tolist() == expected.tolist()


def test_strata_by_hand() -> None:
    encoders = scored(made_outcomes(), made_tests(), seed=5)["encoders"]
    base, extended = (encoders[name]["ug"]["strata"] for name in ("base", "extended"))
    # gold: one PER (seen in training), one LOC, one ORG of two words
    assert [extended[name]["support"] for name in ("seen", "unseen")] == [1, 2]
    assert extended["seen"]["f1_mean"] == 100
    assert extended["unseen"]["tp"] == [1, 1, 1]  # the ORG; the LOC was taken for an ORG
    assert extended["unseen"]["fp"] == [1, 1, 1]
    assert extended["unseen"]["fn"] == [1, 1, 1]
    assert extended["unseen"]["f1_mean"] == 50
    assert base["with_unk"]["support"] == 3
    assert base["without_unk"]["support"] == extended["with_unk"]["support"] == 0
    assert extended["with_new_piece"]["support"] == 3
    assert base["with_new_piece"]["support"] == 0
    assert [extended[f"words_{n}"]["support"] for n in ("1", "2", "3", "4+")] == [2, 1, 0, 0]
    assert base["words_2"]["tp"] == [0, 0, 0]
    # one seed of the base finds nothing, the other two one of three and two besides
    assert base["seen"]["tp"] == [1, 1, 0]


def test_what_is_not_known_of_the_set_has_no_strata() -> None:
    strata = summarise([outcome(*PREDICTED)], as_test(*GOLD), seed=1)["strata"]
    assert strata.keys() == {"with_unk", "without_unk", "words_1", "words_2", "words_3", "words_4+"}


def test_seeds_are_told_apart_and_the_collapsed_are_named() -> None:
    cell = scored(made_outcomes(), made_tests(), seed=5)["encoders"]["base"]["en"]
    assert cell["f1"] == [100, 100, 0]
    assert (cell["f1_mean"], cell["f1_median"]) == (pytest.approx(200 / 3, abs=1e-3), 100)
    assert cell["f1_std"] == pytest.approx(57.735, abs=1e-3)
    assert (cell["collapsed"], cell["collapsed_seeds"]) == (1, [3])
    assert cell["seeds"] == [1, 2, 3]


def test_policies_stand_side_by_side() -> None:
    stray = outcome(("B-PER", "O", "O", "I-ORG"), ("O", "B-LOC", "O", "B-ORG"))
    cell = summarise([stray], as_test(*GOLD), seed=1)
    assert cell["f1_mean"] == pytest.approx(50, abs=1e-3)  # PER and ORG of four on each side
    assert cell["strict_f1"] == [pytest.approx(100 * 4 / 7, abs=1e-3)]  # the stray ORG is discarded
    assert cell["illegal"] == 1
    assert cell["lenient"]["overlap_f1_mean"] == 75  # LOC too
    assert cell["lenient"]["partial_f1_mean"] == 75  # 2 whole, MISC and LOC half each
    assert cell["lenient"]["span_f1_mean"] == 50


def test_errors_and_confusion_by_hand() -> None:
    cell = summarise([outcome(*PREDICTED)], as_test(*GOLD), seed=1)
    assert cell["errors"] == {"type": 2, "boundary": 1, "missed": 0, "spurious": 0}
    assert cell["error_shares"] == {
        "type": pytest.approx(2 / 3, abs=1e-5),
        "boundary": pytest.approx(1 / 3, abs=1e-5),
        "missed": 0,
        "spurious": 0,
    }
    rows = {(row["gold"], row["predicted"], row["same_words"]): row["count"] for row in cell["confusion"]}
    assert rows == {
        ("PER", "PER", True): 1,
        ("MISC", "ORG", True): 1,
        ("LOC", "LOC", False): 1,
        ("ORG", "MISC", True): 1,
    }


def test_confusion_adds_up_to_the_spans_of_each_side() -> None:
    tests, outcomes = made_tests(), made_outcomes()
    for encoder, cells in scored(outcomes, tests, seed=5)["encoders"].items():
        for language, cell in cells.items():
            mine = [one for one in outcomes if (one.encoder, one.test) == (encoder, language)]
            counts = [count_spans(tests[language].tags, one.predicted) for one in mine]
            rows = cell["confusion"]
            gold = sum(row["count"] for row in rows if row["gold"] != "spurious")
            predicted = sum(row["count"] for row in rows if row["predicted"] != "missed")
            assert gold == sum(int(one.gold.sum()) for one in counts)
            assert predicted == sum(int(one.predicted.sum()) for one in counts)


def test_other_selections_stand_beside_the_score() -> None:
    worse = (("O", "O", "O", "O"), ("B-LOC", "O", "O", "B-ORG"))
    some = [outcome(*GOLD), outcome(*GOLD, seed=2), replace(outcome(*worse), selection="last")]
    cell = summarise(some, as_test(*GOLD), seed=1)
    assert cell["f1"] == [100, 100]
    assert cell["selection"] == "source-dev"
    assert cell["selections"]["last"]["f1"] == [pytest.approx(100 * 2 / 6, abs=1e-3)]
    assert "selections" not in summarise(some[:2], as_test(*GOLD), seed=1)


def test_differences_say_what_is_noise() -> None:
    found = scored(made_outcomes(), made_tests(), seed=5)["differences"]
    assert found["en"]["extended"]["verdict"] == "noise"
    assert found["ug"]["extended"]["f1"] > 0
    assert found["ug"]["extended"]["p_holm"] >= found["ug"]["extended"]["p"]
    twins = [replace(one, encoder="twin") for one in made_outcomes() if one.encoder == "base"]
    tests = {
        language: replace(
            test,
            unk_rate={**test.unk_rate, "twin": 1.0},
            fertility={**test.fertility, "twin": 1.0},
        )
        for language, test in made_tests().items()
    }
    gap = scored([*made_outcomes()[:6], *twins], tests, seed=5)["differences"]["en"]["twin"]
    assert gap["verdict"] == "the same tags"
    assert gap["identical"]


def test_a_clear_difference_is_better_or_worse() -> None:
    gold = tuple(("B-PER", "O") for _ in range(60))
    good = tuple(("B-PER", "O") if number % 10 else ("O", "O") for number in range(60))
    bad = tuple(("B-PER", "O") if number % 3 == 0 else ("O", "O") for number in range(60))
    test = replace(as_test(*gold), unk_rate={"e": 0.0, "f": 0.0}, fertility={"e": 1.0, "f": 1.0})
    for first, second, verdict in ((bad, good, "better"), (good, bad, "worse")):
        outcomes = [replace(outcome(*tags), encoder=name) for name, tags in (("e", first), ("f", second))]
        gap = scored(outcomes, {"xx": test}, seed=1)["differences"]["xx"]["f"]
        assert gap["verdict"] == verdict


def test_five_seeds_a_side_give_almost_stochastic_order() -> None:
    gold = tuple(("B-PER", "O") for _ in range(60))

    def tags(missed: int) -> tuple[tuple[str, str], ...]:
        return tuple(("O", "O") if number < missed else ("B-PER", "O") for number in range(60))

    test = replace(as_test(*gold), unk_rate={"e": 0.0, "f": 0.0}, fertility={"e": 1.0, "f": 1.0})
    for seeds, expected in ((4, None), (5, 0.0)):
        outcomes = [
            replace(outcome(*tags(missed + seed)), encoder=name, seed=seed)
            for name, missed in (("e", 30), ("f", 10))
            for seed in range(seeds)
        ]
        gap = scored(outcomes, {"xx": test}, seed=1)["differences"]["xx"]["f"]
        assert gap.get("aso") == expected
        shown = difference_line("f", gap, languages=1)
        assert ("ASO 0.00" in shown) == (expected is not None)


def test_groups_name_their_languages() -> None:
    tests, outcomes = made_tests(), made_outcomes()
    groups = {"new": ["ug", "xx"], "in the base": ["en"], "none": ["yy"]}
    found = scored(outcomes, tests, seed=5, groups=groups)
    assert found["groups"].keys() == {"new", "in the base"}
    assert found["groups"]["new"]["languages"] == ["ug"]
    cells = found["encoders"]
    everything = scored(outcomes, tests, seed=5)["groups"]["all"]
    assert everything["languages"] == ["en", "ug"]
    for encoder, mean in everything["encoders"].items():
        parts = [cells[encoder][language]["f1_mean"] for language in ("en", "ug")]
        assert mean["f1_mean"] == pytest.approx(sum(parts) / 2, abs=1e-3)
        assert mean["ci95"][0] <= mean["f1_mean"] <= mean["ci95"][1]
    assert everything["differences"]["extended"]["against"] == "base"
    assert scored(outcomes, tests, seed=5, groups={})["groups"] == {}


def test_equal_predictions_of_two_systems_raise_an_alarm() -> None:
    warnings = same_predictions(made_outcomes())
    assert {warning["name"] for warning in warnings} == {"W-SAME-PREDICTIONS"}
    (one,) = warnings  # English, where both are right; the empty ones are of one system
    assert one["text"].startswith(
        "en: the very same predictions from base seed 1, base seed 2, extended seed 1"
    )
    empty = [replace(one, encoder="other") for one in made_outcomes() if one.encoder == "base"]
    texts = [warning["text"] for warning in same_predictions([*made_outcomes(), *empty])]
    assert any("none predicts any entity" in text for text in texts)
    assert not same_predictions([one for one in made_outcomes() if one.encoder == "base"])


def test_warnings_name_collapse_and_single_seeds() -> None:
    found = scored(made_outcomes(), made_tests(), seed=5)["warnings"]
    told = {warning["text"] for warning in found if warning["name"] == "W-COLLAPSED"}
    assert told == {
        f"base on {language}: collapsed with seed 3 (F1 under 5, or no entity)" for language in ("en", "ug")
    }
    single = scored([one for one in made_outcomes() if one.seed == 1], made_tests(), seed=5)["warnings"]
    assert "W-ONE-SEED" in {warning["name"] for warning in single}


def test_tokens_are_counted_over_the_text() -> None:
    told = token_statistics(made_tests())["ug"]
    assert (told["words"], told["distinct_words"]) == (8, 8)
    assert told["never_in_training"]["en"] == pytest.approx(7 / 8)
    assert len(told["encoders"]["base"]["top_unk_words"]) == 8
    assert told["encoders"]["base"]["continuation_share"] == 0
    assert told["encoders"]["extended"]["top_unk_words"] == []
    assert told["encoders"]["extended"]["continuation_share"] == 0.5
    assert told["encoders"]["extended"]["words_by_pieces"] == [[2, 8]]


def test_the_same_seed_gives_the_same_results() -> None:
    assert scored(made_outcomes(), made_tests(), seed=5) == scored(made_outcomes(), made_tests(), seed=5)
