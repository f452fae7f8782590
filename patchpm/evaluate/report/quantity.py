"""What a metric is to a reader: its name in words, its unit, which way is better, and where on the page it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchpm.evaluate import metrics
from patchpm.evaluate.metrics import HEADLINES, METRICS, Better, Unit
from patchpm.evaluate.report.axis import Axis

THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
HARMS = ("harmfulness", "toxicity", "bias")
"""Sections of the page that are about what patches are for."""
SIDE_EFFECTS = "side effects"
SECTIONS = (*HARMS, SIDE_EFFECTS, "other measures")
"""In the order of the page."""

_SECTION_OF = {
    metrics.REFUSAL: "harmfulness",
    metrics.TOXICITY: "toxicity",
    metrics.STEREOTYPE: "bias",
    metrics.PRONOUNS: "bias",
    metrics.OVER_REFUSAL: SIDE_EFFECTS,
    metrics.CHOICE: SIDE_EFFECTS,
    metrics.PERPLEXITY: SIDE_EFFECTS,
}
_COUNTED = {
    metrics.STEREOTYPE: "sentence pairs",
    metrics.PRONOUNS: "occupations",
    metrics.CHOICE: "questions",
    metrics.PERPLEXITY: "tokens",
}
_LABELS = {
    "kl-to-base": "KL to base",
    "icat": "ICAT",
    "over-refusal-rate": "Over-refusal rate",
    "refusal-log-odds": "Refusal log-odds",
}
_OUTCOMES = {
    "refusal-rate": ("not refused", "refused"),
    "over-refusal-rate": ("not refused", "refused"),
}
_PLACES = {Unit.SHARE: 1, Unit.SCORE: 3, Unit.PERCENT: 1, Unit.NATS: 3, Unit.TOKENS: 1, Unit.RATIO: 1}
_BOUNDS: dict[Unit, tuple[float | None, float | None]] = {
    Unit.SHARE: (0, 1),
    Unit.SCORE: (0, 1),
    Unit.PERCENT: (0, 100),
    Unit.NATS: (None, None),
    Unit.TOKENS: (0, None),
    Unit.RATIO: (0, None),
}
_STEPS = {
    Unit.SHARE: f"{THIN}points",
    Unit.PERCENT: f"{THIN}points",
    Unit.TOKENS: f"{THIN}tokens",
    Unit.NATS: f"{THIN}nats",
}
"""What stands behind a difference."""
_SCALES = {
    Unit.SHARE: "share of all",
    Unit.SCORE: "score from 0 to 1",
    Unit.PERCENT: "0 to 100",
    Unit.NATS: "nats",
    Unit.TOKENS: "tokens",
    Unit.RATIO: "no unit",
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """How a metric is written."""

    name: str
    """As claims have it."""
    label: str
    unit: Unit | None
    """None where this version does not know it."""
    better: Better | None
    """None where nobody has said."""
    section: str
    """One of `SECTIONS`."""
    counted: str = "items"
    """What `n` counts."""
    says: str = ""
    """One line on what it is."""
    outcomes: tuple[str, str] | None = None
    """What a score of 0 and of 1 means for one reply, where it is one or the other."""

    @property
    def is_share(self) -> bool:
        """Whether the figure is a share of all items."""
        return self.unit is Unit.SHARE

    @property
    def scale(self) -> str:
        """What the axis counts, in words."""
        return _SCALES[self.unit] if self.unit else "unit not known"

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """What no figure can go below or above."""
        return _BOUNDS[self.unit] if self.unit else (None, None)

    @property
    def is_headline(self) -> bool:
        """Whether it says that a patch does what it is for."""
        return self.name in HEADLINES.values()

    def show(self, value: float) -> str:
        """A figure with its unit."""
        return self._number(value) + (f"{THIN}%" if self.is_share else "")

    def interval(self, low: float, high: float) -> str:
        """Both ends of an interval."""
        return f"{self._number(low)} to {self.show(high)}"

    def change(self, value: float) -> str:
        """A difference of two figures, with its sign."""
        return signed(self._number(value)) + (_STEPS.get(self.unit, "") if self.unit else "")

    def change_interval(self, low: float, high: float) -> str:
        """Both ends of the interval of a difference."""
        return f"{signed(self._number(low))} to {self.change(high)}"

    def mark(self, axis: Axis, value: float) -> str:
        """A figure at a mark of an axis, with as many decimals as the marks need."""
        if self.is_share:
            return f"{number(100 * value, max(0, axis.places - 2))}{THIN}%"
        return number(value, axis.places)

    def _number(self, value: float) -> str:
        return number(100 * value if self.is_share else value, _PLACES[self.unit] if self.unit else 3)


def quantity_of(name: str) -> Quantity:
    """The quantity of a metric; one that this version does not know is shown as it is, and judged neither way."""
    label = _LABELS.get(name, name.replace("-", " ").capitalize())
    known = next((metric for metric in METRICS if metric.name == name), None)
    if known is None:
        return Quantity(name, label, None, None, SECTIONS[-1], says="A metric that this version does not know")
    return Quantity(
        name,
        label,
        known.unit,
        known.better,
        _SECTION_OF.get(known.measure, SECTIONS[-1]),
        counted=_COUNTED.get(known.measure, "prompts"),
        says=known.says,
        outcomes=_OUTCOMES.get(name),
    )


def page_order(names: Sequence[str]) -> list[str]:
    """Names of metrics, each once: by section, then as the list of all metrics has them, then as they came."""
    known = [metric.name for metric in METRICS]

    def place(name: str) -> tuple[int, int]:
        return SECTIONS.index(quantity_of(name).section), known.index(name) if name in known else len(known)

    return sorted(dict.fromkeys(names), key=place)


def number(value: float, places: int) -> str:
    """A number with a fixed count of decimals, a true minus sign, and no negative zero."""
    text = f"{value:,.{places}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", MINUS)


def signed(text: str) -> str:
    """A written number with a plus sign, unless it is zero or negative."""
    return text if text.startswith(MINUS) or not text.strip("0.") else f"+{text}"
