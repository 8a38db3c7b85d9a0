"""Names of stored tensors: what programs have put in front of them, which are left out, what comes near, as text."""

import re
from collections.abc import Iterable

__all__ = ["harmless", "nearest", "of_adapter", "plain"]

# What torch.compile, FSDP and activation checkpointing put before the names of whatever they wrap, wherever it is.
ANYWHERE = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# What DataParallel, trainers and the model's own classes put before all names.
IN_FRONT = re.compile(r"(?:(?:module|model|transformer)\.)+")

# Constants that older exports store beside the weights, rebuilt by whoever needs them: causal masks, counted positions.
CONSTANT = re.compile(r"h\.\d+\.attn\.(?:masked_)?bias|(?:.*\.)?position_ids")

# Layers of PEFT that have not been merged into the weights.
ADAPTER = re.compile(r"(?:^|\.)(?:base_layer|lora_[A-Za-z_]+|modules_to_save|original_module)\.")

MOST_COMPARED = 4096  # names that are held against a missing one: a tenth of a second


def plain(stored: str) -> str:
    """The name without what wrappers have put before it.

    >>> plain("_orig_mod.module.transformer.h.0._orig_mod.ln_1.weight")
    'h.0.ln_1.weight'
    """
    name = ANYWHERE.sub("", stored) if "_" in stored else stored
    front = IN_FRONT.match(name)
    return name[front.end() :] if front else name


def harmless(name: str) -> bool:
    """Whether a plain name is that of a constant, which no logit depends on.

    >>> harmless("h.0.attn.bias"), harmless("h.0.attn.c_attn.bias")
    (True, False)
    """
    return CONSTANT.fullmatch(name) is not None


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
