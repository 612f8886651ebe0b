"""How far to look: the span of a plane at which the model is half-way to guessing.

At a fixed span a sharp minimum is one bright cell on a plateau, and a flat one a grey square.
The mistake rate along the steeper axis is probed until the coordinate is known at which it is
half-way from the centre's to that of random prediction.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

Probe: TypeAlias = Callable[[int, float], float]
"""Mistake rate, a fraction, at a coordinate along one axis, the others at 0."""

SpanOutcome: TypeAlias = Literal["found", "flat", "steep", "at chance"]
"""Whether there is such a span, and if not, why."""

_DECADE = 10.0
_MOST_DECADES = 6
"""The search goes no further than this from where it began, in or out."""
_CLOSE = 1.34
"""The span is found when the two coordinates around it differ by this factor, as after three
halvings of a decade: the one between them is then within 16 %."""
_LEAST_RISE = 0.02
"""What the mistake rate must have left to rise to chance for half of that to be measurable on
some hundreds of examples."""
_PLEASANT = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
_Arm: TypeAlias = tuple[int, float]
"""An axis and the sign in which it is followed."""


@dataclass(frozen=True, slots=True)
class SpanProbe:
    """One point that was looked at."""

    axis: int
    coordinate: float
    mistake_rate: float


@dataclass(frozen=True, slots=True)
class SpanSearch:
    """A span, and how it was chosen."""

    span: float
    """The plane reaches from minus this to this along every axis."""
    outcome: SpanOutcome
    target: float
    """The mistake rate half-way from the centre to chance."""
    bracket: tuple[float, float] | None
    """Where it is found: mistakes are below the target at the first, not at the second. They
    differ by a third, or by more if the probes ran out."""
    probes: tuple[SpanProbe, ...]
    """In the order in which they were taken."""

    def describe(self) -> str:
        """Say in one sentence which span was chosen and why.

        Returns:
            A sentence without a full stop.
        """
        target = f"{100 * self.target:.0f} %"
        match self.outcome:
            case "found":
                low, high = self.bracket or (self.span, self.span)
                where = f"between {low:.2g} and {high:.2g}"
                why = f"mistakes reach {target}, half-way to chance, {where}"
            case "flat":
                why = f"the widest tried, mistakes stay below {target}"
            case "steep":
                why = f"the narrowest tried, mistakes are above {target} even there"
            case "at chance":
                return f"span {self.span:g} as given: the model is hardly better than chance"
            case _:
                assert_never(self.outcome)
        return f"span {self.span:g} after {len(self.probes)} probes: {why}"


def find_span(
    probe: Probe,
    *,
    centre: float,
    chance: float,
    dims: int,
    start: float,
    max_probes: int = 24,
) -> SpanSearch:
    """Find the span at which mistakes are half-way from the centre to chance.

    Both directions of every axis count; the steepest of the two or four arms decides. The span
    is multiplied by ten until some arm is half-way or beyond; that arm is followed inwards, by
    tens and then by halves on a logarithmic scale, and the others are looked at where it is
    just below. Mistakes are taken to rise outwards, so an arm that is below half-way is not
    looked at again further in; where they do not, the span found is one of several.

    Args:
        probe: Evaluates a point. A rate that is not finite counts as worse than chance.
        centre: Mistake rate of the model itself.
        chance: Mistake rate of random prediction.
        dims: Number of axes.
        start: Span at which to begin, positive.
        max_probes: How often `probe` may be called; 12 calls are usual for two axes, 8 for one.

    Returns:
        The span, one of 1, 1.5, 2, 3, 5 and 7 times a power of ten; `start` as it is where the
        model is no better than chance.

    Raises:
        ValueError: The search cannot begin: `start` is not positive and finite, or there are
            fewer probes than directions to look in.
    """
    if not (0 < start < math.inf) or dims < 1 or max_probes < 2 * dims:
        raise ValueError(
            "start is positive and finite, and two probes are needed for each of one axis or "
            f"more; got start={start!r}, dims={dims!r}, max_probes={max_probes!r}"
        )
    target = (centre + chance) / 2
    if not chance - centre >= _LEAST_RISE:
        return SpanSearch(start, "at chance", target, None, ())
    search = _Search(probe, target, dims, max_probes)
    search.run(start)
    low, high, probes = search.low, search.high, tuple(search.probes)
    if high is None:
        return SpanSearch(pleasant(low or start), "flat", target, None, probes)
    if low is None:
        return SpanSearch(pleasant(high), "steep", target, None, probes)
    span = pleasant(math.sqrt(low * high))
    return SpanSearch(span, "found", target, (low, high), probes)


def pleasant(value: float) -> float:
    """The nearest of 1, 1.5, 2, 3, 5 and 7 times a power of ten, by ratio.

    Args:
        value: A positive number.

    Returns:
        A number with one digit, or two.
    """
    power = math.floor(math.log10(value))
    mantissa = min(_PLEASANT, key=lambda m: abs(math.log(value / 10.0**power / m)))
    # By way of decimal text: 3 * 10.0**-2 is not 0.03.
    return float(f"{mantissa}e{power}")


class _OutOfProbesError(Exception):
    """No probe is left."""


class _Search:
    """The state of one search: what was probed, and what is known of the span."""

    def __init__(self, probe: Probe, target: float, dims: int, max_probes: int) -> None:
        self.probes: list[SpanProbe] = []
        self.low: float | None = None
        """The widest span known to be below half-way."""
        self.high: float | None = None
        """The narrowest known not to be."""
        self._probe = probe
        self._target = target
        self._max_probes = max_probes
        self._arms: list[_Arm] = [(axis, sign) for axis in range(dims) for sign in (1.0, -1.0)]

    def run(self, start: float) -> None:
        """Set `low` and `high` as closely as the probes allow."""
        # Out of probes, what is known by then is the answer.
        with contextlib.suppress(_OutOfProbesError):
            span, decade, inner = start, 0, None
            arm, others = self._first_above(span, self._arms)
            while arm is None and decade < _MOST_DECADES:
                decade += 1
                self.low = inner = span
                span = start * _DECADE**decade
                arm, others = self._first_above(span, self._arms)
            if arm is None:
                self.low = span
            # One arm is followed to where it crosses; then those not yet known to be below
            # there are looked at. One that is above crosses further in, and is followed.
            while arm is not None:
                self.low, self.high = inner, span
                self._follow(arm, start=span)
                if self.low is None:
                    return
                span = self.low
                arm, others = self._first_above(span, others)

    def _first_above(self, span: float, arms: list[_Arm]) -> tuple[_Arm | None, list[_Arm]]:
        """The first arm that is half-way or beyond at this span, and those after it.

        Arms before it stay below further in, as mistakes rise outwards. If none is above, the
        most promising come first the next time.
        """
        rates: dict[_Arm, float] = {}
        for number, arm in enumerate(arms):
            rates[arm] = self._rate(arm, span)
            if rates[arm] >= self._target:
                return arm, arms[number + 1 :]
        self._arms = sorted(self._arms, key=lambda arm: -rates.get(arm, 0.0))
        return None, []

    def _follow(self, arm: _Arm, start: float) -> None:
        """Close in on the coordinate at which one arm is half-way."""
        for decade in range(1, _MOST_DECADES + 1):
            if self.low is not None:
                break
            self._look(arm, start / _DECADE**decade)
        while self.low is not None and self.high is not None and self.high / self.low > _CLOSE:
            self._look(arm, math.sqrt(self.low * self.high))

    def _look(self, arm: _Arm, span: float) -> None:
        if self._rate(arm, span) >= self._target:
            self.high = span
        else:
            self.low = span

    def _rate(self, arm: _Arm, span: float) -> float:
        if len(self.probes) == self._max_probes:
            raise _OutOfProbesError
        axis, sign = arm
        found = self._probe(axis, sign * span)
        self.probes.append(SpanProbe(axis, sign * span, found))
        return found if math.isfinite(found) else math.inf
