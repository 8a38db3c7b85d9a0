"""nextword: language models on a laptop's CPU, such as GPT-2, Llama and Qwen; fast, exact, and open at every step.

>>> import nextword
>>> lm = nextword.load()
>>> lm
LanguageModel(gpt2: 4 layers, 4 heads, width 256, vocabulary 4096, context 512)
>>> nextword.load().generate("Once upon a time", max_new_tokens=8).finish_reason
'length'
"""

from nextword.cli import startup  # noqa: F401, I001 - before all others: it watches over their import
from nextword.machine import cpu  # before the core, as it sets how threads wait

import sys

from nextword._core import __version__
from nextword.arithmetic import ops, reference, vectors
from nextword.arithmetic.vectors import similarity
from nextword.decoding import grammar, rules, sampling
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.results import Generation
from nextword.decoding.settings import Sampling
from nextword.inside.pages import SHOWN_BY
from nextword.models.trace import trace
from nextword.page.opening import explain_page, html, widget
from nextword.tasks.language_model import LanguageModel
from nextword.tasks.loading import DEMO, load
from nextword.tasks.quantized import quantize
from nextword.tasks.text_encoder import TextEncoder
from nextword.tasks.vector_index import VectorIndex
from nextword.text.tokenizer import Tokenizer

__all__ = ["DEMO", "Generation", "LanguageModel", "PrefixCache", "Sampling", "TextEncoder", "Tokenizer", "VectorIndex",
           "__version__", "cpu", "explain_page", "grammar", "load", "ops", "quantize", "reference", "rules",
           "sampling", "similarity", "trace", "vectors"]

# Modules that users name as `nextword.ops` and import from there, wherever in the rooms they stand.
for _module in (cpu, grammar, ops, reference, rules, sampling, vectors):
    sys.modules[f"{__name__}.{_module.__name__.rpartition('.')[2]}"] = _module

SHOWN_BY.update(html=html, widget=widget)
del SHOWN_BY, html, widget


def __dir__() -> list[str]:
    return __all__
