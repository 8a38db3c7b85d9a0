"""Names of stored tensors, whatever the model: what wrappers and adapters have put into them, and what comes near."""

import re
from collections.abc import Iterable

__all__ = ["nearest", "of_adapter", "unwrapped"]

# What torch.compile, DataParallel, FSDP and activation checkpointing put before the names of whatever they wrap.
WRAPPER = re.compile(r"(?:(?<=\.)|^)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")

# Layers of PEFT that have not been merged into the weights.
ADAPTER = re.compile(r"(?:^|\.)(?:base_layer|lora_[A-Za-z_]+|modules_to_save|original_module)\.")

MOST_COMPARED = 4096  # names that are held against a missing one: a tenth of a second


def unwrapped(stored: str) -> str:
    """The name without what wrappers have put into it.

    >>> unwrapped("_orig_mod.module.transformer.h.0._orig_mod.ln_1.weight")
    'transformer.h.0.ln_1.weight'
    """
    return WRAPPER.sub("", stored)


def of_adapter(stored: str) -> bool:
    """Whether the tensor belongs to an adapter such as LoRA, or to a layer that one has been put around.

    >>> of_adapter("base_model.model.transformer.h.0.attn.c_attn.lora_A.default.weight"), of_adapter("wte.weight")
    (True, False)
    """
    return ADAPTER.search(stored) is not None


def nearest(name: str, stored: Iterable[str]) -> list[str]:
    """Up to three of the stored names, those first that end as `name`, then those that are spelt like it.

    >>> nearest("wte.weight", ["decoder.wte.weight", "wte.wait", "ln_f.bias"])
    ['decoder.wte.weight', 'wte.wait']
    """
    import difflib

    known = list(stored)
    ends = sorted((x for x in known if x.endswith(name)), key=len)[:3]
    like = difflib.get_close_matches(name, [x for x in known[:MOST_COMPARED] if len(x) <= 3 * len(name) + 20], n=3)
    return [*ends, *(x for x in like if x not in ends)][:3]
