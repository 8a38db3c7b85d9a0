"""The server: OpenAI's API over HTTP, on the one loop that decodes. Needs the extra "serve"; nothing imports it at
import."""
