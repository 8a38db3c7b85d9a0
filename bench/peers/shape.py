"""The shape that every engine runs, GPT-2 124M, and the arithmetic and memory traffic that it costs.

Imports nothing, so that the measuring program and the workers in every peer's environment can both use it.
"""

VOCABULARY, POSITIONS, WIDTH, LAYERS, HEADS = 50257, 1024, 768, 12, 12
HEAD_WIDTH = WIDTH // HEADS
HIDDEN = 4 * WIDTH
EPSILON = 1e-5

BLOCK_PARAMETERS = LAYERS * 12 * WIDTH * WIDTH
# read for every decoded token: the blocks with their biases and norms, the tied output matrix once; no positions
PARAMETERS_READ = VOCABULARY * WIDTH + BLOCK_PARAMETERS + LAYERS * 13 * WIDTH + 2 * WIDTH


def cache_bytes(context: float, number_bytes: int) -> float:
    """Keys and values of one sequence of `context` tokens."""
    return 2 * LAYERS * WIDTH * context * number_bytes


def prefill_operations(tokens: int) -> float:
    """Operations per token of a prompt, of which only the last position is asked for logits."""
    attention = 4 * LAYERS * WIDTH * tokens / 2  # scores and weighted sum; on average half of the prompt is visible
    return 2 * BLOCK_PARAMETERS + attention + 2 * VOCABULARY * WIDTH / tokens
