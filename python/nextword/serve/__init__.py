"""The server: OpenAI's API over HTTP, on the one loop that decodes. Its modules need the extra "serve"."""
