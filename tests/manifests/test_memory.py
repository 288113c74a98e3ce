"""Freed memory is kept where glibc allows it, and nothing fails elsewhere."""

from __future__ import annotations

import ctypes
import platform

import pytest

from poisonsets.manifests.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_glibc_takes_both_thresholds() -> None:
    assert keep_freed_memory()


@pytest.mark.parametrize("failure", [OSError, TypeError])
def test_without_a_c_library_nothing_happens(monkeypatch: pytest.MonkeyPatch, failure: type[Exception]) -> None:
    def refuse(_name: None) -> None:
        raise failure

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert not keep_freed_memory()


def test_a_library_without_the_function_or_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    assert not keep_freed_memory()
