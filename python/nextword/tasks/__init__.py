"""What a user holds: a language model, a session, scores, choices."""
