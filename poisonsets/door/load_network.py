"""`poisonsets.load_network`: a network from a weights file or from the command line's cache."""

from pathlib import Path

from poisonsets.door.errors import speaks_python
from poisonsets.door.networks import read_network
from poisonsets.victims.networks.weights import Weights


@speaks_python
def load_network(name: str | Path) -> Weights:
    """Load a network with its weights.

    Args:
        name: a weights file, or a name of `poisonsets weights list`; `NAME@input=96` enlarges images to that side.

    Returns:
        the weights; `.network` is the torch module, which takes float32 [N, 3, H, W] in 0..1.

    Raises:
        UsageError: the input size is out of range.
        MissingError: there is no such file or name.
        DamagedError: it is no file of weights.
    """
    return read_network(Path(name))
