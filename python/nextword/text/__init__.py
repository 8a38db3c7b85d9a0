"""Text to token ids and back: tokenizers, their files, training."""
