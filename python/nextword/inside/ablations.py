"""What each head, layer or neuron does for the next word: all of them switched off, one at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nextword.inside.change import How, neurons_of, off
from nextword.inside.grid import Grid
from nextword.inside.host import Host, places, prompt_ids, shown_token, token_of
from nextword.inside.measures import MEASURES, Measure, measured, one_of
from nextword.inside.pictures import Scale
from nextword.inside.rerun import Progress, Rerun, Variant, bounded, counted
from nextword.text.ids import Prompt, Special

Over = Literal["heads", "layers", "neurons"]
OVERS = ("heads", "layers", "neurons")


@dataclass(frozen=True, eq=False, repr=False)
class Ablations(Grid):
    """A Grid of what changes when a part is off; before: the measure of the prompt as it is, 0 for "kl".

    tokens: of the prompt. target: the id of the token that was watched; target_text: its text. measure, over: as asked.
    """

    tokens: tuple[int, ...] = ()
    target: int = 0
    target_text: str = ""
    measure: str = "logit"
    over: str = "heads"
    before: float = 0.0


def ablations(host: Host, prompt: Prompt, target: str | int | None = None, over: Over = "heads",
              measure: Measure = "logit", *, layers: int | Sequence[int] | None = None, how: How = "zero",
              progress: Progress | None = None, allowed_special: Special = ()) -> Ablations:
    """Switch off every head, every layer's two parts, or every neuron, one at a time, and see what becomes of a token.

    prompt: a text or token ids, one token at least, the context window at most.
    target: the id or text of one token, watched as the next one; None: the most probable.
    over: "heads", a column each; "layers", the columns attention and mlp; "neurons" of the feed-forward layers.
    measure: what an entry is: the change of the target's "logit" or "logprob" (nats), after less before, or "kl", the
        divergence of the new distribution from the old one in nats, whatever the target.
    layers: those to scan, a row each; None: all. how: "zero", or "mean", the mean over the prompt's positions.
    progress: called with (parts done, parts in all).
    Returns an Ablations, float64 [layers, columns]; each entry has the bits that `ablate` gives for this part alone.
    The layers below a part are not computed again, and parts of a layer go through the model together.
    Raises ValueError, TypeError or IndexError that names the argument, ValueError before more than 2 ** 20 tokens would
    go through the model.

    >>> import nextword
    >>> found = nextword.load().ablations("Once upon a time there was a little", " girl")
    >>> found.values.shape, found.top_entries(1)[0][:2]
    ((4, 4), ('3', '2'))
    """
    found = scan(host, prompt, target, over, measure, layers=layers, how=how, allowed_special=allowed_special)
    watched, shape = found.target, (len(found.layers), len(found.cols))
    total = shape[0] * shape[1]
    values = np.fromiter(counted(found.changes, total, progress), np.float64, total)
    unit = {"logit": "change of the logit", "logprob": "change of the log-probability, nats", "kl": "KL, nats"}[measure]
    of = "" if measure == "kl" else f" for {shown_token(host, watched)!r}"
    top = {"heads": "head", "layers": "part", "neurons": "neuron"}[over]
    scale: Scale = "amount" if measure == "kl" else "signed"
    return Ablations(
        values.reshape(shape), tuple(map(str, found.layers)), found.cols, "layer", top, f"{over} switched off{of}",
        unit, scale, found.tokens, watched, shown_token(host, watched), measure, over, found.before)


class Scan(NamedTuple):
    """A scan that goes on as one takes its changes: one number for each layer and column, row by row.

    tokens: of the prompt. target: the token that is watched. before: its measure. layers, cols: the parts that are off.
    """

    tokens: tuple[int, ...]
    target: int
    before: float
    layers: list[int]
    cols: tuple[str, ...]
    changes: Iterator[float]


def scan(host: Host, prompt: Prompt, target: str | int | None = None, over: Over = "heads", measure: Measure = "logit",
         *, layers: int | Sequence[int] | None = None, how: How = "zero", allowed_special: Special = ()) -> Scan:
    """What `ablations` gives, as a Scan. Takes and raises the same."""
    model = host.model
    one_of("ablations", "over", over, OVERS)
    one_of("ablations", "measure", measure, MEASURES)
    one_of("ablations", "how", how, ("zero", "mean"))
    chosen = places("ablations", "layers", layers, model.layers)
    ids = prompt_ids("ablations", host, prompt, allowed_special)
    watched = None if target is None else token_of("ablations", "target", host, target)
    cols = (("attention", "mlp") if over == "layers" else
            tuple(map(str, range(model.heads if over == "heads" else neurons_of(model)))))
    bounded("ablations", len(chosen) * len(cols), len(ids), "pass fewer layers, or shorten the prompt")
    rerun = Rerun("ablations", model, ids)
    watched = int(rerun.logits.argmax()) if watched is None else watched
    number = measured(measure, watched, rerun.logits)
    before = number(rerun.logits)
    changed = rerun.changed(variant for layer in chosen for variant in _parts(over, len(cols), how, layer))
    return Scan(tuple(ids), watched, before, list(chosen), cols, (number(logits) - before for logits in changed))


def _parts(over: Over, count: int, how: How, layer: int) -> Iterator[Variant]:
    """What is off, one part of a layer after the other."""
    if over == "layers":
        yield [off("ablations", f"h.{layer}.attn.out", how)]
        yield [off("ablations", f"h.{layer}.mlp.out", how)]
    elif over == "heads":
        yield from ([off("ablations", f"h.{layer}.attn.z", how, heads=[head])] for head in range(count))
    else:
        yield from ([off("ablations", f"h.{layer}.mlp.act", how, columns=[neuron])] for neuron in range(count))
