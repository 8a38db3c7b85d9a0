"""The shape that every engine runs, and the arithmetic and memory traffic that it costs.

Which one, the environment says (NEXTWORD_BENCH_SHAPE), as every engine has a process of its own. Imports nothing that
is not Python's, so that the measuring program and the workers in every peer's environment can both use it.
"""

import os
from dataclasses import dataclass

VARIABLE = "NEXTWORD_BENCH_SHAPE"


@dataclass(frozen=True)
class Shape:
    """Sizes of a model with a tied head. kind: "gpt2", or "llama" with a gated feed-forward layer and rotary places."""

    title: str
    kind: str
    vocabulary: int
    positions: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    base: float = 0.0  # of the rotary frequencies

    @property
    def matrices(self) -> int:
        """Parameters of all blocks' matrices."""
        attention = 2 * self.width * self.width + 2 * self.width * self.width * self.kv_heads // self.heads
        return self.layers * (attention + (3 if self.kind == "llama" else 2) * self.width * self.hidden)

    @property
    def vectors(self) -> int:
        """Parameters of norms and biases."""
        if self.kind == "llama":
            return (2 * self.layers + 1) * self.width
        return self.layers * (9 * self.width + self.hidden) + 2 * self.width


SHAPES = {
    "gpt2": Shape("GPT-2 124M", "gpt2", 50257, 1024, 768, 12, 12, 12, 3072),
    "smollm2": Shape("SmolLM2 135M", "llama", 49152, 2048, 576, 30, 9, 3, 1536, 100_000.0),
    "llama1b": Shape("Llama 3.2 1B", "llama", 128256, 2048, 2048, 16, 32, 8, 8192, 500_000.0),
}
SHAPE = SHAPES[os.environ.get(VARIABLE, "gpt2")]

VOCABULARY, POSITIONS, WIDTH, LAYERS, HEADS = SHAPE.vocabulary, SHAPE.positions, SHAPE.width, SHAPE.layers, SHAPE.heads
HEAD_WIDTH, KV_HEADS, HIDDEN, BASE = WIDTH // HEADS, SHAPE.kv_heads, SHAPE.hidden, SHAPE.base
EPSILON = 1e-5

# read for every decoded token: the blocks with their biases and norms, the tied output matrix once; no positions
PARAMETERS_READ = VOCABULARY * WIDTH + SHAPE.matrices + SHAPE.vectors


def cache_bytes(context: float, number_bytes: int) -> float:
    """Keys and values of one sequence of `context` tokens."""
    return 2 * LAYERS * KV_HEADS * HEAD_WIDTH * context * number_bytes


def prefill_operations(tokens: int) -> float:
    """Operations per token of a prompt, of which only the last position is asked for logits."""
    attention = 4 * LAYERS * WIDTH * tokens / 2  # scores and weighted sum; on average half of the prompt is visible
    return 2 * SHAPE.matrices + attention + 2 * VOCABULARY * WIDTH / tokens
