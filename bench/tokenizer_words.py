"""WordPiece encoders for bench/tokenizer.py: BERT's English vocabulary, with and without case. One thread.

Lines are encoded as a list, each to a list of ids without special tokens.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path


def encoders(data):
    """{what is encoded: {peer: texts -> lists of ids}}."""
    import tokenizers

    from nextword.text.tokenizer import Tokenizer

    words = data / "other_tokenizers" / "bert-base-uncased" / "vocab.txt"
    found = {}
    for label, lower in (("bert uncased", True), ("bert cased", False)):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "vocab.txt").write_bytes(words.read_bytes())
            (Path(folder) / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
            ours = Tokenizer.load(folder)
        theirs = tokenizers.BertWordPieceTokenizer(str(words), lowercase=lower)
        found[label] = {"nextword": one_thread(ours), "tokenizers": batched(theirs._tokenizer)}
        found[f"{label}, with offsets"] = {"nextword": with_offsets(ours), "tokenizers": offsets_of(theirs)}
    return found


def one_thread(tokenizer):
    return lambda texts: tokenizer.encode_batch(texts, threads=1, add_special_tokens=False)


def batched(tokenizer):
    def encode(texts):
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    return encode


def with_offsets(tokenizer):
    def encode(texts):
        read = tokenizer.with_specials_batch(texts)
        return [(one.ids.tolist(), one.offsets) for one in read]

    return encode


def offsets_of(tokenizer):
    def encode(texts):
        return [(encoding.ids, encoding.offsets) for encoding in tokenizer.encode_batch(texts)]

    return encode
