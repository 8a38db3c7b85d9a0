"""The methods of LanguageModel that look inside. Each delegates to the room `inside`, imported where it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats
from nextword.arithmetic.vectors import Similarity
from nextword.text.ids import Prompt, Special
from nextword.text.no_vocabulary import tells_why

if TYPE_CHECKING:
    from nextword.inside.ablations import Ablations, Over
    from nextword.inside.aliases import Aliases
    from nextword.inside.change import Change, How
    from nextword.inside.compare import Probe
    from nextword.inside.heads import HeadScores, Kind
    from nextword.inside.influence import Influence, Method
    from nextword.inside.inside import Inside
    from nextword.inside.measures import Measure
    from nextword.inside.patch import At, Patching
    from nextword.inside.patch import Over as Part
    from nextword.inside.plane import Axes
    from nextword.inside.pull import Pull
    from nextword.inside.word_map import WordMap
    from nextword.inside.words import Neighbours, Word


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
    def embedding(self, word: Word) -> Floats:
        """A word's embedding, the vector by which it enters the model, without its position: float32 [width].

        word: the text of one token, or its id; or the ids of several, whose embeddings are averaged.
        Raises ValueError for a text of several tokens, and says which; TypeError or IndexError for what is no token.

        >>> import nextword
        >>> lm = nextword.load()
        >>> king, queen = lm.embedding(" king"), lm.embedding(" queen")
        >>> king.shape, round(float(nextword.similarity(king, queen)), 2)
        ((256,), 0.69)
        """
        from nextword.inside.words import embedding

        return embedding(self, word)  # type: ignore[arg-type]

    @tells_why
    def neighbours(self, word: Word | NDArray[np.floating[Any]], count: int = 10, exclude: bool = True,
                   kind: Similarity = "cosine") -> Neighbours:
        """The tokens whose embeddings are most similar to a word's, or to a vector: float [width].

        word: as for `embedding`. exclude: leaves out the word itself. kind: see `nextword.similarity`.
        Raises ValueError, TypeError or IndexError that names the argument.

        >>> import nextword
        >>> nextword.load().neighbours(" king", 3).texts
        [' queen', ' emperor', ' prince']
        """
        from nextword.inside.words import neighbours

        return neighbours(self, word, count, exclude, kind)  # type: ignore[arg-type]

    @tells_why
    def analogy(self, start: Word, minus: Word, plus: Word, count: int = 10, exclude: bool = True,
                kind: Similarity = "cosine") -> Neighbours:
        """The tokens whose embeddings are most similar to start - minus + plus (Mikolov et al. 2013).

        exclude: leaves out the three words; the first of them is as a rule the nearest, as the sum has not moved far
        from it. Others as for `neighbours`.

        >>> import nextword
        >>> lm = nextword.load()
        >>> [(text, round(near, 3)) for text, near in lm.analogy(" king", " man", " woman", count=1)]
        [(' queen', 0.667)]
        >>> lm.analogy(" king", " man", " woman", exclude=False).texts[:2]
        [' king', ' queen']
        """
        from nextword.inside.words import analogy

        return analogy(self, start, minus, plus, count, exclude, kind)  # type: ignore[arg-type]

    @tells_why
    def word_map(self, words: Sequence[Word], axes: Axes = None) -> WordMap:
        """The embeddings of words on a plane, as data with a picture.

        words: at least two. axes: None takes the two directions in which the words differ most (principal components);
        a pair of words an axis from the second to the first, as [(" queen", " king")]; one or two such pairs.
        Raises ValueError, TypeError or IndexError that names the argument.

        >>> import nextword
        >>> lm = nextword.load()
        >>> found = lm.word_map([" king", " queen", " man", " woman"], axes=[(" queen", " king")])
        >>> found.points.shape, bool(found.points[1, 0] > found.points[0, 0])
        ((4, 2), True)
        """
        from nextword.inside.word_map import word_map

        return word_map(self, words, axes)  # type: ignore[arg-type]

    @tells_why
    def pull(self, word: Word, contexts: Sequence[Prompt], towards: Sequence[Word], axes: Axes = None) -> Pull:
        """Where contexts pull a word: the cosine of its vector, before the first layer and after each, and words.

        word: a text that stands in each context, the last time it does; its vector is that at its last token. With
        contexts of ids, a word as for `embedding`. towards: words as for `embedding`. axes: of the plane on which the
        way through the layers is drawn, as for `word_map`.
        A word sees only what stands before it: "an apple phone" pulls "apple" no more than "an apple" does, but
        "an apple phone, an apple" may. Raises ValueError, TypeError or IndexError that names the argument.

        >>> import nextword
        >>> lm = nextword.load()
        >>> found = lm.pull("ring", ["a golden ring", "I heard the bell ring"], towards=[" gold", " voice"])
        >>> found.cosines.shape, found.path.shape, found.names[-1]
        ((2, 5, 2), (2, 5, 2), 'h.3.resid_post')
        """
        from nextword.inside.pull import pull

        return pull(self, word, contexts, towards, axes)  # type: ignore[arg-type]

    @tells_why
    def compare(self, prompts: Prompt | Sequence[Prompt], continuations: Sequence[Prompt]) -> Probe:
        """How probable the same continuations are after several prompts: what the model takes for usual of whom.

        prompts: a template, in which "{doctor|nurse}" stands for each of two words ("{{" and "}}" for braces), or a
        list of templates or token ids. continuations: as the choices of `choose`, which computes each prompt's; a word
        after a text begins with its space.
        Raises ValueError, TypeError or IndexError that names the argument.

        >>> import nextword
        >>> found = nextword.load().compare("The {doctor|nurse} said that", [" he", " she", " they"])
        >>> found.share.round(2).tolist()
        [[0.81, 0.1, 0.09], [0.29, 0.58, 0.12]]
        >>> found.log_ratio[:, 1].round(1).tolist()  # she against he
        [-2.1, 0.7]
        """
        from nextword.inside.compare import compare

        return compare(self, prompts, continuations)  # type: ignore[arg-type]

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

    def aliases(self, scheme: str = "transformer_lens") -> Aliases:
        """What another tool calls the model's activations: `names`, ours -> theirs, and `without`, ours -> why there is
        none for the same numbers. Raises ValueError for an unknown scheme.

        >>> import nextword
        >>> nextword.load().aliases("transformer_lens").names["h.2.mlp.act"]
        'blocks.2.mlp.hook_post'
        """
        from nextword.inside.aliases import aliases

        return aliases(self.model, scheme)  # type: ignore[attr-defined]
