"""The CRF against enumeration of all paths, against pytorch-crf, and under constraints."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchcrf import CRF

from ner.crf import FORBIDDEN, LinearChainCRF
from ner.tagger import constrained_crf
from ner.tags import illegal_transitions, tag_names
from tests.oracles import crf as oracle


def random_crf(tags: int, seed: int, *, forbid: float = 0.0) -> LinearChainCRF:
    torch.manual_seed(seed)
    allowed = torch.rand(tags, tags) >= forbid
    allowed[:, 0] = True
    crf = LinearChainCRF(tags, allowed=allowed).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def scores(crf: LinearChainCRF) -> tuple[list, list, list]:
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
        expected = oracle.log_likelihood(gold[row, :length].tolist(), lattice, *scores(crf))
        assert likelihood[row].item() == pytest.approx(expected, abs=1e-9)
        assert tuple(decoded[row, :length].tolist()) == oracle.best_path(lattice, *scores(crf))
        torch.testing.assert_close(
            marginals[row, :length],
            torch.tensor(oracle.marginals(lattice, *scores(crf)), dtype=torch.float64),
        )
        assert not marginals[row, length:].any()
        assert not decoded[row, length:].any()


def test_gradients_by_finite_differences() -> None:
    crf = random_crf(3, 1, forbid=0.3)
    emissions = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([4, 1, 3])
    gold = crf.decode(emissions, lengths)
    parameters = tuple(crf.parameters())

    def likelihood(emissions: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return crf.log_likelihood(emissions, gold, lengths)

    assert torch.autograd.gradcheck(likelihood, (emissions, *parameters))


def test_equals_pytorch_crf_when_nothing_is_forbidden() -> None:
    torch.manual_seed(0)
    crf, reference = LinearChainCRF(9), CRF(9, batch_first=True)
    reference.load_state_dict(crf.crf.state_dict())
    emissions = torch.randn(16, 30, 9)
    lengths = torch.randint(1, 31, (16,))
    lengths[0] = 30
    mask = torch.arange(30) < lengths[:, None]
    gold = torch.randint(9, (16, 30))
    torch.testing.assert_close(
        crf.log_likelihood(emissions, gold, lengths), reference(emissions, gold, mask, reduction="none")
    )
    decoded = crf.decode(emissions, lengths)
    expected = reference.decode(emissions, mask)
    assert [decoded[row, :length].tolist() for row, length in enumerate(lengths)] == expected


def test_decodes_are_never_illegal() -> None:
    names = tag_names(["PER", "LOC", "ORG"])
    torch.manual_seed(0)
    crf = constrained_crf(names)
    emissions = 40 * torch.randn(400, 12, len(names))
    lengths = torch.randint(1, 13, (400,))
    decoded = crf.decode(emissions, lengths)
    sentences = [[names[tag] for tag in decoded[row, :length].tolist()] for row, length in enumerate(lengths)]
    assert sum(map(illegal_transitions, sentences)) == 0
    unconstrained = LinearChainCRF(len(names)).decode(emissions, lengths)
    assert any(
        illegal_transitions([names[tag] for tag in unconstrained[row, :length].tolist()])
        for row, length in enumerate(lengths)
    )


def test_peaked_emissions_and_constraints_give_finite_gradients() -> None:
    names = tag_names(["PER"])
    crf = constrained_crf(names)
    emissions = (120 * torch.randn(8, 10, len(names))).requires_grad_()
    lengths = torch.full((8,), 10)
    loss = -crf.log_likelihood(emissions, crf.decode(torch.randn(8, 10, len(names)), lengths), lengths).sum()
    loss.backward()
    assert emissions.grad is not None
    assert torch.isfinite(emissions.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in crf.parameters())


def test_forbidden_transitions_have_no_mass() -> None:
    names = tag_names(["PER"])
    crf = constrained_crf(names)
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
