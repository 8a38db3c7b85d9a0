"""From logits to tokens: settings, rules, sampling, searches, drafts, and the loop that drives a model."""
