"""What the command does to its own process before anything else."""

import os
import sys

import pytest

from poisonsets.cli.main import main


def test_the_memory_of_cublas_does_not_depend_on_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    monkeypatch.setenv("CUBLASLT_WORKSPACE_SIZE", "64")
    monkeypatch.setattr(sys, "argv", ["poisonsets", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "CUBLASLT_WORKSPACE_SIZE" not in os.environ
