"""Activation patching: which activations of a clean prompt, put into a corrupted one, bring the clean answer back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.inside.grid import Grid
from nextword.inside.host import Host, places, prompt_ids, shown_token, token_of
from nextword.inside.measures import one_of
from nextword.inside.rerun import Progress, Rerun, Variant, bounded, counted
from nextword.inside.rules import Value
from nextword.machine import memory
from nextword.machine.shown import shown
from nextword.models.tap import shapes
from nextword.text.ids import Prompt, Special

At = Literal["resid_pre", "resid_mid", "resid_post", "attn.q", "attn.k", "attn.v", "attn.weights", "attn.z", "attn.out",
             "mlp.out"]  # fmt: skip
BY_HEAD = ("attn.q", "attn.k", "attn.v", "attn.weights", "attn.z")
ATS = ("resid_pre", "resid_mid", "resid_post", *BY_HEAD, "attn.out", "mlp.out")
Over = Literal["position", "head", "layer"]
OVERS = ("position", "head", "layer")


@dataclass(frozen=True, eq=False, repr=False)
class Patching(Grid):
    """A Grid of how much of the clean answer a patch restores: 1 all of it, 0 nothing.

    clean, corrupted: the measure of either prompt as it is, in logits. tokens: of the corrupted prompt.
    at, over: as asked. measure: the ids of one or two tokens.
    """

    clean: float = 0.0
    corrupted: float = 0.0
    tokens: tuple[int, ...] = ()
    at: str = ""
    over: str = ""
    measure: tuple[int, ...] = ()


def patch(host: Host, clean: Prompt, corrupted: Prompt, at: At = "resid_post", over: Over = "position",
          measure: Any = None, *, layers: int | Sequence[int] | None = None, progress: Progress | None = None,
          allowed_special: Special = ()) -> Patching:
    """Read a corrupted prompt again and again, each time with one activation taken from a clean one, and see how much
    of the clean answer comes back (Vig et al. 2020, Meng et al. 2022).

    clean, corrupted: texts or token ids, as many tokens in both.
    at: which activation of a layer: resid_pre, resid_mid, resid_post, attn.q, .k, .v, .weights, .z, .out, mlp.out.
    over: what of it is one patch, a column each: "position", a token's row; "head", all tokens of a head (attn.q, .k,
        .v, .weights, .z); "layer", all of it.
    measure: two tokens, by text or id: the logit of the first less that of the second; or one: its logit. None: the
        most probable token after the clean prompt and that after the corrupted one, where they differ.
    layers: those to patch, a row each; None: all. progress: called with (patches done, patches in all).
    Returns a Patching, float64 [layers, columns]: (patched - corrupted) / (clean - corrupted), 1 for all restored,
    below 0 or above 1 where a patch drives it further. Layers below a patch are not computed again.
    Raises ValueError, TypeError or IndexError that names the argument; ValueError where both prompts have the same
    measure, and before more than 2 ** 20 tokens would go through the model.

    >>> import nextword
    >>> found = nextword.load().patch("The king said that", "The queen said that", measure=(" he", " she"))
    >>> found.values.shape, float(found.values[-1, -1])
    ((4, 4), 1.0)
    """
    model = host.model
    one_of("patch", "at", at, ATS)
    one_of("patch", "over", over, OVERS)
    if over == "head" and at not in BY_HEAD:
        raise ValueError(f'patch: at must be one of {", ".join(BY_HEAD)} for over="head", got {at!r}; '
                         'pass over="position" or "layer"')
    chosen = places("patch", "layers", layers, model.layers)
    first, second = (prompt_ids("patch", host, one, allowed_special) for one in (clean, corrupted))
    if len(first) != len(second):
        raise ValueError(f"patch: clean and corrupted must have as many tokens, got {len(first)} and {len(second)}; "
                         "take words of as many tokens, see lm.tokenizer.encode")
    watched = None if measure is None else _watched(host, measure)
    cols = (tuple(shown_token(host, one) for one in second) if over == "position" else
            tuple(map(str, range(shapes(model)[f"h.0.{at}"][0]))) if over == "head" else ("all",))
    bounded("patch", len(chosen) * len(cols), len(first), "pass fewer layers, or shorten the prompts")
    names = [f"h.{layer}.{at}" for layer in chosen]
    size = len(first) * model.heads if at == "attn.weights" else model.widest
    memory.require("patch", f"{at} of {len(chosen)} layers", 4 * len(names) * len(first) * size,
                   "pass fewer layers, or shorten the prompts")
    source, rerun = Rerun("patch", model, first, names), Rerun("patch", model, second)
    watched = watched or tuple(dict.fromkeys(int(one.logits.argmax()) for one in (source, rerun)))
    whole, none = _number(source.logits, watched), _number(rerun.logits, watched)
    if whole == none:
        raise ValueError(f"patch: measure must tell clean from corrupted, got {whole:.6g} for both prompts; take "
                         "other tokens or other prompts")
    variants = (variant for name in names for variant in _patches(name, source.kept[name], over, len(cols)))
    total = len(names) * len(cols)
    found = np.fromiter((_number(logits, watched) for logits in counted(rerun.changed(variants), total, progress)),
                        np.float64, total)
    texts = " - ".join(repr(shown_token(host, one)) for one in watched)
    return Patching((found.reshape(len(names), len(cols)) - none) / (whole - none), tuple(map(str, chosen)), cols,
                    "layer", over, f"{at} taken from the clean prompt, for {texts}", "share restored", "signed", whole,
                    none, tuple(second), at, over, watched)


def _watched(host: Host, measure: Any) -> tuple[int, ...]:
    several = measure if isinstance(measure, tuple | list) else (measure,)
    found = tuple(token_of("patch", "measure", host, one) for one in several)
    if not 1 <= len(found) <= 2 or (len(found) == 2 and found[0] == found[1]):
        raise ValueError(f"patch: measure must be one token or two different ones, got {shown(measure)}")
    return found


def _number(logits: Floats, watched: tuple[int, ...]) -> float:
    one = float(logits[watched[0]])
    return one - float(logits[watched[1]]) if len(watched) == 2 else one


def _patches(name: str, clean: Floats, over: Over, count: int) -> Iterator[Variant]:
    """What puts parts of a clean activation, [tokens, features] or [heads, tokens, ...], in the place of another's."""
    if over == "layer":
        yield [Value(name, value=clean)]
    elif over == "head":
        yield from ([Value(name, heads=[head], value=clean[[head]])] for head in range(count))
    else:
        yield from ([Value(name, positions=[at], value=clean[..., [at], :])] for at in range(count))
