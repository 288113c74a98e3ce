"""A rate with its interval as a small drawing, told apart by shape and not by colour."""

from typing import Final

from poisonsets.victims.results.summary import Rate

WIDTH: Final = 200
HEIGHT: Final = 32
LEFT: Final = 6  # of the axis, so that a mark at 0 is whole
AXIS: Final = WIDTH - 2 * LEFT


def bar(rate: Rate, control: Rate | None) -> str:
    """An SVG axis from 0 to 100 %: a filled circle on its interval, and the control's rate as an open diamond.

    The numbers stand in its label too, for those who do not see it.
    """
    share, low, high = rate.successes / rate.n, rate.interval.low, rate.interval.high
    label = f"{100 * share:.1f} % on an axis from 0 to 100 %, interval {100 * low:.1f} to {100 * high:.1f} %"
    parts = [
        f'<line x1="{_x(0)}" y1="24" x2="{_x(1)}" y2="24" stroke="#777"/>',
        *(f'<line x1="{_x(tick)}" y1="21" x2="{_x(tick)}" y2="27" stroke="#777"/>' for tick in (0, 0.5, 1)),
        f'<line x1="{_x(low)}" y1="10" x2="{_x(high)}" y2="10" stroke="#0b4f8a" stroke-width="3"/>',
        f'<circle cx="{_x(share)}" cy="10" r="5" fill="#0b4f8a"/>',
    ]
    if control is not None:
        clean = control.successes / control.n
        label += f", clean control {100 * clean:.1f} %"
        at = _x(clean)
        parts.append(f'<path d="M {at} 18 l 5 6 l -5 6 l -5 -6 z" fill="#fff" stroke="#1a1a1a" stroke-width="1.5"/>')
    drawn = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{drawn}</svg>'


def _x(share: float) -> str:
    return f"{LEFT + AXIS * share:.1f}"
