"""Public tokenizers behind one face, for bench/tokenizer.py. Each is used as its documentation says.

A peer has: list(text) -> ids; array(text) -> its fastest output, or None; batch(texts, threads) -> lists;
decode(ids) -> text. One that is not installed raises ImportError when made.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"


class Nextword:
    name = "nextword"
    module = "nextword.tokenizer"

    def __init__(self, data: Path) -> None:
        from nextword.text.tokenizer import Tokenizer

        self.it = Tokenizer.load(data / "gpt2_tokenizer")
        self.list, self.array, self.decode = self.it.encode, self.it.encode_array, self.it.decode

    def batch(self, texts, threads):
        return self.it.encode_batch(texts, threads=threads)


class Tiktoken:
    name = "tiktoken"
    module = "tiktoken"

    def __init__(self, data: Path) -> None:
        import tiktoken

        lines = (data / "tiktoken_ranks" / "r50k_base.tiktoken").read_bytes().split()
        ranks = {base64.b64decode(token): int(rank) for token, rank in zip(lines[::2], lines[1::2], strict=True)}
        self.it = tiktoken.Encoding(
            "r50k", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256}
        )
        self.list, self.decode = self.it.encode_ordinary, self.it.decode

    def array(self, text):
        return self.it.encode_to_numpy(text, disallowed_special=())

    def batch(self, texts, threads):
        return self.it.encode_ordinary_batch(texts, num_threads=threads)


class Fastokens:
    name = "fastokens"
    module = "fastokens"

    def __init__(self, data: Path) -> None:
        import fastokens

        self.it = fastokens.Tokenizer.from_file(str(data / "other_tokenizers" / "gpt2" / "tokenizer.json"))
        self.decode = self.it.decode

    def list(self, text):
        return self.it.encode(text).ids

    def array(self, text):
        import numpy as np

        return np.frombuffer(self.it.encode_batch_flat([text])[0], np.uint32)

    def batch(self, texts, threads):  # as many threads as RAYON_NUM_THREADS says
        return [encoding.ids for encoding in self.it.encode_batch(texts)]


class Gigatoken:
    name = "gigatoken"
    module = "gigatoken"

    def __init__(self, data: Path) -> None:
        import gigatoken

        self.it = gigatoken.Tokenizer.from_tiktoken(str(data / "tiktoken_ranks" / "r50k_base.tiktoken"))
        self.array = self.it.encode

    def list(self, text):
        return self.it.encode(text).tolist()

    def batch(self, texts, threads):
        return self.it.encode_batch_list(texts, parallel=threads > 1)

    def decode(self, ids):
        return self.it.decode(ids).decode("utf-8", "replace")


class Wordchipper:
    name = "wordchipper"
    module = "wordchipper"

    def __init__(self, data: Path) -> None:
        import tempfile

        cache = Path(tempfile.gettempdir()) / "nextword-bench-wordchipper"
        place = cache / "openai" / "r50k_base"
        place.mkdir(parents=True, exist_ok=True)
        (place / "r50k_base.tiktoken").write_bytes((data / "tiktoken_ranks" / "r50k_base.tiktoken").read_bytes())
        os.environ["WORDCHIPPER_CACHE_DIR"] = str(cache)
        import wordchipper

        options = wordchipper.TokenizerOptions.default()
        options.set_accelerated_lexers(True)
        options.set_parallel(os.environ.get("RAYON_NUM_THREADS", "1") != "1")
        self.it = wordchipper.Tokenizer.from_pretrained("openai:r50k_base", options)
        self.list, self.array, self.decode = self.it.encode, None, self.it.decode

    def batch(self, texts, threads):
        return self.it.encode_batch(texts)


PEERS = {peer.name: peer for peer in (Nextword, Tiktoken, Fastokens, Gigatoken, Wordchipper)}


def train_nextword(texts, size):
    from nextword.text.tokenizer import Tokenizer

    return len(Tokenizer.train(texts, size, special_tokens=[], min_frequency=0))


def train_rustbpe(texts, size):
    import rustbpe

    it = rustbpe.Tokenizer()
    it.train_from_iterator(iter(texts), vocab_size=size, pattern=GPT2.replace("++", "+").replace(r"|\s+$", ""))
    return it.vocab_size


def train_gigatoken(texts, size):
    import tempfile

    from gigatoken.gigatoken_rs import train_bpe

    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("".join(texts))
        file.flush()
        return len(train_bpe(Path(file.name), size, [])[0])


def train_tokenizers(texts, size):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    it = Tokenizer(models.BPE())
    it.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    it.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, special_tokens=[])
    )
    return it.get_vocab_size()


TRAINERS = {
    "nextword": train_nextword,
    "rustbpe": train_rustbpe,
    "gigatoken": train_gigatoken,
    "tokenizers": train_tokenizers,
}
