"""The folder that all engines share: random weights of a BERT, its tokenizer, what sentence-transformers writes beside
them, the texts and the float32 vectors of reference. `python folder.py SHAPE DATA VOCABULARY`, where
sentence-transformers is."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from registry import EPSILON, POSITIONS, QUERY, SHAPES, Shape

Array = npt.NDArray[np.float32]
SEED = 1234


def of(data: Path) -> Path:
    return data / "hf"


def tensors(shape: Shape, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names of Hugging Face's BertModel; matrices are [out, in]."""
    width, hidden = shape.width, shape.hidden
    for name, rows in (("word", vocabulary), ("position", POSITIONS), ("token_type", 2)):
        yield f"embeddings.{name}_embeddings.weight", (rows, width)
    linears = [("attention.self.query", width, width), ("attention.self.key", width, width),
               ("attention.self.value", width, width), ("attention.output.dense", width, width),
               ("intermediate.dense", hidden, width), ("output.dense", width, hidden)]
    names = ["embeddings.LayerNorm"]
    for layer in range(shape.layers):
        h = f"encoder.layer.{layer}."
        for name, rows, cols in linears:
            yield f"{h}{name}.weight", (rows, cols)
            yield f"{h}{name}.bias", (rows,)
        names += [f"{h}attention.output.LayerNorm", f"{h}output.LayerNorm"]
    yield "pooler.dense.weight", (width, width)  # is there in published models; no vector of a sentence needs it
    yield "pooler.dense.bias", (width,)
    for name in names:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)


def weights(shape: Shape, vocabulary: int) -> dict[str, Array]:
    """Spread as BERT's training starts from; weights of norms are about 1."""
    rng = np.random.default_rng(SEED)
    found = {}
    for name, dimensions in tensors(shape, vocabulary):
        x = rng.standard_normal(dimensions, dtype=np.float32) * np.float32(0.02)
        found[name] = 1 + x if name.endswith("LayerNorm.weight") else x
    return found


def read(data: Path) -> dict[str, Array]:
    from safetensors.numpy import load_file

    found: dict[str, Array] = load_file(of(data) / "model.safetensors")
    return found


def positions(w: dict[str, Array]) -> Array:
    """The table of positions with the first token type added, which all tokens of these texts have."""
    return w["embeddings.position_embeddings.weight"] + w["embeddings.token_type_embeddings.weight"][:1]


def texts(words: list[str], shape: Shape) -> dict[str, list[str]]:
    """Words of one token each: two tokens of a text are [CLS] and [SEP]. Lengths 8 .. 128 evenly, in random order."""
    rng = np.random.default_rng(SEED)

    def text(tokens: int) -> str:
        return " ".join(rng.choice(words, tokens - 3)) + "."

    lengths = rng.permutation(np.linspace(8, 128, shape.texts).round().astype(int))
    return {"mixed": [text(n) for n in lengths], "short": [text(QUERY) for _ in range(shape.short)],
            "one": [text(QUERY)]}


def write(shape: Shape, data: Path, vocabulary: Path) -> None:
    from safetensors.numpy import save_file
    from tokenizers import BertWordPieceTokenizer

    target = of(data)
    (target / "1_Pooling").mkdir(parents=True, exist_ok=True)
    vocab = vocabulary.read_text(encoding="utf-8").splitlines()

    def put(name: str, what: Any) -> None:
        (target / name).write_text(json.dumps(what, indent=2) + "\n")

    put("config.json", {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "hidden_size": shape.width,
        "intermediate_size": shape.hidden, "num_attention_heads": shape.heads, "num_hidden_layers": shape.layers,
        "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "vocab_size": len(vocab), "pad_token_id": 0,
        "layer_norm_eps": EPSILON, "position_embedding_type": "absolute", "dtype": "float32",
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    })
    save_file(weights(shape, len(vocab)), target / "model.safetensors", metadata={"format": "pt"})
    (target / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    BertWordPieceTokenizer(str(vocabulary), lowercase=True).save(str(target / "tokenizer.json"))
    put("tokenizer_config.json", {
        "tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": POSITIONS, "unk_token": "[UNK]",
        "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]",
    })
    put("modules.json", [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])
    ])
    put("sentence_bert_config.json", {"max_seq_length": POSITIONS, "do_lower_case": False})
    put("1_Pooling/config.json", {"word_embedding_dimension": shape.width, "pooling_mode_mean_tokens": True,
                                  "pooling_mode_cls_token": False, "pooling_mode_max_tokens": False,
                                  "pooling_mode_mean_sqrt_len_tokens": False})
    (target / "2_Normalize").mkdir(exist_ok=True)
    words = [word for word in vocab if word.isascii() and word.isalpha() and len(word) > 1]
    given = texts(words, shape)
    (data / "texts.json").write_text(json.dumps(given))
    write_reference(data, given)


def write_reference(data: Path, given: dict[str, list[str]]) -> None:
    """The vectors of sentence-transformers in float32, the tokens of each text, and how alike different texts are."""
    import sentence_transformers_ as peer
    from tokenizers import Tokenizer

    embed = peer.load(data, "float32", 2)
    vectors = {cell: np.asarray(embed(some, 16)) for cell, some in given.items()}
    np.savez(data / "reference.npz", **vectors)
    tokenizer = Tokenizer.from_file(str(of(data) / "tokenizer.json"))
    lengths = {cell: [len(one.ids) for one in tokenizer.encode_batch(some)] for cell, some in given.items()}
    cosines = (vectors["mixed"] @ vectors["mixed"].T)[np.triu_indices(len(vectors["mixed"]), 1)]
    (data / "about.json").write_text(json.dumps({"lengths": lengths, "others": float(np.median(cosines))}))


if __name__ == "__main__":
    write(SHAPES[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]))
