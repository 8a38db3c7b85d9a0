"""What bench/encoders.py compares: shapes, cells, peers, as data. A new peer also needs a module: see worker.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    """A BERT. `texts` and `short`: how many texts the two cells of throughput have."""

    title: str
    layers: int
    heads: int
    width: int
    hidden: int
    texts: int
    short: int

    @property
    def matrices(self) -> int:
        """Weights of all matrices that multiply: the multiply-adds of a token, but for attention."""
        return self.layers * (4 * self.width**2 + 2 * self.width * self.hidden)

    def operations(self, lengths: list[int]) -> int:
        """Of texts of so many tokens: two per multiply-add, each token meeting every token of its text."""
        scores = self.layers * 2 * self.width * sum(n * n for n in lengths)
        return 2 * (self.matrices * sum(lengths) + scores)


SHAPES = {
    "minilm-l6": Shape("MiniLM-L6", 6, 12, 384, 1536, 256, 1024),
    "bert-base": Shape("BERT-base", 12, 12, 768, 3072, 32, 64),
}
POSITIONS, EPSILON = 512, 1e-12
QUERY = 16  # tokens of the one query and of the short texts
CELLS = {
    "mixed": "texts of 8 to 128 tokens, tok/s",
    "short": "texts of 16 tokens, tok/s",
    "one": "one text of 16, ms",
    "start": "to the first vector, s",
}
BATCHES = (1, 4, 16, 64)  # texts of a padded batch, of which `tune` takes the fastest


@dataclass(frozen=True)
class Class:
    """Peers are compared within a class. `least`: the cosine with the reference that each vector must reach."""

    bits: int  # of a weight
    peak: str  # the rate that bounds the arithmetic, a key of the limits program
    least: float | None


CLASSES = {
    "float32": Class(32, "f32_gflops", 0.999999),
    "bfloat16": Class(16, "bf16_gflops", None),
    "int8": Class(8, "int8_gops", None),
}


@dataclass(frozen=True)
class Peer:
    script: str
    packages: tuple[tuple[str, ...], ...]  # arguments of `pip install`, one after the other; "." is this checkout
    precisions: Mapping[str, str]  # class -> this peer's own name of it
    distributions: tuple[str, ...]  # whose versions are reported
    padded: bool = True  # takes texts in padded batches, whose size counts
    environment: Mapping[str, str] = field(default_factory=dict)  # of the worker


COMMON = ("tokenizers", "safetensors", "numpy")
PEERS = {
    "nextword": Peer("nextword_", ((".",),), {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8"},
                     ("nextword", "numpy"), padded=False),
    "sentence-transformers": Peer(
        "sentence_transformers_",
        (("torch==2.13.0",), ("sentence-transformers", *COMMON)),
        {"float32": "float32", "bfloat16": "bfloat16"},
        ("sentence-transformers", "transformers", "torch"),
        environment={"HF_HUB_OFFLINE": "1"},
    ),
    "onnxruntime": Peer("onnxruntime_", (("onnxruntime", "onnx", "onnx-ir", *COMMON),),
                        {"float32": "float32", "int8": "dynamic"}, ("onnxruntime", "tokenizers")),
    "ctranslate2": Peer("ctranslate2_", (("ctranslate2", *COMMON),),
                        {"float32": "float32", "int8": "int8_float32"}, ("ctranslate2", "tokenizers")),
    "openvino": Peer("openvino_", (("openvino", "nncf", *COMMON),),
                     {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8"},
                     ("openvino", "nncf", "tokenizers")),
}
