"""The methods of LanguageModel that look inside. Each delegates to the room `inside`, imported where it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nextword.text.ids import Prompt, Special
from nextword.text.no_vocabulary import tells_why

if TYPE_CHECKING:
    from nextword.inside.ablations import Ablations, Over
    from nextword.inside.change import Change, How
    from nextword.inside.heads import HeadScores, Kind
    from nextword.inside.influence import Influence, Method
    from nextword.inside.inside import Inside
    from nextword.inside.measures import Measure
    from nextword.inside.patch import At, Patching
    from nextword.inside.patch import Over as Part


class Looking:
    """What a LanguageModel can be asked about its inside."""

    @tells_why
    def inside(self, prompt: Prompt, interventions: Sequence[Any] = (), *, allowed_special: Special = ()) -> Inside:
        """One prompt on its way through the model: every activation by name, and views of them.

        prompt: a text or token ids, one token at least, the context window at most. interventions: rules that replace
        activations, see `nextword.inside.rules`. Returns a mapping name -> float32 array that computes on demand; see
        `nextword.inside.inside.Inside`. Raises ValueError, TypeError or IndexError that names the argument.

        >>> import nextword
        >>> x = nextword.load().inside("Once upon a time")
        >>> x["h.3.attn.weights"].shape, x.logits.shape
        ((4, 5, 5), (5, 4096))
        """
        from nextword.inside.inside import Inside

        return Inside(self, prompt, interventions, allowed_special=allowed_special)  # type: ignore[arg-type]

    @tells_why
    def ablate(self, prompt: Prompt, heads: Any = (), attentions: Any = (), mlps: Any = (), neurons: Any = (),
               positions: Any = None, how: How | Inside = "zero", *, allowed_special: Special = ()) -> Change:
        """What becomes of the next word when parts of the model are switched off; see `nextword.inside.change.ablate`.

        >>> import nextword
        >>> change = nextword.load().ablate("Once upon a time there was a little", heads=[(3, 2)])
        >>> change.movers(1)[0].text, round(change.logit(" girl"), 2)
        (' girl', 0.79)
        """
        from nextword.inside.change import ablate

        return ablate(self, prompt, heads, attentions, mlps, neurons, positions, how,  # type: ignore[arg-type]
                      allowed_special=allowed_special)

    @tells_why
    def ablations(self, prompt: Prompt, target: str | int | None = None, over: Over = "heads",
                  measure: Measure = "logit", **more: Any) -> Ablations:
        """What each head, layer or neuron does for the next word; see `nextword.inside.ablations.ablations`.

        >>> import nextword
        >>> nextword.load().ablations("Once upon a time there was a little", " girl").top_entries(1)[0][:2]
        ('3', '2')
        """
        from nextword.inside.ablations import ablations

        return ablations(self, prompt, target, over, measure, **more)  # type: ignore[arg-type]

    @tells_why
    def patch(self, clean: Prompt, corrupted: Prompt, at: At = "resid_post", over: Part = "position",
              measure: Any = None, **more: Any) -> Patching:
        """Which activations of a clean prompt bring its answer back in another; see `nextword.inside.patch.patch`.

        >>> import nextword
        >>> found = nextword.load().patch("The king said that", "The queen said that", measure=(" he", " she"))
        >>> float(found.values[-1, -1])  # all that the last token knows
        1.0
        """
        from nextword.inside.patch import patch

        return patch(self, clean, corrupted, at, over, measure, **more)  # type: ignore[arg-type]

    @tells_why
    def steer(self, prompt: Any, vectors: Mapping[str, Any], scale: float = 4.0, **settings: Any) -> Any:
        """Generate with vectors added to activations at each step; see `nextword.inside.steer.steer`.

        >>> import nextword
        >>> lm = nextword.load()
        >>> male = lm.inside(" king")["h.2.resid_post"][-1] - lm.inside(" queen")["h.2.resid_post"][-1]
        >>> prompt, vectors = "Once upon a time there was a little", {"h.2.resid_post": male}
        >>> [lm.steer(prompt, vectors, scale, max_new_tokens=5).text for scale in (0, 0.25)]
        [' girl who had a daughter', ' boy who had a son']
        """
        from nextword.inside.steer import steer

        return steer(self, prompt, vectors, scale, **settings)  # type: ignore[arg-type]

    @tells_why
    def heads(self, kind: Kind = "previous", text: Prompt | None = None, seed: int = 0) -> HeadScores:
        """How much each head looks where heads of a kind look; see `nextword.inside.heads.heads`.

        >>> import nextword
        >>> nextword.load().heads("induction").values.shape
        (4, 4)
        """
        from nextword.inside.heads import heads

        return heads(self, kind, text, seed)  # type: ignore[arg-type]

    @tells_why
    def influence(self, prompt: Prompt, method: Method = "occlusion", target: str | int | None = None,
                  **more: Any) -> Influence:
        """What each token of a prompt adds for the next one; see `nextword.inside.influence.influence`.

        >>> import nextword
        >>> found = nextword.load().influence("Once upon a time", "shapley")
        >>> found.exact, found.evaluations
        (True, 32)
        """
        from nextword.inside.influence import influence

        return influence(self, prompt, method, target, **more)  # type: ignore[arg-type]
