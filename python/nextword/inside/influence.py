"""How much each token of a prompt has to do with the next one: the prompt is read again without it. No gradients."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats
from nextword.inside.host import Host, prompt_ids, shown_token, token_of
from nextword.inside.measures import Measure, measured, one_of
from nextword.inside.pictures import Bars, Pictured
from nextword.inside.rerun import Progress, Rerun, bounded, counted
from nextword.inside.rules import Zero
from nextword.inside.shapley import Shapley, shapley
from nextword.inside.tables import number, visible
from nextword.machine.shown import is_integer, shown
from nextword.models.model import Model
from nextword.models.passes import CHUNK
from nextword.models.tap import NOBODY
from nextword.text.ids import Prompt, Special

Method = Literal["occlusion", "value_zeroing", "shapley"]
METHODS = ("occlusion", "value_zeroing", "shapley")


@dataclass(frozen=True, eq=False, repr=False)
class Influence(Pictured):
    """What each token of a prompt adds to the target.

    tokens, texts: of the prompt. values: float64 [tokens], in logits or nats; positive where the token speaks for the
    target. errors: float64 [tokens], the standard error of each value, 0 unless orders were drawn.
    target: the id of the token that was watched. measure: "logit" or "logprob". whole: the measure of the prompt as it
    is. evaluations: how often it was read with a change. exact: whether nothing was drawn at random. baseline: the id
    that stood for tokens taken away, None for value_zeroing.
    """

    tokens: tuple[int, ...]
    texts: tuple[str, ...]
    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    target: int
    target_text: str
    method: str
    measure: str
    whole: float
    evaluations: int
    exact: bool
    baseline: int | None

    def picture(self) -> Bars:
        """A bar for each token."""
        how = "" if self.exact else f"; drawn orders, standard error up to {number(self.errors.max())}"
        return Bars(self.texts, self.values.tolist(), f"what each token adds for {visible(self.target_text)}",
                    {"logit": "logit", "logprob": "log-probability, nats"}[self.measure], f"{self.method}{how}")

    def __repr__(self) -> str:
        most = int(np.abs(self.values).argmax())
        return (f"Influence({self.method} of {len(self.tokens)} tokens on {self.target_text!r}, most "
                f"{self.texts[most]!r}: {self.values[most]:.3g})")


def influence(host: Host, prompt: Prompt, method: Method = "occlusion", target: str | int | None = None, *,
              measure: Measure = "logprob", baseline: str | int | None = None, evaluations: int = 1024, seed: int = 0,
              progress: Progress | None = None, allowed_special: Special = ()) -> Influence:
    """The influence of each token of a prompt on how probable the target is as the next one.

    prompt: a text or token ids, one token at least, the context window at most.
    method: "occlusion" reads the prompt with one token replaced by the baseline (Zeiler and Fergus 2014; Li et al.
        2016); "value_zeroing" with its values set to 0 in all layers, so that nobody can read it while all attention
        stays (after Mohebbi et al. 2023, who do so layer by layer); both give the measure of the prompt as it is less
        that of the changed one. "shapley" replaces any number of tokens by the baseline, and gives each token the mean
        of what it adds to the others, so that all sum to the whole prompt less one of baselines only.
    target: the id or text of one token; None: the most probable next one.
    measure: "logprob", natural logarithm of the target's probability, or "logit".
    baseline: a token; None: the model's beginning token, or else its first end token.
    evaluations: how often "shapley" may read the prompt: all of the 2 ** tokens sets of tokens are tried if they are no
        more, else random orders drawn with `seed`, and `errors` says how far the values may be off.
    progress: called with (reads done, reads in all).
    Raises ValueError, TypeError or IndexError that names the argument, ValueError before more than 2 ** 20 tokens would
    have to be computed.

    >>> import nextword
    >>> found = nextword.load().influence("Once upon a time", "shapley")
    >>> found.exact, found.evaluations, found.values.shape
    (True, 32, (5,))
    """
    model = host.model
    one_of("influence", "method", method, METHODS)
    one_of("influence", "measure", measure, ("logit", "logprob"))
    ids = prompt_ids("influence", host, prompt, allowed_special)
    tokens = len(ids)
    watched = None if target is None else token_of("influence", "target", host, target)
    without = None if method == "value_zeroing" else _baseline(host, baseline)
    runs = tokens if method != "shapley" else _reads(tokens, evaluations)
    if not is_integer(seed) or seed < 0:
        raise ValueError(f"influence: seed must be an integer >= 0, got {shown(seed)}")
    bounded("influence", runs, tokens, "shorten the prompt, or lower evaluations")
    rerun = Rerun("influence", model, ids)
    watched = int(rerun.logits.argmax()) if watched is None else watched
    measure_of = measured(measure, watched, rerun.logits)
    whole = measure_of(rerun.logits)

    def numbers(changed: Iterable[Floats], total: int) -> Iterator[float]:
        return map(measure_of, counted(changed, total, progress))

    def with_some(games: Sequence[int]) -> Iterator[float]:
        """The measure of the prompt with some of its tokens; bit i says whether token i is there."""
        prompts = ([one if game >> i & 1 else without for i, one in enumerate(ids)] for game in games)
        return numbers(_logits(model, prompts), len(games))

    if method == "shapley":
        found = shapley(with_some, tokens, runs, int(seed))
    else:
        without_one = (with_some([2**tokens - 1 - (1 << i) for i in range(tokens)]) if method == "occlusion" else
                       numbers(rerun.changed(_unread(model.layers, i) for i in range(tokens)), tokens))
        found = Shapley(whole - np.fromiter(without_one, np.float64, tokens), np.zeros(tokens), tokens, True)
    return Influence(tuple(ids), tuple(shown_token(host, one) for one in ids), found.values, found.errors, watched,
                     shown_token(host, watched), method, measure, whole, found.evaluations, found.exact, without)


def _reads(tokens: int, evaluations: Any) -> int:
    """How often "shapley" reads the prompt, at most."""
    least = min(2 * tokens, 2**tokens)
    if not is_integer(evaluations) or evaluations < least:
        raise ValueError(f"influence: evaluations must be an integer of at least {least} for {tokens} tokens, "
                         f"got {shown(evaluations)}")
    return int(min(int(evaluations), 2**tokens))


def _unread(layers: int, position: int) -> list[Zero]:
    """Nothing of what a token offers is read, in any layer."""
    return [Zero(f"h.{layer}.attn.v", positions=[position]) for layer in range(layers)]


def _baseline(host: Host, given: str | int | None) -> int:
    if given is not None:
        return token_of("influence", "baseline", host, given)
    known = (host.model.begin_id, *host.model.end_ids)
    found = next((one for one in known if one is not None and one < host.model.vocabulary), None)
    if found is None:
        raise ValueError("influence: baseline must be a token, got None, and this model has neither a beginning token "
                         "nor an end token; give one that says little, such as that of a space")
    return found


def _logits(model: Model, prompts: Iterable[Sequence[Any]]) -> Iterator[Floats]:
    """float32 [vocabulary] behind each of some prompts of equal length, CHUNK tokens of them at once."""
    cache = None
    group: list[NDArray[np.int64]] = []
    for ids in prompts:
        group.append(np.array(ids, np.int64))
        count = max(1, CHUNK // len(ids))
        if len(group) == count:
            cache = model.cache(count, len(ids)) if cache is None else cache
            yield from _last(model, group, cache)
            group = []
    if group:
        yield from _last(model, group, model.cache(len(group), len(group[0])) if cache is None else cache)


def _last(model: Model, group: list[NDArray[np.int64]], cache: Any) -> Floats:
    cache.lengths[:] = 0
    ends = np.cumsum([len(ids) for ids in group])
    return model(group, cache, None, ends - 1, NOBODY)
