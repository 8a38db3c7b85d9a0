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
from nextword.inside.shapley import is_exact, shapley
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
    is. evaluations: how often the prompt was read. exact: whether nothing was drawn at random. baseline: the id
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
    least = min(2 * tokens, 2**tokens)
    if not is_integer(evaluations) or evaluations < (least if method == "shapley" else 0):
        raise ValueError(f"influence: evaluations must be an integer of at least {least} for {tokens} tokens, "
                         f"got {shown(evaluations)}")
    if not is_integer(seed) or seed < 0:
        raise ValueError(f"influence: seed must be an integer >= 0, got {shown(seed)}")
    runs = tokens + 1 if method != "shapley" else 2**tokens if is_exact(tokens, evaluations) else evaluations
    bounded("influence", runs, tokens, "shorten the prompt, or lower evaluations")
    rerun = Rerun("influence", model, ids)
    watched = int(rerun.logits.argmax()) if target is None else token_of("influence", "target", host, target)
    measure_of = measured(measure, watched, rerun.logits)
    whole = measure_of(rerun.logits)
    without = None if method == "value_zeroing" else _baseline(host, baseline)
    errors, done, exact = np.zeros(tokens), runs, True
    if method == "shapley":
        def worth(games: list[int]) -> Iterator[float]:
            prompts = ([one if game >> i & 1 else without for i, one in enumerate(ids)] for game in games)
            return map(measure_of, counted(_logits(model, prompts), len(games), progress))

        values, errors, done, exact = shapley(worth, tokens, int(evaluations), int(seed))
    else:
        changed: Iterable[Floats]
        if method == "occlusion":
            changed = _logits(model, ([*ids[:i], without, *ids[i + 1 :]] for i in range(tokens)))
        else:
            changed = rerun.changed([Zero(f"h.{layer}.attn.v", positions=[i]) for layer in range(model.layers)]
                                    for i in range(tokens))
        values = np.array([whole - measure_of(logits) for logits in counted(changed, tokens, progress)])
    return Influence(tuple(ids), tuple(shown_token(host, one) for one in ids), values, errors, watched,
                     shown_token(host, watched), method, measure, whole, done, exact, without)


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
