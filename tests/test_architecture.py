"""The one direction of imports, and what no module may do: read from the syntax trees, then tried in new processes."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from forge import small_set

from poisonsets.manifests.bases.cache import open_base

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "poisonsets" / "__main__.py"  # starts the command line, so it stands above every folder
FOLDERS = {"manifests": "manifests", "victims": "victims", "poisonsets": "crafting", "cli": "cli"}
# The way of the data, ground up: an entry may import those before it. Loose modules stand below the first folder.
# `publishing`, `defences` and `comparison` are not built yet; their places are kept.
STATIONS: dict[str, tuple[str, ...]] = {
    "manifests": (
        *("files", "records", "bases", "overlay", "trials", "sets", "training_sets", "verification", "interop"),
        "publishing",
    ),
    "victims": (
        *("networks", "protocols", "training", "features", "defences", "trainers", "results", "scoring"),
        "comparison",
    ),
    "poisonsets": ("methods", "attacks", "triggers", "crafting", "presets", "experiments", "door"),
    "cli": ("commands",),
    "manifests/files": ("pickles",),
    "manifests/interop": ("formats", "importing", "exporting"),
    "manifests/verification": ("checks",),
    "victims/trainers": ("linear_probe", "whole_network", "own"),
}
HEAVY = {"torch", "torchvision", "timm", "webdataset", "sklearn", "scipy", "numpy", "h5py", "PIL"}
# zone: what may be imported when the module is loaded, and what more inside a function
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "manifests": ({"numpy", "h5py", "pydantic", "PIL", "manifests"}, {"webdataset", "sklearn", "scipy"}),
    "victims": (
        {"numpy", "torch", "torchvision", "scipy", "pydantic", "manifests", "victims"},
        {"PIL", "timm"},
    ),
    "crafting": ({"numpy", "torch", "pydantic", "manifests", "crafting", "root"}, {"PIL", "scipy"}),
    "cli": ({"typer", "pydantic", "rich", "manifests", "cli", "door", "root"}, HEAVY | {"crafting", "victims"}),
}
LIGHT = {"errors", "limits", "spelling", "plugins", "files.canonical_json", "files.store"}


@dataclass(frozen=True)
class Import:
    """One imported module: where, and whether it is loaded with the module, in a function, or for types alone."""

    name: str
    line: int
    when: str

    @property
    def zone(self) -> str:
        parts = self.name.split(".")
        if parts[0] != "poisonsets":
            return "stdlib" if parts[0] in sys.stdlib_module_names else parts[0]
        if len(parts) == 1 or parts[1] == "__version__":
            return "root"
        return parts[1] if parts[1] in ("manifests", "victims", "cli", "door") else "crafting"


@cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    """Every module of the four folders, by its path from the root."""
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != PROGRAM)
    return tuple((str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in paths)


def uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each function that is called by name, and each dotted name, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, node.func.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, ast.unparse(node)


def imports(tree: ast.Module) -> Iterator[Import]:
    def walk(node: ast.AST, when: str) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, when) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.module, f"line {child.lineno}: a relative import"
                assert child.level == 0, f"line {child.lineno}: a relative import"
                yield from (Import(f"{child.module}.{alias.name}", child.lineno, when) for alias in child.names)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield from walk(child, "function")
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from walk(child, "types")
            else:
                yield from walk(child, when)

    return walk(tree, "module")


@cache
def arrows() -> dict[str, set[str]]:
    """For each module, by its path from the root without suffix, the modules of ours that it imports anywhere."""
    known = {path.removesuffix(".py").removesuffix("/__init__") for path, _ in trees()}

    def home(name: str) -> str | None:
        inside = name.removeprefix("poisonsets.").replace(".", "/")
        return next((one for one in (inside, f"poisonsets/{inside}") if one in known), None)

    found: dict[str, set[str]] = {}
    for path, tree in trees():
        here = path.removesuffix(".py").removesuffix("/__init__")
        # The package names its door for type checkers alone; it is loaded by name, when it is used.
        face = path == "poisonsets/__init__.py"
        names = [one.name for one in imports(tree) if one.name.startswith("poisonsets.") and not face]
        homes = {home(name) or home(name.rpartition(".")[0]) for name in names}
        found[here] = {one for one in homes if one is not None and one != here}
    return found


def station(folder: str, path: str) -> str:
    """The entry of a folder that a path below it lies in."""
    return path.removeprefix(f"{folder}/").split("/")[0]


@pytest.mark.parametrize("folder", STATIONS)
def test_a_folder_imports_only_stations_before_it(folder: str) -> None:
    order = STATIONS[folder]
    faults = []
    for here, there in ((here, there) for here, homes in arrows().items() for there in homes):
        if here.startswith(f"{folder}/") and there.startswith(f"{folder}/"):
            one, other = station(folder, here), station(folder, there)
            # Inside a folder, a loose module may stand above its subfolders: the test for circles judges those.
            if one in order and other in order and order.index(other) > order.index(one):
                faults.append(f"{here} imports {there}")
    assert not faults


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_is_a_known_station(folder: str) -> None:
    found = {station(folder, path) for path, _ in trees() if path.startswith(f"{folder}/")}
    assert {name for name in found if not name.endswith(".py")} <= set(STATIONS[folder])


def test_no_two_modules_import_each_other_by_any_way() -> None:
    sorter = TopologicalSorter(arrows())
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_no_two_stations_import_each_other_by_any_way() -> None:
    """Files are folded into the entry of the folder they share: then, too, there must be no circle."""
    folders = {path.rpartition("/")[0] for path, _ in trees()} | {""}
    for folder in sorted(folders):
        prefix = f"{folder}/" if folder else ""
        graph: dict[str, set[str]] = {}
        for here, homes in arrows().items():
            if here.startswith(prefix):
                one = here.removeprefix(prefix).split("/")[0]
                others = {there.removeprefix(prefix).split("/")[0] for there in homes if there.startswith(prefix)}
                graph.setdefault(one, set()).update(others - {one})
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(f"a circle in {folder or 'the root'}: {' -> '.join(error.args[1])}")


def test_imports_go_one_way() -> None:
    faults = []
    for path, tree in trees():
        at_load, in_functions = ALLOWED[FOLDERS[path.split("/")[0]]]
        for one in imports(tree):
            allowed = at_load if one.when == "module" else at_load | in_functions
            if path == "poisonsets/surrogates.py" or path.startswith("poisonsets/experiments/"):
                allowed = allowed | {"victims"}
            if path == "poisonsets/__init__.py" or path.startswith("poisonsets/door/"):
                allowed = allowed | {"victims", "door"}
            if path == "poisonsets/door/frames.py" or (path.startswith("poisonsets/door/") and one.when == "types"):
                allowed = allowed | {"pandas"}
            if one.zone not in allowed | {"stdlib"}:
                faults.append(f"{path}:{one.line} imports {one.name} ({one.when})")
    assert not faults


def light(name: str) -> bool:
    inside = name.removeprefix("poisonsets.manifests.")
    return any(inside == one or inside.startswith(f"{one}.") for one in LIGHT)


def test_the_command_line_loads_only_light_modules_of_the_contract() -> None:
    faults = []
    for path, tree in trees():
        for one in imports(tree) if path.startswith("cli/") else ():
            if one.when == "module" and one.zone == "manifests" and not light(one.name):
                faults.append(f"{path}:{one.line} loads {one.name} for every --help")
    assert not faults


def test_only_the_command_line_prints_exits_and_reads_the_environment() -> None:
    forbidden = {"print", "input", "exit", "quit", "sys.exit", "os.environ", "os.getenv", "sys.stdout", "sys.stderr"}
    faults = [
        f"{path}:{line} uses {name}"
        for path, tree in trees()
        if not path.startswith("cli/") and path != "poisonsets/door/cache.py"
        for line, name in uses(tree)
        if name in forbidden
    ]
    assert not faults


def test_nothing_can_run_what_it_reads() -> None:
    modules = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    banned = {"torch.load", "torch.hub.load", "eval", "exec", "compile", "__import__", "os.system", "os.popen"}
    faults = []
    for path, tree in trees():
        faults += [
            f"{path}:{one.line} imports {one.name}" for one in imports(tree) if one.name.split(".")[0] in modules
        ]
        faults += [f"{path}:{line} uses {name}" for line, name in uses(tree) if name in banned]
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and ast.unparse(node) in ("shell=True", "allow_pickle=True"):
                faults.append(f"{path}:{node.value.lineno} has {ast.unparse(node)}")
    assert not faults


def test_no_gradient_is_one_that_differs_from_run_to_run_on_a_gpu() -> None:
    """Sampling and enlarging add atomically in their backward passes; pictures of triggers are not differentiated."""
    allowed = {("poisonsets/triggers/pictures.py", "interpolate")}
    banned = {"grid_sample", "interpolate", "upsample", "affine_grid"}
    found = {
        (path, name.rpartition(".")[2])
        for path, tree in trees()
        for name in [*(name for _, name in uses(tree)), *(one.name for one in imports(tree))]
        if name.rpartition(".")[2].lower() in banned
    }
    assert found == allowed


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or first.lineno) - first.lineno + 1


def test_no_function_is_longer_than_sixty_lines() -> None:
    functions = [(path, node) for path, tree in trees() for node in ast.walk(tree)]
    faults = [
        f"{path}:{node.lineno} {node.name} has {body_lines(node)} lines"
        for path, node in functions
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > 60
    ]
    assert not faults


@pytest.mark.parametrize(("folder", "most"), [("manifests", 17), ("victims", 13), ("poisonsets", 14)])
def test_a_folder_shows_few_entries(folder: str, most: int) -> None:
    """What a newcomer sees first; data files and the three links do not count."""
    assert len({station(folder, path) for path, _ in trees() if path.startswith(f"{folder}/")}) <= most


def test_a_file_is_short_and_its_docstring_begins_with_a_promise() -> None:
    faults = []
    for path, tree in trees():
        lines = len((ROOT / path).read_text().splitlines())
        if lines > 300:
            faults.append(f"{path} has {lines} lines")
        if not (ast.get_docstring(tree) or "").strip():
            faults.append(f"{path} has no docstring")
    assert not faults


def test_every_attack_cites_its_source_and_says_what_differs() -> None:
    from poisonsets import attacks

    for entry in attacks.attacks().values():
        text = " ".join((entry.factory.__doc__ or "").split())
        assert "What differs" in text, entry.name
        if not entry.source.startswith("none: "):
            author, year = entry.source.split()[0], re.findall(r"[0-9]{4}", entry.source)[0]
            assert {author, year} <= set(re.findall(r"\w+", text)), entry.name


BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in BLOCKED or name.split(".")[0] in BLOCKED:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocker())
"""


def python(code: str, *, blocked: Iterable[str] = (), cache: Path | None = None) -> str:
    """What a new interpreter prints, with some modules blocked from import."""
    environment = dict(os.environ, **({"POISONSETS_CACHE": str(cache)} if cache else {}))
    command = [sys.executable, "-c", f"BLOCKED = {set(blocked)!r}\n{BLOCKER}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_verify_needs_no_torch(tmp_path: Path, cache: Path) -> None:
    made = small_set(tmp_path / "set", open_base("digits", cache=cache))
    code = f"from poisonsets.cli.main import run\nassert run(['verify', {str(made)!r}]) == 0"
    assert "every claim that bytes can prove holds" in python(code, blocked={"torch", "torchvision"}, cache=cache)


@pytest.mark.parametrize("command", [("craft", "noise"), ("train", "--net", "convnet")])
def test_a_base_that_cannot_be_opened_costs_no_torch(tmp_path: Path, command: tuple[str, ...]) -> None:
    for name, code in (("nosuch", 2), ("cifar10", 4)):
        words = [*command, "--base", name, "-o", "new"]
        checked = f"from poisonsets.cli.main import run\nassert run({words!r}) == {code}"
        python(checked, blocked={"torch", "torchvision"}, cache=tmp_path)


def test_victims_need_nothing_of_crafting() -> None:
    mine = [
        path for path in (ROOT / "poisonsets").iterdir() if path.suffix == ".py" or path.name in STATIONS["poisonsets"]
    ]
    crafting = {f"poisonsets.{path.stem}" for path in mine} - {"poisonsets.__init__"}
    code = """
import importlib, pkgutil
import poisonsets.victims
names = [m.name for m in pkgutil.walk_packages(poisonsets.victims.__path__, "poisonsets.victims.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    assert int(python(code, blocked=crafting)) > 15


def test_lists_of_attacks_and_triggers_load_no_torch() -> None:
    loaded = "print(sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    listed = "from poisonsets.attacks import attacks, find\nfind('FC')\n[one.defaults() for one in attacks().values()]"
    assert python(f"{listed}\n{loaded}") == "[]\n"
    kinds = "from poisonsets.triggers import kinds\n[kind.options({}) for kind in kinds().values()]"
    assert python(f"{kinds}\nimport poisonsets.presets\npoisonsets.presets.tables()", blocked={"torch"}) == ""


def test_help_and_the_package_load_nothing_heavy() -> None:
    loaded = f"print(sorted({HEAVY | {'safetensors'}!r} & set(sys.modules)))"
    assert python(f"import poisonsets\n{loaded}") == "[]\n"
    helped = python(f"from poisonsets.cli.main import run\nassert run(['craft', '--help']) == 0\n{loaded}")
    assert helped.splitlines()[-1] == "[]"
