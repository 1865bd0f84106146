from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from aedetect import losses
from aedetect.networks import ACTIVATIONS


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 6, generator=generator), torch.rand(4, 6, generator=generator)


def test_mse_is_the_squared_distance(pair):
    x_hat, x = pair
    expected = torch.linalg.vector_norm(x_hat - x, dim=1) ** 2
    torch.testing.assert_close(losses.reconstruction_loss(x_hat, x, "mse"), expected)


def test_bce_is_the_bernoulli_likelihood_of_the_logits(pair):
    logits, x = pair
    x = x.round()
    expected = -Bernoulli(logits=logits).log_prob(x).sum(dim=1)
    torch.testing.assert_close(losses.reconstruction_loss(logits, x, "bce"), expected)


def test_huber_is_the_squared_error_inside_its_bend_and_linear_outside():
    x_hat = torch.tensor([[0.5], [-3.0], [-4.0]])
    huber = losses.reconstruction_loss(x_hat, torch.zeros(3, 1), "huber")
    assert huber[0] == 0.25
    assert huber[2] - huber[1] == 2.0


def test_negative_log_likelihood_of_mse_is_that_of_a_unit_gaussian(pair):
    x_hat, x = pair
    difference = losses.negative_log_likelihood(x_hat, x, "mse") + Normal(x_hat, 1.0).log_prob(
        x
    ).sum(dim=1)
    torch.testing.assert_close(difference, difference[0].expand(4))  # one constant


def test_kl_is_the_closed_form_and_zero_for_the_prior():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(4, 3, generator=generator)
    log_var = torch.randn(4, 3, generator=generator)
    posterior = Normal(mean, (0.5 * log_var).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(losses.kl_divergence(mean, log_var), expected)
    assert losses.kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0


@pytest.mark.parametrize("row_loss", [losses.reconstruction_loss, losses.observed_loss])
@pytest.mark.parametrize("loss", losses.FEATURE_ERRORS)
def test_losses_give_one_value_a_row_of_each_member(pair, loss, row_loss):
    x_hat, x = pair
    assert row_loss(x_hat, x, loss).shape == (4,)
    members = torch.stack([x_hat, x_hat + 1, 2 * x_hat])
    expected = torch.stack([row_loss(rows, x, loss) for rows in members])
    torch.testing.assert_close(row_loss(members, x[None], loss), expected)
    torch.testing.assert_close(row_loss(members, x.expand(3, -1, -1), loss), expected)


def test_l1_activity_is_the_sum_of_absolute_codes(pair):
    torch.testing.assert_close(losses.l1_activity(pair[0]), pair[0].abs().sum(dim=1))
    assert losses.l1_activity(torch.ones(3, 4, 2)).tolist() == [[2.0] * 4] * 3


def jacobian_norms(encode, x):
    """Return the squared Frobenius norm of the Jacobian of each row, by brute force."""
    return torch.stack([torch.func.jacrev(encode)(row).square().sum() for row in x])


@pytest.mark.parametrize("activation", losses.DERIVATIVES)
def test_jacobian_of_one_layer_is_exact(pair, activation):
    layer = torch.nn.Sequential(torch.nn.Linear(6, 3), ACTIVATIONS[activation]())
    exact = losses.jacobian_of_layer(layer(pair[0]), layer[0].weight, activation)
    torch.testing.assert_close(exact, jacobian_norms(layer, pair[0]))
    several = layer[0].weight.expand(2, -1, -1), layer(pair[0]).expand(2, -1, -1)
    both = losses.jacobian_of_layer(several[1], several[0], activation)
    torch.testing.assert_close(both, exact.expand(2, -1))


def test_jacobian_estimate_is_unbiased_and_trains_the_encoder(pair):
    layer = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    generator = torch.Generator().manual_seed(0)
    x = pair[0].repeat(5000, 1).requires_grad_()
    estimate = losses.jacobian_estimate(layer(x), x, generator).view(5000, 4)
    expected = jacobian_norms(layer, pair[0])
    torch.testing.assert_close(estimate.mean(dim=0), expected, rtol=0.05, atol=0)
    estimate.sum().backward()
    assert layer[0].weight.grad.abs().sum() > 0
