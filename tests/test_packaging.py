"""Packaging: the hand-kept list of packages is complete, and a wheel holds the package and nothing else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAPPED = ("cli", "manifests", "victims")


def listed() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])


def test_the_package_list_is_complete() -> None:
    wanted = set()
    for top, prefix in [(ROOT / "poisonsets", "poisonsets")] + [(ROOT / one, f"poisonsets.{one}") for one in MAPPED]:
        for file in top.rglob("*"):
            within = file.parent.relative_to(top).parts
            if not file.is_file() or "__pycache__" in file.parts or (top.name == "poisonsets" and within[:1] in LINKS):
                continue
            wanted.add(".".join((prefix, *within)))
    assert listed() == wanted


LINKS = [(name,) for name in MAPPED]


@pytest.mark.parametrize("name", MAPPED)
def test_a_root_folder_is_linked_into_the_package(name: str) -> None:
    link = ROOT / "poisonsets" / name
    if not (ROOT / ".git").exists() or not link.is_symlink():
        pytest.skip("an sdist, or a checkout without symbolic links")
    assert link.resolve() == ROOT / name
    assert not link.readlink().is_absolute()


@pytest.mark.parametrize("folder", ["", *MAPPED])
def test_every_module_is_imported_under_one_name(folder: str) -> None:
    module = f"poisonsets.{folder}".rstrip(".")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert (ROOT / (folder or "poisonsets") / "__init__.py").samefile(spec.origin)


def test_a_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    if importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("build") is None:
        pytest.skip("building a wheel without network needs the packages setuptools and build")
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("poisonsets", *MAPPED):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path / "out")]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"poisonsets"}
    packages = {name.rsplit("/", 1)[0].replace("/", ".") for name in names if name.endswith(".py")}
    assert packages == listed()
    for file in ("poisonsets/py.typed", "poisonsets/manifests/schema.json", "poisonsets/manifests/SPEC.md"):
        if file != "poisonsets/manifests/SPEC.md" or (ROOT / "manifests" / "SPEC.md").exists():
            assert names.count(file) == 1, file
    python = {name for name in names if name.endswith(".py")}
    on_disk = {str(Path("poisonsets", one.relative_to(ROOT))) for top in MAPPED for one in (ROOT / top).rglob("*.py")}
    assert {name for name in python if name.split("/")[1] in MAPPED} == on_disk
    assert not [name for name in names if "test" in name.lower()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("tests/benchmarks/bench.py", "-o", "bench.json", "no case is called so"),
        ("tests/benchmarks/device.py", "--device", "cpu", "--size", "tiny"),
    ],
    ids=["bench", "bench-device"],
)
def test_a_program_of_the_tests_finds_the_package_from_anywhere(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Beside tests/poisonsets, a folder of the same name that is no package."""
    script, *rest = command
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *rest],
        cwd=tmp_path,
        env=alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["reference", "device.measured", "equivalence"])
def test_what_is_run_with_the_tests_on_the_path_finds_the_package(module: str) -> None:
    """As the Makefile and the pages of results write it."""
    found = {**os.environ, "PYTHONPATH": ".:tests"}
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, env=found, check=True)
    assert "PYTHONPATH=.:tests $(BIN)/python tests/reference.py" in (ROOT / "Makefile").read_text()
