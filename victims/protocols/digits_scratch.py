"""Suite `digits-scratch`: a victim from scratch that one CPU core trains in seconds, on scikit-learn's digits.

It is not published. It has the images of `digits-transfer` and the epochs of the base's default pretrainings.
"""

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = (
    Protocol(
        "digits-scratch",
        "convnet",
        size=500,
        flip=False,
        training="scratch",
        epochs=30,
        batch=32,
        learning_rate="0.05",
        lr_milestones=(20,),
    ),
)
