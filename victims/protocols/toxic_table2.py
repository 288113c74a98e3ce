"""Suite `toxic-table2`: four attacks' own settings, as the published benchmark repeats them before it compares.

Source: Schwarzschild et al. (2021), Tables 1 and 2, and for what they leave open the attacks' own papers and codes:
`alexnet-fc` is feature collision's victim, `resnet18` convex polytope's, `resnet32` that of clean-label backdoors
and `alexnet-htbd` that of hidden-trigger backdoors. Each victim is for sets of its attack.
"""

from dataclasses import replace
from typing import Final

from poisonsets.victims.protocols import Protocol, cifar10_finetune

SUITE: Final = (
    Protocol(
        "toxic-table2",
        "alexnet-fc",
        size=None,
        flip=False,
        composition="trial",
        training="end-to-end",
        head="kept",
        optimiser="adam",
        epochs=20,
        learning_rate="0.0001",
        lr_milestones=(),
        weight_decay="0",
        normalise="none",
        augment="none",
        pad=0,
    ),
    replace(cifar10_finetune.SUITE[0], suite="toxic-table2", training="frozen", learning_rate="0.1", weight_decay="0"),
    Protocol(
        "toxic-table2",
        "resnet32",
        size=None,
        flip=True,
        composition="trial",
        training="scratch",
        epochs=100,
        batch=50,
        learning_rate="0.1",
        lr_milestones=(40, 60),
        normalise="none",
    ),
    Protocol(
        "toxic-table2",
        "alexnet-htbd",
        size=None,
        flip=False,
        composition="trial",
        epochs=30,
        batch=256,
        learning_rate="0.001",
        lr_milestones=(10, 20),
        augment="none",
        pad=0,
    ),
)
