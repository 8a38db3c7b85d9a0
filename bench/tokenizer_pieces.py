"""SentencePiece's vocabularies: nextword beside `sentencepiece` and `tokenizers`, one thread, in the same run.

Texts go in line by line, as SentencePiece is used, to lists of ids. The ids are compared before anything is timed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

MODELS = {
    "mistral BPE": "other_tokenizers/mistral/tokenizer.model.v1",
    "albert unigram": "other_tokenizers/unigram/albert-spiece.model",
}
T5 = "other_tokenizers/t5/tokenizer.json"


def encoders(data):
    """{vocabulary: {name: texts to lists of ids}}, of those that are installed."""
    from nextword import Tokenizer

    found = {}
    for label, file in MODELS.items():
        import sentencepiece

        link = Path(tempfile.mkdtemp()) / "tokenizer.model"
        link.symlink_to(data / file)
        ours = Tokenizer.load(link)
        judge = sentencepiece.SentencePieceProcessor(model_file=str(data / file))
        found[label] = {
            "nextword": lambda texts, ours=ours: ours.encode_batch(texts, threads=1),
            "sentencepiece": lambda texts, judge=judge: judge.encode(texts, num_threads=1),
        }
    import tokenizers

    ours, judge = Tokenizer.load(data / T5), tokenizers.Tokenizer.from_file(str(data / T5))
    found["t5 unigram"] = {
        "nextword": lambda texts: ours.encode_batch(texts, threads=1),
        "tokenizers": lambda texts: [one.ids for one in judge.encode_batch_fast(texts)],
    }
    return found


def differing(works, texts):
    """Lines whose ids differ, of the first of `works` and the others."""
    first, *others = (work(texts) for work in works.values())
    return [text for text, *ids in zip(texts, first, *others, strict=True) if any(ids[0] != one for one in ids[1:])]
