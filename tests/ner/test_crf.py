"""The CRF against enumeration of all paths, against pytorch-crf, and under constraints."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchcrf import CRF

from ner.crf import FORBIDDEN, IndependentTags, LinearChainCRF
from ner.crf.sums import _in_log_space, _scaled, normalised
from ner.tagger import SCHEMES, Tagger, TaggerSettings
from ner.tags import illegal_transitions
from tests.oracles import crf as oracle

LABELS = ("LOC", "ORG", "PER")


def constrained(labels: tuple[str, ...] = LABELS, **choices: Any) -> tuple[LinearChainCRF, tuple[str, ...]]:
    """The output layer of a tagger of these choices and its tags."""
    tagger = Tagger(TaggerSettings(4, labels, hidden_size=2, layers=1, **choices))
    return tagger.output, tagger.tag_names


def random_crf(tags: int, seed: int, *, forbid: float = 0.0) -> LinearChainCRF:
    torch.manual_seed(seed)
    allowed = torch.rand(tags, tags) >= forbid
    allowed[:, 0] = True
    crf = LinearChainCRF(tags, allowed=allowed).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def scores_of(crf: LinearChainCRF) -> tuple[list, list, list]:
    return (
        (crf.crf.start_transitions + crf.start_penalty).tolist(),
        (crf.crf.transitions + crf.penalty).tolist(),
        (crf.crf.end_transitions + crf.end_penalty).tolist(),
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(0, 9999),
    st.booleans(),
)
def test_likelihood_decoding_and_marginals_are_those_of_enumeration(
    tags: int, lengths: list[int], seed: int, forbid: bool
) -> None:
    crf = random_crf(tags, seed, forbid=0.3 if forbid else 0.0)
    emissions = 3 * torch.randn(len(lengths), max(lengths), tags, dtype=torch.float64)
    size = torch.tensor(lengths)
    gold = crf.decode(torch.randn_like(emissions), size)  # some path that is allowed
    likelihood = crf.log_likelihood(emissions, gold, size)
    decoded = crf.decode(emissions, size)
    marginals = crf.marginals(emissions, size)
    for row, length in enumerate(lengths):
        lattice = emissions[row, :length].tolist()
        expected = oracle.log_likelihood(gold[row, :length].tolist(), lattice, *scores_of(crf))
        assert likelihood[row].item() == pytest.approx(expected, abs=1e-9)
        assert tuple(decoded[row, :length].tolist()) == oracle.best_path(lattice, *scores_of(crf))
        torch.testing.assert_close(
            marginals[row, :length],
            torch.tensor(oracle.marginals(lattice, *scores_of(crf)), dtype=torch.float64),
        )
        assert not marginals[row, length:].any()
        assert not decoded[row, length:].any()


@pytest.mark.parametrize("scale", [1.0, 150.0])
def test_gradients_by_finite_differences(scale: float) -> None:
    """At the larger scale sums are taken in log space."""
    crf = random_crf(3, 1, forbid=0.3)
    emissions = (scale * torch.randn(3, 4, 3, dtype=torch.float64)).requires_grad_()
    lengths = torch.tensor([4, 1, 3])
    gold = crf.decode(emissions, lengths)
    parameters = tuple(crf.parameters())

    def likelihood(emissions: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return crf.log_likelihood(emissions, gold, lengths)

    assert torch.autograd.gradcheck(likelihood, (emissions, *parameters))


@pytest.mark.parametrize("tags", [1, 9, 17])
@pytest.mark.parametrize("steps", [1, 30])
def test_equals_pytorch_crf_when_nothing_is_forbidden(tags: int, steps: int) -> None:
    torch.manual_seed(0)
    crf, reference = LinearChainCRF(tags), CRF(tags, batch_first=True)
    reference.load_state_dict(crf.crf.state_dict())
    emissions = torch.randn(16, steps, tags)
    lengths = torch.randint(1, steps + 1, (16,))
    lengths[0] = steps
    mask = torch.arange(steps) < lengths[:, None]
    gold = torch.randint(tags, (16, steps))
    mine, theirs = emissions.clone().requires_grad_(), emissions.clone().requires_grad_()
    weight = torch.randn(16)
    likelihood = crf.log_likelihood(mine, gold, lengths)
    expected = reference(theirs, gold, mask, reduction="none")
    torch.testing.assert_close(likelihood, expected, atol=1e-4, rtol=1e-5)
    (likelihood * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, atol=2e-5, rtol=1e-4)
    for own, other in zip(crf.crf.parameters(), reference.parameters(), strict=True):
        wanted = torch.zeros_like(own) if other.grad is None else other.grad
        torch.testing.assert_close(own.grad, wanted, atol=1e-4, rtol=1e-4)
    decoded = crf.decode(emissions, lengths)
    assert [decoded[row, :length].tolist() for row, length in enumerate(lengths)] == reference.decode(
        emissions, mask
    )


@pytest.mark.parametrize("head", ["bilstm-crf", "bilstm-softmax", "linear"])
@pytest.mark.parametrize("scheme", ["IOB2", "BIOUL"])
@pytest.mark.parametrize("constrain", ["train", "decode"])
def test_decodes_are_never_illegal(head: str, scheme: str, constrain: str) -> None:
    """Of 10,000 sentences over all parameters none."""
    torch.manual_seed(0)
    output, names = constrained(head=head, scheme=scheme, constrain=constrain)
    emissions = 40 * torch.randn(850, 12, len(names))
    lengths = torch.randint(1, 13, (850,))

    def illegal(decoded: torch.Tensor) -> int:
        rows = [decoded[row, :length].tolist() for row, length in enumerate(lengths)]
        return sum(illegal_transitions([names[tag] for tag in row], scheme=SCHEMES[scheme]) for row in rows)

    assert illegal(output.decode(emissions, lengths)) == 0
    free, _ = constrained(head=head, scheme=scheme, constrain="none")
    assert illegal(free.decode(emissions, lengths)) > 0


@pytest.mark.parametrize("scheme", ["IOB2", "BIOUL"])
@pytest.mark.parametrize("scale", [5.0, 120.0])
def test_peaked_emissions_and_constraints_are_exact(scheme: str, scale: float) -> None:
    """A product of probabilities underflows here: likelihood and gradients are those of fp64 in log space."""
    torch.manual_seed(0)
    crf, names = constrained(scheme=scheme)
    crf = crf.double()
    emissions = scale * torch.randn(8, 10, len(names), dtype=torch.float64)
    lengths = torch.tensor([10, 9, 8, 7, 3, 2, 1, 10])
    gold = crf.decode(torch.randn_like(emissions), lengths)
    emissions.requires_grad_()
    likelihood = crf.log_likelihood(emissions, gold, lengths)
    likelihood.sum().backward()
    own = [crf.crf.start_transitions, crf.crf.transitions, crf.crf.end_transitions]
    weights = [one.detach() for one in own]
    found = [emissions.grad, *(one.grad for one in own)]
    again = emissions.detach().clone().requires_grad_()
    leaves = [one.clone().requires_grad_() for one in weights]
    start, transitions, end = leaves
    reference = CRF(len(names), batch_first=True).double()
    parameters = {
        "start_transitions": start + crf.start_penalty,
        "transitions": transitions + crf.penalty,
        "end_transitions": end + crf.end_penalty,
    }
    mask = torch.arange(10) < lengths[:, None]
    call = (again, gold, mask)
    expected = torch.func.functional_call(reference, parameters, call, {"reduction": "none"})
    torch.testing.assert_close(likelihood, expected, rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(found, torch.autograd.grad(expected.sum(), [again, *leaves]), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


def test_a_path_that_is_improbable_and_then_the_only_one_is_not_lost() -> None:
    """The one state from which the second tag can be reached has e^-900 of the first word's probability."""
    allowed = torch.tensor([[True, False], [True, True]])
    crf = LinearChainCRF(2, allowed=allowed).double()
    for parameter in crf.parameters():
        torch.nn.init.zeros_(parameter)
    emissions = torch.tensor([[[900.0, 0.0], [0.0, 2000.0]]], dtype=torch.float64)
    lengths = torch.tensor([2])
    scores = (torch.zeros(2).double(), crf.penalty.double(), torch.zeros(2).double())
    assert _scaled(normalised(emissions), scores, lengths, pairs=True) is None
    likelihood = crf.log_likelihood(emissions, torch.tensor([[1, 1]]), lengths)
    assert likelihood.item() == pytest.approx(0, abs=1e-9)
    assert crf.marginals(emissions, lengths)[0, :, 1].tolist() == pytest.approx([1, 1])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 9999), st.booleans())
def test_both_ways_of_summing_agree(tags: int, steps: int, seed: int, forbid: bool) -> None:
    crf = random_crf(tags, seed, forbid=0.3 if forbid else 0.0)
    emissions = normalised(2 * torch.randn(3, steps, tags, dtype=torch.float64))
    lengths = torch.randint(1, steps + 1, (3,))
    scores = tuple(torch.tensor(one, dtype=torch.float64) for one in scores_of(crf))
    fast, slow = (way(emissions, scores, lengths, pairs=True) for way in (_scaled, _in_log_space))
    assert fast is not None
    inside = torch.arange(steps) < lengths[:, None]
    torch.testing.assert_close(fast.total, slow.total)
    torch.testing.assert_close(fast.chances[inside], slow.chances[inside])
    torch.testing.assert_close(fast.pairs, slow.pairs)


def test_forbidden_transitions_have_no_mass() -> None:
    crf, names = constrained(("PER",))
    stray = torch.tensor([[0, names.index("I-PER")]])
    assert crf.log_likelihood(torch.zeros(1, 2, 3), stray, torch.tensor([2])).item() < FORBIDDEN / 2
    total = sum(
        crf.log_likelihood(torch.zeros(1, 2, 3), torch.tensor([path]), torch.tensor([2])).exp().item()
        for path in itertools.product(range(3), repeat=2)
    )
    assert total == pytest.approx(1, abs=1e-5)


def test_stays_in_fp32_under_autocast() -> None:
    torch.manual_seed(0)
    crf = LinearChainCRF(5)
    emissions = torch.randn(2, 200, 5)
    gold, lengths = torch.randint(5, (2, 200)), torch.tensor([200, 150])
    plain = crf.log_likelihood(emissions, gold, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = crf.log_likelihood(emissions, gold, lengths)
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast, plain)


@pytest.mark.parametrize("beyond", [float("nan"), 1e9])
def test_what_stands_beyond_a_length_has_no_effect(beyond: float) -> None:
    crf = random_crf(3, 2)
    emissions = torch.randn(1, 3, 3, dtype=torch.float64)
    padded = torch.cat([emissions, torch.full((1, 4, 3), beyond, dtype=torch.float64)], dim=1)
    gold = torch.tensor([[0, 1, 2]])
    padded_gold = torch.cat([gold, torch.full((1, 4), -100)], dim=1)
    length = torch.tensor([3])
    assert crf.log_likelihood(padded, padded_gold, length).equal(crf.log_likelihood(emissions, gold, length))
    assert crf.decode(padded, length)[:, :3].equal(crf.decode(emissions, length))


def test_bad_input_is_refused() -> None:
    crf = LinearChainCRF(3)
    emissions = torch.randn(1, 4, 3)
    with pytest.raises(ValueError, match=r"lengths lie in 1\.\.4"):
        crf.decode(emissions, torch.tensor([0]))
    with pytest.raises(ValueError, match=r"lengths lie in 1\.\.4"):
        crf.decode(emissions, torch.tensor([5]))
    with pytest.raises(ValueError, match="tags lie in"):
        crf.log_likelihood(emissions, torch.tensor([[0, -100, 1, 1]]), torch.tensor([4]))
    with pytest.raises(ValueError, match="expected shape"):
        LinearChainCRF(3, allowed=torch.ones(2, 2, dtype=torch.bool))


def test_independent_tags_are_a_crf_without_transitions() -> None:
    torch.manual_seed(0)
    softmax, crf = IndependentTags(5), LinearChainCRF(5, start_end=False)
    torch.nn.init.zeros_(crf.crf.transitions)
    emissions = torch.randn(4, 6, 5)
    lengths, gold = torch.tensor([6, 1, 3, 5]), torch.randint(5, (4, 6))
    for call in ("log_likelihood", "decode", "marginals"):
        given_ = (emissions, gold, lengths) if call == "log_likelihood" else (emissions, lengths)
        torch.testing.assert_close(getattr(softmax, call)(*given_), getattr(crf, call)(*given_))
    assert not list(softmax.parameters())


def test_constraints_in_decoding_alone_leave_the_likelihood_free() -> None:
    torch.manual_seed(0)
    crf, names = constrained(("PER",), constrain="decode", start_end=False, initial="xavier")
    assert not crf.crf.start_transitions.any()
    assert not crf.crf.start_transitions.requires_grad
    assert crf.crf.transitions.abs().max() > 0.1  # uniform within 0.1 otherwise
    stray = torch.tensor([[0, names.index("I-PER")]])
    free = LinearChainCRF(len(names))
    free.load_state_dict(crf.state_dict())
    emissions, lengths = torch.randn(1, 2, len(names)), torch.tensor([2])
    free.penalty.zero_(), free.start_penalty.zero_(), free.end_penalty.zero_()
    torch.testing.assert_close(
        crf.log_likelihood(emissions, stray, lengths), free.log_likelihood(emissions, stray, lengths)
    )
    assert crf.marginals(emissions, lengths)[0, 0, names.index("I-PER")] < 1e-9
    assert free.marginals(emissions, lengths)[0, 0, names.index("I-PER")] > 1e-3


def test_a_forbidden_path_has_a_finite_gradient() -> None:
    crf, names = constrained(("PER",))
    emissions = torch.zeros(1, 2, len(names), requires_grad=True)
    stray = torch.tensor([[0, names.index("I-PER")]])
    (-crf.log_likelihood(emissions, stray, torch.tensor([2])).sum()).backward()
    assert torch.isfinite(emissions.grad).all()
    assert torch.isfinite(crf.crf.transitions.grad).all()
