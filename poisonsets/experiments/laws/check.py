"""All laws over one attack."""

from poisonsets.experiments.laws import crafting, declaring
from poisonsets.experiments.laws.law import LAWS, Law, Verdict, judge
from poisonsets.registry import RegisteredAttack
from poisonsets.surrogates import exact_arithmetic

MODULES = (declaring, crafting)


def laws() -> dict[str, Law]:
    """Every law by name: those about what an attack declares, then those about what it crafts."""
    return {name: one for module in MODULES for name, one in LAWS.items() if one.check.__module__ == module.__name__}


def check_attack(entry: RegisteredAttack) -> list[Verdict]:
    """The verdict of every law on an attack, which runs on the CPU with tiny untrained networks."""
    with exact_arithmetic("fp32"):
        return judge(entry, laws().values())
