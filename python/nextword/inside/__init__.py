"""Looking inside: a model's activations from prompt to logits, what they are made of, and what changes them."""
