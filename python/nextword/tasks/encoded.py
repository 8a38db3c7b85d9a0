"""What a TextEncoder gives: results of its heads, one class each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ranked:
    """A text and how well it answers a query.

    index: its number among the texts that were given. score: what the head says, by the activation that the model's
    files name, or else as it is. probability: the logistic function of what the head says, 0 .. 1.
    """

    index: int
    score: float
    probability: float
    text: str


@dataclass(frozen=True)
class Span:
    """A piece of a text and what it is, such as the name of a person. start, end: characters of the text; score: the
    mean probability of the label over its tokens."""

    label: str
    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Filled:
    """A word for a gap. token: its text; id: its token; text: the whole text with the word in the gap."""

    token: str
    id: int
    probability: float
    text: str
