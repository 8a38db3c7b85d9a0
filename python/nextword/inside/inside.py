"""Inside: one prompt on its way through a model; the views of it are in files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from typing import Any

from nextword.arithmetic.arrays import Floats
from nextword.inside.activations import KEEP, Activations
from nextword.inside.attention import Attention, HeadOutputs, head_outputs
from nextword.inside.attribution import BY, Attribution, By, attribution
from nextword.inside.cell import Cell, cell
from nextword.inside.host import Host, place, prompt_ids, shown_token, token_of
from nextword.inside.lens import Lens, lens, lens_logits
from nextword.inside.neurons import Neurons, neurons
from nextword.inside.pages import SHOWN_BY
from nextword.inside.tables import visible
from nextword.inside.weights import Weights
from nextword.machine.shown import shown
from nextword.text.ids import Prompt, Special


class Inside(Activations):
    """A prompt's activations, name -> float32 array, and the views of them; what `LanguageModel.inside` returns.

    tokens: its ids. texts: of each token. logits: float32 [tokens, vocabulary]. names: of all activations.
    """

    def __init__(self, host: Host, prompt: Prompt, interventions: Sequence[Any] = (), *, allowed_special: Special = (),
                 keep: int = KEEP) -> None:
        super().__init__(host.model, prompt_ids("inside", host, prompt, allowed_special), interventions, keep)
        self.host = host

    @property
    def tokens(self) -> list[int]:
        """The ids of the prompt."""
        return list(self.ids)

    @cached_property
    def texts(self) -> list[str]:
        """The text of each token."""
        return [shown_token(self.host, token) for token in self.ids]

    @property
    def logits(self) -> Floats:
        """Of every position: float32 [tokens, vocabulary]."""
        return self["logits"]

    @cached_property
    def _weights(self) -> Weights:
        return Weights(self.model)

    def lens(self, at: str = "resid_post", top: int = 5, positions: int | Sequence[int] | None = None,
             watch: str | int | None = None) -> Lens:
        """The most probable next tokens by what the stream holds after each layer.

        at: which activation of each layer is read, "resid_post", "resid_mid", "resid_pre", "attn.out", "mlp.out"; the
        last row is always the model's own, its logits are `x.logits` bit for bit. For "resid_post" the first row is
        what goes into the first layer. top: tokens of each place. positions: one, several or all (None). watch: a token
        whose rank and probability are told everywhere. Raises ValueError, TypeError or IndexError for a wrong argument.

        >>> import nextword
        >>> x = nextword.load().inside("Once upon a time")
        >>> x.lens(top=3, watch=" there").tokens.shape, x.lens(positions=-1).names[-1]
        ((5, 5, 3), 'h.3.resid_post')
        """
        return lens(self, self.host, self.texts, at, top, positions, watch)

    def lens_logits(self, layer: int = -1, at: str = "resid_post", position: int = -1) -> Floats:
        """All logits of one place of a lens: float32 [vocabulary]. layer: counts the rows of the lens, -1 the last.

        >>> import nextword
        >>> x = nextword.load().inside("Once upon a time")
        >>> (x.lens_logits() == x.logits[-1]).all().item()
        True
        """
        return lens_logits(self, layer, at, position)

    def attention(self, layer: int | None = None, head: int | None = None) -> Attention:
        """The attention of a layer and a head, or of all (None): weights, entropy, value_weighted(), rollout().

        >>> import nextword
        >>> one = nextword.load().inside("Once upon a time").attention(3, 2)
        >>> one.weights.shape, one.entropy[0].item() == 0
        ((5, 5), True)
        """
        return Attention(self, self.texts, layer, head)

    def head_outputs(self, layer: int) -> HeadOutputs:
        """What each head of a layer adds to the stream: float32 [heads, tokens, width].

        With the projection's bias their sum is `attn.out` within `.bound`, if no intervention replaces that.

        >>> import nextword
        >>> x = nextword.load().inside("Once upon a time")
        >>> heads = x.head_outputs(1)
        >>> (abs(heads.values.sum(0) + heads.bias - x["h.1.attn.out"]) <= heads.bound).all().item()
        True
        """
        return head_outputs(self, self._weights, layer)

    def attribution(self, token: str | int, against: str | int | None = None, position: int = -1,
                    by: By = "part") -> Attribution:
        """What each part of the model adds to a token's logit, or to its lead over another token (`against`).

        token, against: texts of one token, or ids. position: whose logits. by: "part": embeddings, attentions,
        feed-forward layers; "head": attentions by their heads; "neuron": feed-forward layers by their neurons;
        "source": attentions by the tokens that they take from. The scale of the last norm is taken as it is there.
        Biases are parts of their own, and so is, for weights in fewer bits, the rounding of what they multiply.
        Raises ValueError for a text of several tokens and for an unknown `by`, IndexError for a wrong position or id.

        >>> import nextword
        >>> x = nextword.load().inside("Once upon a time")
        >>> found = x.attribution(" there", by="head")
        >>> found.grid().shape, bool(abs(found.parts.sum() - found.logit) <= found.bound)
        ((4, 4), True)
        """
        if by not in BY:
            raise ValueError(f"attribution: by must be one of {', '.join(BY)}, got {shown(by)}")
        ids = [None if one is None else token_of("attribution", what, self.host, one)
               for what, one in (("token", token), ("against", against))]
        if ids[0] is None:
            raise TypeError("attribution: token must be the text of one token or its id, got None")
        said = " against ".join(visible(shown_token(self.host, one)) for one in ids if one is not None)
        at = place("attribution", "position", position, len(self.ids))
        return attribution(self, self._weights, ids[0], ids[1], at, by, self.texts, said)

    def neurons(self, layer: int, position: int = -1, top: int = 20) -> Neurons:
        """The neurons of a layer that write most at a position: their activations, and which tokens each promotes and
        suppresses.

        >>> import nextword
        >>> one = nextword.load().inside("Once upon a time").neurons(3, top=2)[0]
        >>> len(one.promoted), one.promoted[0][2] > 0 > one.suppressed[0][2]
        (5, True)
        """
        return neurons(self, self._weights, self.host, layer, position, top)

    def cell(self, name: str, index: Sequence[int] | int) -> Cell:
        """One number of an activation, or of a weight, with the formula and the numbers that it is made of.

        index: a place for each axis. Raises KeyError for an unknown name, TypeError or IndexError for a wrong index.

        >>> import nextword
        >>> one = nextword.load().inside("Once upon a time").cell("h.3.attn.scores", (2, 4, 1))
        >>> len(one.sources), abs(one.value - one.exact) <= one.bound
        (128, True)
        """
        return cell(self, self._weights, name, index)

    def html(self, path: str | PathLike[str] | None = None, *, lang: str | None = None) -> str | None:
        """The page of `nextword explain` with the numbers of this prompt, as one file that needs no network.

        path: where it is written; None returns it as text. lang: "de" or "en", None the browser's. Interventions are
        in it, too. Raises ValueError for a prompt that no text gives, and for interventions that are no rules with a
        name; OSError where it cannot be written.

        >>> import nextword
        >>> page = nextword.load().inside("Once upon a time").html(lang="en")
        >>> page[:15], "Once upon a time" in page
        ('<!doctype html>', True)
        """
        said: str | None = SHOWN_BY["html"](self, path, lang)
        return said

    def widget(self, height: int = 720, lang: str | None = None) -> Any:
        """The page of `nextword explain` in a notebook, whose calls the kernel answers: other prompts, interventions
        and words that follow are computed while one looks.

        height: in pixels, 200 .. 5000. lang: as for `html`. Needs anywidget (`pip install "nextword[notebook]"`), and
        raises ImportError with the way out without it; ValueError and TypeError as `html`.
        """
        return SHOWN_BY["widget"](self, height, lang)

    def __repr__(self) -> str:
        return f"Inside({len(self.ids)} tokens, {len(self)} activations: {''.join(self.texts)[:40]!r})"
