from __future__ import annotations

import pytest
import torch

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks import Classifier, build, names
from poisonsets.victims.networks.classifier import Body
from poisonsets.victims.networks.dropout import dropping, random_bits
from poisonsets.victims.networks.fold import folded

HALF = ("0.5", "0.5", "0.5")
IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def images_of(built: Classifier) -> torch.Tensor:
    side = max(16, built.body.smallest)
    return torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(1))


def network(name: str) -> Classifier:
    return build(name, 5, "0.125", HALF, HALF, generator=torch.Generator().manual_seed(3)).eval()


def dropped(built: Classifier, rate: float, seed: int = 0) -> torch.Tensor:
    with torch.no_grad(), dropping(built, rate, torch.Generator().manual_seed(seed)):
        return built.features(images_of(built))


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("frozen", [False, True])
def test_the_generator_alone_decides_what_is_dropped(name: str, frozen: bool) -> None:
    built = folded(network(name)) if frozen else network(name)
    state = torch.get_rng_state()
    plain, first, again, other = (
        built.features(images_of(built)),
        dropped(built, 0.3),
        dropped(built, 0.3),
        dropped(built, 0.3, 1),
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, plain)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(built.features(images_of(built)), plain), "a hook was left behind"


def test_every_pass_draws_new_masks() -> None:
    built = network("convnet")
    with dropping(built, 0.5, torch.Generator().manual_seed(0)):
        assert not torch.equal(built.features(IMAGES), built.features(IMAGES))


@pytest.mark.parametrize("name", names())
def test_the_share_of_each_output_is_dropped_and_the_rest_scaled(name: str) -> None:
    built = network(name)
    assert isinstance(built.body, Body)
    first = built.body.outputs()[0]
    seen: list[torch.Tensor] = []
    kept = first.register_forward_hook(lambda _module, _inputs, out: seen.append(out.detach()))
    built.features(images_of(built))
    kept.remove()
    with dropping(built, 0.25, torch.Generator().manual_seed(0)):
        # Registered later, so that it sees what dropping made of the same values.
        kept = first.register_forward_hook(lambda _module, _inputs, out: seen.append(out.detach()))
        built.features(images_of(built))
        kept.remove()
    plain, masked = seen
    alive = plain > 0
    gone = (masked[alive] == 0).double().mean()
    assert abs(float(gone) - 0.25) < 5 * (0.25 * 0.75 / int(alive.sum())) ** 0.5
    survivors = masked != 0
    torch.testing.assert_close(masked[survivors], plain[survivors] / 0.75)


def test_rate_0_changes_nothing_and_draws_nothing() -> None:
    built, generator = network("resnet18"), torch.Generator().manual_seed(0)
    state = generator.get_state()
    with dropping(built, 0, generator):
        assert torch.equal(built.features(IMAGES), network("resnet18").features(IMAGES))
    assert torch.equal(generator.get_state(), state)


def test_gradients_flow_through_what_is_kept() -> None:
    built, leaf = network("convnet"), IMAGES.clone().requires_grad_()
    with dropping(built, 0.5, torch.Generator().manual_seed(0)):
        built.features(leaf).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().sum() > 0


def test_hooks_go_when_the_block_fails() -> None:
    built = network("convnet")
    plain = built.features(IMAGES)
    with pytest.raises(KeyError), dropping(built, 0.5, torch.Generator()):
        raise KeyError
    assert torch.equal(built.features(IMAGES), plain)


@pytest.mark.parametrize("rate", [-0.1, 1, float("nan")])
def test_rates_out_of_range_are_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="dropout"), dropping(network("convnet"), rate, torch.Generator()):
        pass


def test_a_body_without_outputs_is_refused() -> None:
    built = network("convnet")
    built.body = Body()
    with pytest.raises(UsageError, match="names no outputs"), dropping(built, 0.5, torch.Generator()):
        pass


def hashed(count: int, first: int, second: int) -> list[int]:
    """The bits of so many values with two keys, in plain Python."""
    found = []
    for place in range(count):
        value = (place + first) % 2**32
        value = ((value ^ value >> 16) * 0x7FEB352D + second) % 2**32
        value = (value ^ value >> 15) * 0x846CA68B % 2**32
        value ^= value >> 16
        found.append(value - 2**32 * (value >= 2**31))
    return found


def test_bits_are_those_of_the_hash() -> None:
    """Of a count that is no multiple of what is mixed at a time."""
    count = 2**17 + 5
    found = random_bits(torch.Size([count]), torch.Generator().manual_seed(4), torch.device("cpu")).tolist()
    keys = torch.randint(-(2**31), 2**31, (2,), generator=torch.Generator().manual_seed(4)).tolist()
    assert found[:1000] == hashed(1000, *keys)
    assert found == hashed(count, *keys)


def test_bits_look_random() -> None:
    """Shares, neighbours, rows of images and two draws, each within five standard deviations."""
    generator, side = torch.Generator().manual_seed(0), 512
    for rate in (0.02, 0.25, 0.5):
        one, other = (
            random_bits(torch.Size([side, side]), generator, torch.device("cpu")) < round(rate * 2**32) - 2**31
            for _draw in range(2)
        )
        apart = 5 * (rate * (1 - rate) / one.numel()) ** 0.5
        assert abs(float(one.double().mean()) - rate) < apart
        both = 5 * (rate**2 * (1 - rate**2) / one.numel()) ** 0.5
        for shift in ((0, 1), (1, 0), (0, 2), (0, 16), (16, 0), (128, 0)):
            together = one & one.roll(shift, (0, 1))
            assert abs(float(together.double().mean()) - rate**2) < both
        for pair in (one & other, one & other.roll(1, 1), one & other.roll(1, 0)):
            assert abs(float(pair.double().mean()) - rate**2) < both
