"""A package of somebody else's, as pip installs it: modules and metadata in a folder on the path."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def install(
    site: Path, patch: pytest.MonkeyPatch, top: str, modules: Mapping[str, str], points: Mapping[str, str]
) -> None:
    """Install version 1.5 of a package; what it is imported as is its name with dashes.

    Args:
        site: a folder to install into.
        patch: takes the package away again.
        top: the package's folder.
        modules: source by the module's name inside the package.
        points: by entry-point group the modules it offers, separated by spaces.
    """
    (site / top).mkdir(parents=True)
    (site / top / "__init__.py").write_text("")
    for name, source in modules.items():
        (site / top / f"{name}.py").write_text(source)
    metadata = site / f"{top}-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {top.replace('_', '-')}\nVersion: 1.5\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {top}.{name}\n" for name in names.split())
        for group, names in points.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups))
    patch.syspath_prepend(site)
    for module in [top, *(f"{top}.{name}" for name in modules)]:
        patch.delitem(sys.modules, module, raising=False)
