from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from plain_transfer import features_of, published_head, train_head, training_images
from torch import Tensor

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.overlay.compose import TrainingRows, compose
from poisonsets.manifests.records.trial import InPlace
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import Protocol, parse
from poisonsets.victims.trainers.linear_probe.draws import Draws, draw
from poisonsets.victims.trainers.victim_pair import victim_generator
from poisonsets.victims.training.views import apply_views, as_input, plain_view, view_count

PROTOCOL = parse("digits-transfer/convnet@composition=in-place,epochs=12,lr_milestones=9,batch=16,width=0.25,pad=2")
MIRRORED = replace(PROTOCOL, flip=True)


def draws_for(protocol: Protocol, rows: TrainingRows, features: int, seed: int = 0) -> Draws:
    return draw(protocol, victim_generator(seed, rows), rows=len(rows), features=features, classes=2)


@pytest.mark.parametrize("protocol", [PROTOCOL, MIRRORED], ids=["plain", "mirrored"])
def test_remembering_equals_forwarding_every_view_again(
    protocol: Protocol, tiny_base: Base, makers: Any, extractor: Weights
) -> None:
    trial = makers.trial(count=6)
    rows = compose(tiny_base.train.labels, trial.record, InPlace(), (2, 3))
    images = training_images(rows, tiny_base.train.images, trial.images)
    labels = torch.from_numpy(rows.label) - 2
    draws = draws_for(protocol, rows, extractor.network.feature_width)
    head = published_head(extractor.network, images, labels, draws, protocol)

    frozen = folded(extractor.network)
    caches = [
        FeatureCache(frozen, torch.from_numpy(pixels), pad=2, flip=protocol.flip)
        for pixels in (tiny_base.train.images, trial.images)
    ]
    ours = train_head(features_of(rows, *caches), labels, draws, protocol)
    test = as_input(torch.from_numpy(tiny_base.test.images))
    with torch.no_grad():
        wanted, found = head(extractor.network.features(test)), ours(frozen.features(test))
    assert (wanted - found).abs().max() < 1e-4 * wanted.abs().max()
    assert torch.equal(wanted.argmax(1), found.argmax(1))
    # Poisons are not simply ignored: the head without them is another one.
    control = TrainingRows(rows.base, np.full(len(rows), -1), rows.label)
    clean = train_head(features_of(control, caches[0], None), labels, draws, protocol)
    assert (clean.weight - ours.weight).abs().max() > 1e-4


class TestFeatureCache:
    def cache(self, base: Base, extractor: Weights, dtype: torch.dtype = torch.float32) -> FeatureCache:
        images = torch.from_numpy(base.train.images[:20])
        return FeatureCache(folded(extractor.network), images, pad=1, flip=True, dtype=dtype)

    def ask(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(4)
        count = 300
        return (
            torch.randint(20, (count,), generator=generator),
            torch.randint(view_count(1, flip=True), (count,), generator=generator),
        )

    def test_it_gives_the_features_of_the_view(self, tiny_base: Base, extractor: Weights) -> None:
        cache, (ids, views) = self.cache(tiny_base, extractor), self.ask()
        inputs = apply_views(cache.images[ids], views, 1, flip=True)
        torch.testing.assert_close(cache.get(ids, views), cache.network.features(inputs), rtol=1e-4, atol=1e-5)

    def test_what_was_asked_before_changes_no_bit(self, tiny_base: Base, extractor: Weights) -> None:
        ids, views = self.ask()
        at_once = self.cache(tiny_base, extractor).get(ids, views)
        piecemeal = self.cache(tiny_base, extractor)
        for i in reversed(range(0, 300, 7)):
            piecemeal.get(ids[i : i + 7], views[i : i + 7])
        assert torch.equal(piecemeal.get(ids, views), at_once)

    def test_nothing_is_computed_twice(self, tiny_base: Base, extractor: Weights) -> None:
        cache, (ids, views) = self.cache(tiny_base, extractor), self.ask()
        cache.get(ids, views)
        entries = len(set(zip(ids.tolist(), views.tolist(), strict=True)))
        assert entries <= cache.forwards < entries + cache.batch
        before = cache.forwards
        cache.get(ids.flip(0), views.flip(0))
        assert cache.forwards == before

    def test_every_forward_pass_has_one_batch_size(self, tiny_base: Base, extractor: Weights) -> None:
        cache, (ids, views) = self.cache(tiny_base, extractor), self.ask()
        sizes = set()
        cache.network.body.register_forward_hook(lambda _module, inputs, _out: sizes.add(len(inputs[0])))
        for count in (1, 70, 300):
            cache.get(ids[:count], views[:count])
        assert sizes == {cache.batch}

    def test_adopted_features_are_not_computed_again(self, tiny_base: Base, extractor: Weights) -> None:
        ids, views = self.ask()
        whole, lazy = self.cache(tiny_base, extractor), self.cache(tiny_base, extractor)
        adopted = torch.tensor([3, 4, 11])
        keys = (adopted[:, None] * whole.views + torch.arange(whole.views)).flatten()
        whole.adopt(adopted, whole.computed(keys))
        before = whole.forwards
        assert torch.equal(whole.get(ids, views), lazy.get(ids, views))
        others = {key for key in (ids * whole.views + views).tolist() if key // whole.views not in {3, 4, 11}}
        assert len(others) <= whole.forwards - before < len(others) + whole.batch
        assert len(whole.remembered) == len(others)

    @pytest.mark.parametrize("factor", [1e7, 1e-9, float("nan")])
    def test_what_half_precision_cannot_hold_is_refused(
        self, tiny_base: Base, extractor: Weights, factor: float
    ) -> None:
        hidden = extractor.network.body.get_submodule("hidden")
        hidden.weight.data *= factor
        hidden.bias.data *= factor
        coarse = self.cache(tiny_base, extractor, dtype=torch.float16)
        with pytest.raises(ViolationError, match=r"float16.*--feature-dtype fp32"):
            coarse.plain()
        self.cache(tiny_base, extractor).plain()

    def test_plain_is_the_test_transform(self, tiny_base: Base, extractor: Weights) -> None:
        cache = self.cache(tiny_base, extractor)
        wanted = cache.network.features(as_input(cache.images))
        torch.testing.assert_close(cache.plain(), wanted, rtol=1e-4, atol=1e-5)


class TestDraws:
    ROWS = TrainingRows(np.arange(50), np.full(50, -1), np.zeros(50, dtype=np.int64))

    def test_they_are_a_function_of_seed_and_rows(self) -> None:
        def flat(seed: int, rows: TrainingRows) -> Tensor:
            draws = draws_for(PROTOCOL, rows, 8, seed)
            return torch.cat([draws.weight.flatten(), draws.bias, draws.order.flatten(), draws.views.flatten()])

        other = TrainingRows(self.ROWS.base + 1, self.ROWS.slot, self.ROWS.label)
        assert torch.equal(flat(0, self.ROWS), flat(0, self.ROWS))
        assert not torch.equal(flat(0, self.ROWS), flat(1, self.ROWS))
        assert not torch.equal(flat(0, self.ROWS), flat(0, other))

    def test_every_epoch_sees_every_row_once_in_a_fresh_order(self) -> None:
        order = draws_for(PROTOCOL, self.ROWS, 8).order
        assert torch.equal(order.sort(dim=1).values, torch.arange(50).expand(12, 50))
        assert len({tuple(row) for row in order.tolist()}) == 12

    def test_views_cover_their_range(self) -> None:
        for protocol, count in ((PROTOCOL, 25), (MIRRORED, 50)):
            views = draws_for(protocol, self.ROWS, 8).views
            assert set(views.flatten().tolist()) == set(range(count))
            assert plain_view(2) in views

    def test_the_head_starts_uniform_within_its_bound(self) -> None:
        draws = draws_for(PROTOCOL, self.ROWS, 400)
        values = torch.cat([draws.weight.flatten(), draws.bias])
        assert values.abs().max() <= 0.05
        assert values.abs().max() > 0.049
        assert abs(float(values.mean())) < 0.005
        assert float(values.std()) == pytest.approx(0.05 / 3**0.5, rel=0.05)
