"""The methods of LanguageModel that look inside. Each delegates to the room `inside`, imported where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nextword.text.ids import Prompt, Special
from nextword.text.no_vocabulary import tells_why

if TYPE_CHECKING:
    from nextword.inside.inside import Inside


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
        ((4, 4, 4), (4, 4096))
        """
        from nextword.inside.inside import Inside

        return Inside(self, prompt, interventions, allowed_special=allowed_special)  # type: ignore[arg-type]
