"""Looking images up: exactly the equal ones are found, also where sums collide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from poisonsets.manifests.verification.image_lookup import ImageLookup


@pytest.mark.parametrize("side", [(1, 1), (2, 3), (4, 8)])
@given(data=st.data())
def test_found_are_the_equal_ones(side: tuple[int, int], data: st.DataObject) -> None:
    few = arrays.arrays(np.uint8, (data.draw(st.integers(0, 8)), *side, 3), elements=st.integers(0, 1))
    images, others = data.draw(few), data.draw(few)
    here, there = ImageLookup(images), ImageLookup(others)
    equal = [[i for i, one in enumerate(images) if np.array_equal(one, other)] for other in others]
    assert [here.find(other) for other in others] == equal
    assert here.shared(there) == {j: found[0] for j, found in enumerate(equal) if found}
    firsts = [here.find(image)[0] for image in images]
    assert here.repeated() == {i: first for i, first in enumerate(firsts) if first != i}


def test_equal_sums_are_not_equal_images() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    turned = np.roll(image.reshape(1, -1), 8).reshape(image.shape)  # the same words in another order
    assert ImageLookup(image).sums == ImageLookup(turned).sums
    assert ImageLookup(image).find(turned[0]) == []
    assert ImageLookup(image).shared(ImageLookup(turned)) == {}
    assert ImageLookup(np.concatenate([image, turned])).repeated() == {}
