"""The codes of findings in imported files; `verify` judges the claims."""

from typing import Final

CODES: Final = {
    "D701": "Every file of a trial that is imported can be read.",
    "V701": "An imported trial has as many bases as poisons, all in the training split; differences name every base.",
    "V702": "With --setup: the setup has the trial, and the files' bases and target are its own.",
    "V703": "Poisons and targets have the size of the base's images, and the trigger fits them.",
    "V704": "Labels are classes of the base, and the files, --setup or --adversarial-label say which is adversarial.",
    "V705": "The files, --setup or --target say at least one target or source class, and each target has its place.",
    "H701": "The files name the base of every poison.",
    "H702": "The files hold poisons only, not a whole training set whose changed images are taken as the poisons.",
    "H703": "Every target is the test image that the files name, pixel for pixel, under a label and with its trigger.",
    "H704": "All values are whole levels from 0 to 255.",
    "H705": "perturbation_norms.pickle, if present, has one value per poison.",
}
