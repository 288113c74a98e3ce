"""`poisonsets audit`: from a folder of photographs to a sentence with an interval, and one page."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.cli.devices import computing_on
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_budget, in_networks, in_output, in_settings, in_trials, in_what
from poisonsets.door.cache import cache_folder
from poisonsets.manifests import limits
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import store

if TYPE_CHECKING:
    from poisonsets.experiments.audit.plan import AuditPlan
    from poisonsets.experiments.audit.run import Measured
    from poisonsets.manifests.bases.dataset import Base

PAGE = Path("audit.html")
SURROGATE, EXTRACTOR = Path("efficientnet-lite0"), Path("efficientnet-lite1")


def audit(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Photographs: a folder a class, or train/CLASS/ and test/CLASS/.")],
    epsilon: Annotated[
        Sequence[int],
        in_budget(
            parser=options.amounts("--epsilon", 255),
            metavar="LEVELS",
            help="The l-infinity budgets in levels of 255: 4,8,16.",
        ),
    ] = (4, 8, 16),
    poisons: Annotated[
        Sequence[int],
        in_budget(
            parser=options.amounts("--poisons", limits.SLOTS_PER_TRIAL),
            metavar="NUMBERS",
            help="Poisons a trial: 10,25.",
        ),
    ] = (25,),
    trials: Annotated[int, in_trials(min=1, max=1000, help="Photographs to attack, one a trial.")] = 20,
    seed: Annotated[int, in_trials(min=0, max=2**53, help="Seed of the trials and of the attacks.")] = 0,
    holdout: Annotated[
        str, in_what(metavar="SHARE", help="Share of the images to hold out, where there is no test/: 1/5.")
    ] = "1/5",
    resize: Annotated[int, in_what(min=1, help="Resize the images to N x N.")] = 64,
    steps: Annotated[int, in_settings(min=1, max=100_000, help="Steps of bullseye-polytope.")] = 100,
    augment: Annotated[
        bool,
        in_settings("--augment", help="The attacker shifts and mirrors the poisons in every step; use more steps."),
    ] = False,
    finetune: Annotated[
        bool, in_settings("--finetune", help="Also train whole networks on the answer's set; takes hours on a CPU.")
    ] = False,
    surrogate: Annotated[
        Path,
        in_networks(
            autocompletion=names("weights"),
            help="The attacker's network, from which victims start: a name of `poisonsets weights list`, or a file.",
        ),
    ] = SURROGATE,
    extractor: Annotated[
        Path | None,
        in_networks(
            autocompletion=names("weights"),
            help=f"A network that the attacker does not know, for one cell. Default: {EXTRACTOR}, or none beside "
            "another surrogate.",
        ),
    ] = None,
    workers: options.Workers = 2,
    resume: options.Resume = False,
    device: options.Devices = "auto",
    page: Annotated[
        Path,
        in_output(
            "-o", "--output", help="The page, a new .html file. Sets and rows lie in the folder of its name beside it."
        ),
    ] = PAGE,
    fail_over: Annotated[
        Fraction | None,
        in_output(
            parser=options.share("--fail-over"),
            metavar="SHARE",
            help="Exit 1 where the rate in the page's first sentence is above this share: 1/5, 0.2 or 20%.",
        ),
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """How vulnerable is a model trained on these photographs? Poisons some, trains victims, writes one page.

    In a copy of the images it crafts bullseye-polytope, noise and patch-backdoor sets, verifies each, and trains
    victims beside clean controls. With audit.html as the page, sets lie in audit/sets/ and rows of results in
    audit/rows/; with --resume whatever is complete there is kept.
    """
    work = _work(page, resume=resume)
    _refuse_unusable(folder)

    from poisonsets.door.networks import read_network
    from poisonsets.experiments.audit import answer, estimate
    from poisonsets.experiments.audit.document import document
    from poisonsets.experiments.audit.page import Run
    from poisonsets.experiments.audit.page import page as written
    from poisonsets.experiments.audit.plan import AuditPlan
    from poisonsets.experiments.audit.run import run_audit

    where = computing_on(device)
    unknown = EXTRACTOR if extractor is None and surrogate == SURROGATE else extractor
    networks = read_network(surrogate), None if unknown is None else read_network(unknown)
    plan = AuditPlan(
        _base(folder, holdout, resize, quiet=quiet),
        *networks,
        epsilon,
        poisons,
        trials=trials,
        steps=steps,
        augment=augment,
        finetune=finetune,
        seed=seed,
    )
    duration = estimate.seconds(plan, estimate.measure(plan, where[0]), workers)
    output.note(_announcement(plan, estimate.in_words(duration)), quiet=quiet)
    started = time.perf_counter()
    measured = run_audit(
        plan,
        work,
        cache=cache_folder(),
        devices=where,
        workers=workers,
        resume=resume,
        stage=partial(output.progress, quiet=quiet),
    )
    seconds = time.perf_counter() - started
    run = Run(work, shlex.join(["poisonsets", *context.obj]), seconds, resume)
    store.write_file(page, written(plan, measured, run).encode())
    if as_json:
        output.document(document(plan, measured, work, page, seconds))
    else:
        _tell(plan, measured, page, work)
    rate = answer.headline(plan, measured).summary.poisoned
    if fail_over is not None and rate.successes > fail_over * rate.n:
        output.note(f"{rate.successes} of {rate.n} is above --fail-over {fail_over}")
        raise typer.Exit(1)


def _work(page: Path, *, resume: bool) -> Path:
    """The folder of sets and rows beside the page; neither may be there yet, unless the audit goes on.

    Raises:
        UsageError: the page is not called like one.
        MissingError: page or folder is there already, or cannot be made.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{page}: not the name of a page", f"Add `-o {shlex.quote(f'{page}.html')}`")
    work = page.with_suffix("")
    store.refuse_unwritable(page)
    if not resume:
        store.refuse_existing(page)
        store.refuse_nonempty(work, "Go on with --resume or choose another page")
    store.refuse_unwritable(work / "sets")
    return work


def _refuse_unusable(folder: Path) -> None:
    """Refuse a folder without two folders of images, from its listing alone.

    Raises:
        MissingError: there is no such folder.
        UsageError: it has fewer than two classes.
    """
    from poisonsets.manifests.bases.kinds.folder import class_counts

    counts = class_counts(folder)
    if len(counts) < 2:
        named = ", ".join(counts) or "none"
        raise UsageError(
            f"{folder}: {len(counts)} folders with images ({named}); an attack needs two classes",
            "Lay the images out as FOLDER/CLASS/NAME.jpg, a folder a class",
        )


def _base(folder: Path, holdout: str, resize: int, *, quiet: bool) -> Base:
    """The photographs as a base, read anew: they may have changed since they were last."""
    from dataclasses import replace

    from poisonsets.manifests.bases.build import has_test
    from poisonsets.manifests.bases.cache import add_base
    from poisonsets.manifests.bases.spec import parse_spec

    spec = parse_spec("folder", source=folder, holdout=holdout, resize=resize)
    if has_test(spec):
        spec = replace(spec, holdout=None)
    with output.progress(f"reading {folder}", quiet=quiet) as report:
        return add_base(spec, cache=cache_folder(), progress=report)


def _announcement(plan: AuditPlan, duration: str) -> str:
    base = plan.base
    return (
        f"{len(base.train.labels):,} training images of {len(base.classes)} classes, {len(plan.sets)} poison sets of "
        f"{plan.trials} trials, {len(plan.cells)} rates: {duration} on this machine"
    )


def _tell(plan: AuditPlan, measured: Sequence[Measured], page: Path, work: Path) -> None:
    from poisonsets.experiments.audit import answer

    main = answer.headline(plan, measured)
    print(answer.sentence(answer.claim(main)))
    for one in measured:
        if one.cell.poisoned == plan.headline and one is not main:
            print(f"  {answer.beside(one)}")
    print(f"{page}: the whole answer; sets and rows are in {work}/")
