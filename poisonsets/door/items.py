"""What has a length, an order and places: sets of trials, reports of findings, results of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar, overload

Item = TypeVar("Item")


class Items(ABC, Generic[Item]):
    """`len`, iteration, indexing and slices go over the items."""

    @abstractmethod
    def _items(self) -> tuple[Item, ...]:
        """The items in their order."""

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items())

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, place: int | slice) -> Item | tuple[Item, ...]:
        return self._items()[place]
