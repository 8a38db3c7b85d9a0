"""The architectures, by the name that a config.json gives as `model_type`."""

from nextword.models.gpt2 import GPT2

ARCHITECTURES = {"gpt2": GPT2}
