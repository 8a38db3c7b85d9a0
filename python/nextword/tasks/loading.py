"""`nextword.load`: from a folder, a GGUF file or a hub id to a language model."""

import os
from functools import partial

from nextword.arithmetic.formats import DTYPES
from nextword.decoding.defaults import of_config
from nextword.files.bundled import BUNDLED
from nextword.files.weights import GGUFWeights, Weights, open_model
from nextword.machine import cpu
from nextword.models import build
from nextword.tasks.language_model import LanguageModel, Source
from nextword.text.chat_files import of_folder, of_metadata
from nextword.text.gguf_vocabulary import tokenizer_of_gguf
from nextword.text.tokenizer import Tokenizer

DEMO = BUNDLED["nextword:demo"]


def load(path_or_id: str | os.PathLike[str] | None = None, dtype: str | None = None,
         threads: int | None = None, kv_dtype: str = "float32", revision: str | None = None,
         context: int | None = None) -> LanguageModel:
    """Load a model from a Hugging Face folder, a GGUF file or the hub.

    path_or_id: a folder with `config.json`, `model.safetensors` (single or sharded) and, for texts, a vocabulary; a
        GGUF file, which has all of it in one; or a hub id such as "gpt2" (needs `pip install "nextword[hub]"`),
        "gpt2@v1.0" for a revision of it; None loads the small model of the package, which is "nextword:demo", too;
        "nextword:nano-sort" is a tiny one that sorts the letters A, B and C, so small that every number of it fits on a
        screen.
    dtype: how weight matrices are held: "float32", or in fewer bits "bfloat16", "int8", "int4" (docs/quantisation.md).
        None: as a folder of `nextword quantize` holds them, which takes no conversion; of a GGUF file the nearest to
        how most of it is stored, which `LanguageModel.note` names; and float32 of any other.
    threads: `nextword.cpu.set_threads` for the whole process; None leaves it.
    kv_dtype: how the keys and values of a text are held: "float32"; "bfloat16", half of it; "int8", a bit more than a
        quarter (a float32 for each token and head beside them). The shorter ones change logits slightly.
    context: the tokens that a text may have at most, 1 up to what the model was made for, which None takes. What may
        become so long has memory for it: 8.6 GB for 131,072 tokens of Llama 3.2 1B, in pages that are taken as they
        are used, but reckoned with, as by `lm.engine`.
    revision: a branch, tag or commit of the hub, the same as "id@revision"; None: its main branch.
    Raises OSError or ImportError for files that cannot be had, ValueError that names the file, tensor or field that is
    wrong. A folder without a vocabulary, or with one that cannot be read, gives a model that works with token ids; the
    error that a text then gives says why. A vocabulary may have more tokens than the model, or fewer.

    >>> load()
    LanguageModel(gpt2: 4 layers, 4 heads, width 256, vocabulary 4096, context 512)
    >>> load("nextword:nano-sort").generate("CBAABC", max_new_tokens=6).text
    'AABBCC'
    """
    if dtype not in (None, *DTYPES):
        raise ValueError(f"load: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if threads is not None:
        cpu.set_threads(threads)
    weights = open_model(DEMO if path_or_id is None else path_or_id, revision)
    tokenizer, reason = None, ""
    try:
        tokenizer = _vocabulary(weights)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error)
    held = dtype or weights.nearest
    if isinstance(weights, GGUFWeights):
        weights.require(held or "float32")
    model = build(weights, dtype=held, kv_dtype=kv_dtype, context=context)
    source = Source(None if path_or_id is None else weights.origin, dtype, kv_dtype, weights.revision, context)
    generation = weights.generation_config
    lm = LanguageModel(model, tokenizer, source, of_config(weights.config) if generation is None else generation,
                       partial(of_folder, weights.folder) if weights.metadata is None else
                       partial(of_metadata, weights.metadata, weights.source))
    lm.no_tokenizer = reason
    if weights.kind is not None:
        lm.note = f"{model.dtype} of {weights.kind}"
    return lm


def _vocabulary(weights: Weights) -> Tokenizer:
    return Tokenizer.load(weights.folder) if weights.metadata is None else tokenizer_of_gguf(weights.metadata)
