"""What is compared: the works, the precision classes and the peers, as data. To add one is to add a row here.

A new peer also needs a module `<script>.py` in this folder, as worker.py describes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from peers import shape

VARIANTS = 3  # different prompts of every work, taken in turn, so that no engine can answer from an earlier round


@dataclass(frozen=True)
class Work:
    """`sequences` prompts of `prompt` tokens each, then `new` tokens each, of which the first belongs to the prompt."""

    sequences: int
    prompt: int
    new: int
    kind: str  # "decode": tokens/s after the first; "prefill": prompt tokens/s; "fresh": a new process every time
    title: str


WORKS = {
    "decode": Work(1, 32, 128, "decode", "decode, tok/s"),
    "decode900": Work(1, 896, 64, "decode", "decode after 900, tok/s"),
    "prefill512": Work(1, 512, 1, "prefill", "prefill 512, tok/s"),
    "batch8": Work(8, 32, 64, "decode", "8 sequences, tok/s"),
    "start": Work(1, 32, 1, "fresh", "start, s"),
    "memory": Work(1, 32, 64, "fresh", "memory, MB"),
}


@dataclass(frozen=True)
class Class:
    """Peers are compared within a class. `exact`: greedy ids must equal the float32 reference's, or the peer fails."""

    weight_bits: float  # of a stored weight, scales included
    cache_number_bytes: int
    peak: str  # the rate that bounds the arithmetic, a key of the limits program
    exact: bool


CLASSES = {
    "fp32": Class(32, 4, "f32_gflops", True),
    "16bit": Class(16, 2, "bf16_gflops", False),
    "int8": Class(8, 2, "int8_gops", False),
    "int4": Class(4.5, 2, "int8_gops", False),
}


@dataclass(frozen=True)
class Peer:
    script: str
    packages: tuple[tuple[str, ...], ...]  # arguments of `pip install`, one after the other; "." is this checkout
    precisions: Mapping[str, tuple[str, ...]]  # class -> this peer's own names of what it offers there
    distributions: tuple[str, ...]  # whose versions are reported
    kinds: tuple[str, ...] = ("gpt2",)  # of shapes that its module knows
    converts: bool = True  # into a format of its own; else it reads the Hugging Face folder
    build: Mapping[str, str] = field(default_factory=dict)  # environment of the installation
    environment: Mapping[str, str] = field(default_factory=dict)  # of the worker

    @property
    def ours(self) -> bool:
        """Built from this checkout."""
        return "." in self.packages[0]


BOTH = ("gpt2", "llama")
PEERS = {
    "nextword": Peer(
        "nextword_",
        ((".",),),
        {"fp32": ("float32",), "16bit": ("bfloat16",), "int8": ("int8", "int8+kv8"), "int4": ("int4", "int4+kv8")},
        ("nextword", "numpy"),
        kinds=BOTH,
    ),
    "numpy": Peer("numpy_", (("numpy", "safetensors"),), {"fp32": ("float32",)}, ("numpy",), BOTH, converts=False),
    "transformers": Peer(
        "transformers_",
        (("torch==2.13.0",), ("transformers", "safetensors", "numpy")),
        {"fp32": ("float32",), "16bit": ("bfloat16",)},
        ("transformers", "torch"),
        kinds=BOTH,
        converts=False,
        environment={"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    ),
    "ctranslate2": Peer(
        "ctranslate2_",
        (("ctranslate2", "safetensors", "numpy"),),
        {"fp32": ("float32",), "int8": ("int8_float32",)},
        ("ctranslate2",),
    ),
    "onnxruntime": Peer(
        "onnxruntime_",
        (("onnxruntime", "onnx", "onnx-ir", "safetensors", "numpy"),),
        {"fp32": ("float32",), "int8": ("int8dyn", "nbits8"), "int4": ("nbits4",)},
        ("onnxruntime",),
    ),
    "openvino": Peer(
        "openvino_",
        (("openvino", "nncf", "safetensors", "numpy"),),
        {"fp32": ("float32",), "16bit": ("bfloat16",), "int8": ("int8", "int8+bf16"),
         "int4": ("int4-all", "int4-all+bf16")},
        ("openvino",),
    ),
    "openvino-genai": Peer(
        "openvino_genai_",
        (("openvino-genai", "nncf", "safetensors", "numpy"),),
        {"fp32": ("float32",), "16bit": ("bfloat16",), "int8": ("int8", "int8+bf16"),
         "int4": ("int4-all", "int4-all+bf16")},
        ("openvino-genai", "openvino"),
    ),
    "llama.cpp": Peer(
        "llama_cpp_",
        (("--no-binary", "llama-cpp-python", "llama-cpp-python", "gguf", "safetensors", "numpy"),),
        {"fp32": ("f32",), "16bit": ("f16", "bf16"), "int8": ("q8_0",), "int4": ("q4_0", "q4_0-pure", "q4_k-pure")},
        ("llama-cpp-python",),
        kinds=BOTH,
        build={
            "CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF",
            "CMAKE_BUILD_PARALLEL_LEVEL": "2",
        },
    ),
}


def prompts(work: Work, variant: int) -> list[list[int]]:
    """The token ids that a work starts from. No end-of-text id (50256) among them."""
    return [
        [(7919 * (row + 1) + 104729 * i * (row + 3) + 17 * i * i + 31337 * variant) % (shape.VOCABULARY - 1)
         for i in range(work.prompt)]
        for row in range(work.sequences)
    ]
