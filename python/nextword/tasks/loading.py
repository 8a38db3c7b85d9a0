"""`nextword.load`: from a folder, a GGUF file or a hub id to a language model or an encoder."""

import os
from functools import partial
from typing import Any, Literal, overload

from nextword.arithmetic.formats import DTYPES
from nextword.decoding.defaults import of_config
from nextword.files.bundled import BUNDLED
from nextword.files.sentence_files import read_sentence_files
from nextword.files.weights import GGUFWeights, Weights, open_model
from nextword.machine import cpu
from nextword.models import build, kind_of
from nextword.models.encoder import Encoder
from nextword.tasks.language_model import LanguageModel, Source
from nextword.tasks.text_encoder import EncoderSource, TextEncoder
from nextword.text.chat_files import of_folder, of_metadata
from nextword.text.gguf_vocabulary import tokenizer_of_gguf
from nextword.text.tokenizer import Tokenizer

DEMO = BUNDLED["nextword:demo"]
# What a model must be for -> what is said of one that is not.
TASKS = {"generate": "is of an encoder, which has no next word; it embeds, ranks, classifies and tags texts",
         "encode": "is of a decoder, which continues texts; take an encoder, such as all-MiniLM-L6-v2"}  # fmt: skip


Path = str | os.PathLike[str]


@overload
def load(path_or_id: None = None, dtype: str | None = None, threads: int | None = None, kv_dtype: str = "float32",
         revision: str | None = None, context: int | None = None, task: None = None) -> LanguageModel: ...
@overload
def load(path_or_id: Path | None = None, dtype: str | None = None, threads: int | None = None,
         kv_dtype: str = "float32", revision: str | None = None, context: int | None = None, *,
         task: Literal["generate"]) -> LanguageModel: ...
@overload
def load(path_or_id: Path | None = None, dtype: str | None = None, threads: int | None = None,
         kv_dtype: str = "float32", revision: str | None = None, context: int | None = None, *,
         task: Literal["encode"]) -> TextEncoder: ...
@overload
def load(path_or_id: Path | None = None, dtype: str | None = None, threads: int | None = None,
         kv_dtype: str = "float32", revision: str | None = None, context: int | None = None,
         task: str | None = None) -> Any: ...


def load(path_or_id: Path | None = None, dtype: str | None = None, threads: int | None = None,
         kv_dtype: str = "float32", revision: str | None = None, context: int | None = None,
         task: str | None = None) -> Any:
    """Load a model from a Hugging Face folder, a GGUF file or the hub: a LanguageModel, which continues texts, or of an
    encoder such as BERT a TextEncoder, which makes vectors, ranks, classes, tags and words for gaps of them.

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
    task: what the model must be for, "generate" or "encode"; None: whatever it is.
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
    if task not in (None, *TASKS):
        raise ValueError(f"load: task must be one of {', '.join(map(repr, TASKS))} or None, got {task!r}")
    if threads is not None:
        cpu.set_threads(threads)
    weights = open_model(DEMO if path_or_id is None else path_or_id, revision)
    encodes = issubclass(kind_of(weights), Encoder)
    if task is not None and encodes != (task == "encode"):
        raise ValueError(f"load: {weights.source} {TASKS[task]}")
    tokenizer, reason = None, ""
    try:
        tokenizer = _vocabulary(weights)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error)
    if encodes:
        if kv_dtype != "float32":
            raise ValueError(f"load: kv_dtype must be float32 for an encoder, which remembers no keys and values, got "
                             f"{kv_dtype!r}")
        return _encoder(weights, tokenizer, reason, dtype, context)
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


def _encoder(weights: Weights, tokenizer: Tokenizer | None, reason: str, dtype: str | None,
             context: int | None) -> TextEncoder:
    """The encoder of a folder, with what sentence-transformers has written there."""
    source = EncoderSource(weights.origin, dtype, weights.revision, context)
    files = read_sentence_files(weights.folder)
    return TextEncoder(build(weights, dtype=dtype), tokenizer, files, source, reason)
