"""The page of an audit: the answer first, then what stands beside it, the pictures, the assumptions, what helps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from poisonsets.experiments import html
from poisonsets.experiments.audit import answer
from poisonsets.experiments.audit.chart import bar
from poisonsets.experiments.audit.plan import AIMED, AIMLESS, BACKDOOR, AuditPlan, PlannedSet
from poisonsets.experiments.audit.run import Measured, set_folder
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.sets.reader import OpenTrial, open_set
from poisonsets.manifests.verification.html_page import amplified
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.summary import Rate

PICTURED: Final = 3  # trials
WANTED: Final = "called what the attacker wanted"


@dataclass(frozen=True)
class Run:
    """How an audit was run: where its folder is, the command, seconds, and whether it went on with an earlier run."""

    work: Path
    command: str
    seconds: float
    resumed: bool


def page(plan: AuditPlan, measured: Sequence[Measured], run: Run) -> str:
    """An audit as one HTML page."""
    return html.page(f"Audit of {plan.base.name.removeprefix('folder:')}", _body(plan, measured, run))


def _body(plan: AuditPlan, measured: Sequence[Measured], run: Run) -> Iterator[str]:
    main = answer.headline(plan, measured)
    yield html.paragraph(answer.sentence(answer.claim(main)), "answer")
    yield html.paragraph(
        "In brackets: the 95 % interval of the rate (Wilson). The clean control is the same training on the same "
        "images without poisons; trials that share one ask it for each of their photographs.",
        "small",
    )
    yield "<h2>The same poisons against other victims</h2>"
    others = [one for one in measured if one.cell.poisoned == plan.headline and one is not main]
    yield html.items([answer.beside(one) for one in others], "beside")
    yield "<h2>By budget</h2>"
    yield _grid(plan, measured)
    yield "<h2>A visible trigger</h2>"
    yield from _backdoor(plan, measured)
    yield "<h2>What it looks like</h2>"
    yield from _pictures(plan, main, run.work)
    yield "<h2>What was assumed</h2>"
    yield html.items(_assumed(plan, main))
    yield "<h2>How to defend</h2>"
    yield html.items(_defences(measured))
    yield "<h2>How it was measured</h2>"
    yield from _measured(plan, main, run)


def _grid(plan: AuditPlan, measured: Sequence[Measured]) -> str:
    """A row a budget, a column an attack."""
    (images,) = {images for _, images in answer.headline(plan, measured).summary.poisons}
    rows = []
    for poisons in plan.poisons:
        for epsilon in plan.epsilons:
            found = [answer.result(measured, PlannedSet(attack, poisons, epsilon)) for attack in (AIMED, AIMLESS)]
            rows.append((f"{poisons} images, {epsilon}/255", *(_cell(one) for one in found)))
    caption = (
        f"Photographs {WANTED}, by how many of {images:,} images were changed and by how much, in 255ths. Circle and "
        "line: rate and 95 % interval; diamond: clean control; axis from 0 to 100 %."
    )
    return html.table(caption, ("changed", f"{AIMED}: aimed at one photograph", f"{AIMLESS}: no aim"), rows)


def _cell(found: Measured | None) -> str:
    if found is None:
        return "not run"
    rate = found.summary.poisoned
    return (
        f"<span>{html.text(answer.rate_in_words(rate))}</span>{bar(rate, found.summary.control)}"
        f'<span class="small">clean control {html.text(answer.control_in_words(found))}</span>'
    )


def _backdoor(plan: AuditPlan, measured: Sequence[Measured]) -> Iterator[str]:
    yield html.paragraph(
        "Some images of other classes get a small patch and the label the attacker wants, to teach the model to give "
        "that label to whatever shows the patch. It can be seen and the labels are wrong: no budget hides it, and a "
        "look at the images can find it."
    )
    rows = []
    for poisons in plan.poisons:
        found = answer.result(measured, PlannedSet(BACKDOOR, poisons, None))
        if found is not None:
            sources = _images(found.summary.sources), _images(found.summary.control_sources)
            rows.append((f"{poisons} images", _cell(found), *sources, html.text(_accuracy(found))))
    caption = f"Photographs with the patch on, {WANTED}: the one of each trial, and all test images of other classes."
    head = ("patched", "chosen photographs", "all test images", "the same of the clean control", "clean accuracy")
    yield html.table(caption, head, rows)


def _images(rate: Rate | None) -> str:
    return "none" if rate is None else html.text(answer.rate_in_words(rate))


def _accuracy(found: Measured) -> str:
    """Clean accuracy of victims, and of their controls."""
    clean, control = found.summary.clean, found.summary.control_clean
    beside = "" if control is None else f"; clean control {answer.percent(control[0] / control[1])} %"
    return f"{answer.percent(clean[0] / clean[1])} %{beside}"


def _pictures(plan: AuditPlan, main: Measured, work: Path) -> Iterator[str]:
    """The first trials by number, whatever came of them, then a poison with the patch."""
    opened = open_set(set_folder(work, main.cell.poisoned))
    yield html.paragraph(
        f"The first {min(PICTURED, len(main.rows))} trials by number, whatever came of them; of each the first poison."
    )
    for row in main.rows[:PICTURED]:
        yield f"<h3>{html.text(_told(row, plan.base))}</h3>"
        yield _pictured(opened.trial(row.trial), plan.base)
    backdoor = open_set(set_folder(work, next(one for one in plan.sets if one.attack == BACKDOOR))).trials[0]
    name = plan.base.classes[backdoor.record.adversarial_label]
    yield f"<h3>{html.text(f'{BACKDOOR}, trial {backdoor.number}: with the patch, a photograph shall be {name}')}</h3>"
    poisons, target = backdoor.poisons()[0], backdoor.target_images(plan.base)[0]
    yield _row(
        html.picture(poisons[0], f"poison, labelled {name}"), html.picture(target, "the photograph with the patch")
    )


def _told(row: Row, base: Base) -> str:
    target, names = row.targets[0], base.classes
    control = "" if target.predicted_control is None else f"; the clean control says {names[target.predicted_control]}"
    return (
        f"Trial {row.trial}: a {names[target.label]} that shall be {names[target.adversarial_label]} is called "
        f"{names[target.predicted_poisoned]}{control}"
    )


def _pictured(trial: OpenTrial, base: Base) -> str:
    """The photograph, and the first poison beside its base and their difference."""
    poison, index = trial.poisons()[0][0], trial.record.slots.bases[0]
    shown = [html.picture(trial.target_images(base)[0], "the chosen photograph")]
    if index is not None:
        difference, factor = amplified(poison, base.train.images[index])
        shown += [
            html.picture(base.train.images[index], "a training image"),
            html.picture(poison, "the same, poisoned"),
            html.picture(difference, f"their difference x {factor}, grey is none"),
        ]
    return _row(*shown)


def _row(*pictures: str) -> str:
    return f'<div class="pictures">{"".join(pictures)}</div>'


def _assumed(plan: AuditPlan, main: Measured) -> list[str]:
    base, network = plan.base, answer.called(plan.surrogate.network.spec.name)
    height, width = base.train.side
    views = "shifted and mirrored at random in every step" if plan.augment else "without augmentation"
    return [
        f"The images: {len(base.train.labels):,} to train on, {len(base.test.labels):,} held out, "
        f"{len(base.classes)} classes, all resized to {width}x{height} pixels. Another size is another experiment.",
        f"The attacker knows the network {network} with its weights, the photograph that shall be mistaken and the "
        f"label wanted, and can change images of that label; it does not see the other training images.",
        f"The attack is {AIMED}, {plan.steps} steps, {views}. Others, or more steps, may succeed more often.",
        f"The {plan.trials} trials (photograph, label wanted, images to change) were drawn from seed {plan.seed} "
        f"before anything was trained, and all are counted. They ask for {main.photographs} different photographs.",
        "Every poison stays within its budget in whole levels, read back from disk and verified before it was scored.",
        "One victim a trial. Victims trained from scratch, other networks and other learning rates were not tried.",
    ]


def _defences(measured: Sequence[Measured]) -> list[str]:
    """What helps: first what this audit measured, then what others published."""
    found = {one.cell.victims.kind: one for one in measured}
    advice = []
    if "unknown" in found:
        rate = answer.rate_in_words(found["unknown"].summary.poisoned)
        advice.append(f"Do not publish which pretrained network you build on. Measured here, unknown features: {rate}.")
    if "augmented" in found:
        rate = answer.rate_in_words(found["augmented"].summary.poisoned)
        advice.append(
            f"Train with augmentation. Measured here: {rate}. An attacker who expects it can augment too: "
            "repeat with --augment --steps 400."
        )
    return [
        *advice,
        "Know where each image comes from: keep hashes of what was collected, and let nobody change it afterwards.",
        "Look for images whose nearest neighbours in feature space have other labels, and leave them out before "
        "training (deep k-NN; Peri et al. 2020).",
        "Look at what each label's images have in common: a patch in one corner, the same text, the same source.",
        "Before release, ask the model about photographs that must not be mistaken, with and without small changes.",
    ]


def _measured(plan: AuditPlan, main: Measured, run: Run) -> Iterator[str]:
    went_on = " (it went on with an earlier run)" if run.resumed else ""
    yield f"<p><code>{html.text(run.command)}</code> took {run.seconds:.0f} seconds{went_on}.</p>"
    victims = {one.id: one for one in (cell.victims.protocol for cell in plan.cells)}
    rows = [
        ("poison set of the answer", f"<code>sets/{html.text(main.cell.poisoned.name)}</code> in the work folder"),
        ("its content digest", f"<code>{html.text(main.rows[0].content_digest)}</code>"),
        ("attacker's network", f"<code>{html.text(plan.surrogate.digest)}</code>"),
        ("victims", "<br>".join(f"<code>{html.text(name)}</code>" for name in victims)),
        ("clean accuracy of the answer's victims", html.text(_accuracy(main))),
    ]
    yield html.table("What lies on disk, to be checked with the commands verify and score.", ("what", "which"), rows)
    yield html.paragraph(
        f"The work folder {run.work.name}/ beside this page holds every set (sets/) and every row of results (rows/). "
        "The sets are poisoned data for research: keep them apart from data that anyone trains on."
    )
