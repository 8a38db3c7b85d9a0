"""What tells models and vocabularies apart: checksums of all that logits, or the meaning of ids, depend on.

They guard against mistakes, not against malice (csrc/arithmetic/digest.h).
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from nextword.arithmetic import ops
from nextword.models.model import Model
from nextword.models.network import Network
from nextword.text.tokenizer import Tokenizer

# Of what never changes once it is made: to read all matrices takes a tenth of a second for a gigabyte. An entry is
# written whole, so that several threads at worst work it out twice.
_of_matrices: WeakKeyDictionary[ops.Packed, str] = WeakKeyDictionary()
_of_vocabularies: WeakKeyDictionary[Tokenizer, str] = WeakKeyDictionary()

# Fields of the configuration that no key, value or logit depends on.
_OTHER_FIELDS = ("eos_token_id",)


def model_fingerprint(model: Network) -> str:
    """64 hexadecimal digits: the configuration, and every number of every matrix and vector as a decoder or an encoder
    holds it.

    The same folder gives the same digits, with `ops` and with `reference`; another dtype gives others.
    """
    config = {name: value for name, value in asdict(model.config).items() if name not in _OTHER_FIELDS}
    parts: list[Any] = [config, model.dtype]
    heads = {"head": model.head.weight} if isinstance(model, Model) else {}
    for name, x in {**model.tensors(), **heads}.items():
        if isinstance(x, np.ndarray):
            parts.append((name, x.shape, _digest(x.astype("<f4", copy=False))))
        else:
            parts.append((name, x.shape, x.dtype, _of_matrix(model, x)))
    return _text(parts)


def vocabulary_fingerprint(tokenizer: Tokenizer) -> str:
    """64 hexadecimal digits: which ids there are, and the bytes of each."""
    known = _of_vocabularies.get(tokenizer)
    if known is None:
        ids = [i for i in range(len(tokenizer)) if tokenizer.has(i)]
        tokens = [tokenizer.token_bytes(i) for i in ids]
        sizes, text = np.array([len(token) for token in tokens], "<i8"), np.frombuffer(b"".join(tokens), np.uint8)
        known = _text([_digest(np.array(ids, "<i8")), _digest(sizes), _digest(text)])
        _of_vocabularies[tokenizer] = known
    return known


def _of_matrix(model: Network, matrix: Any) -> str:
    if not isinstance(matrix, ops.Packed):  # the reference's, which is no key of a dictionary
        return _digest(model.ops.packed_bytes(matrix))
    known = _of_matrices.get(matrix)
    if known is None:
        known = _of_matrices[matrix] = _digest(ops.packed_bytes(matrix))
    return known


def _digest(x: Any) -> str:
    return ops.digest(np.ascontiguousarray(x).reshape(-1).view(np.uint8))


def _text(parts: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=32).hexdigest()
