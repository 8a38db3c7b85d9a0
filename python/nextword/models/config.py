"""Fields of a config.json that architectures have in common: what they may be, and which are not for us.

Each function raises ValueError that names the field.
"""

from collections.abc import Mapping
from typing import Any

from nextword.machine.shown import is_integer, shown

__all__ = ["ACTIVATIONS", "by_one_name", "check_activation", "check_flags", "check_fraction", "check_positive",
           "check_token_ids", "checked_context", "ends", "refuse"]

# Activations by the names that transformers has for them -> by those of the operations.
ACTIVATIONS = {
    **dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"), "gelu_tanh"),
    **dict.fromkeys(("gelu", "gelu_python"), "gelu_erf"), "quick_gelu": "quick_gelu",
    "relu": "relu", "silu": "silu", "swish": "silu", "tanh": "tanh"}  # fmt: skip

Unsupported = Mapping[str, tuple[tuple[Any, ...], str]]


def refuse(config: Mapping[str, Any], unsupported: Unsupported) -> None:
    """Refuse a configuration with which something else would be computed than here.

    unsupported: field -> (the values with which it is the same, what it must be, in words).

    >>> refuse({"is_decoder": False}, {"is_decoder": ((True, None), "true: encoders are not supported")})
    Traceback (most recent call last):
    ValueError: config: is_decoder must be true: encoders are not supported, got False
    """
    for name, (same, expected) in unsupported.items():
        if config.get(name) not in same:
            raise ValueError(f"config: {name} must be {expected}, got {config[name]!r}")
    layers = config.get("layer_types")
    if layers is not None and not (isinstance(layers, list) and all(x == "full_attention" for x in layers)):
        raise ValueError(f"config: layer_types must be full_attention everywhere, got {layers!r}")
    note = config.get("quantization_config")
    if note is not None and not (isinstance(note, dict) and note.get("quant_method") == "nextword"):
        raise ValueError("config: quantization_config must be that of `nextword quantize` or absent, got "
                         f"{str(note)[:60]!r}; take the model unquantised, and give load a dtype")


def by_one_name(config: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """The fields without their other names. aliases: other name -> name.

    >>> by_one_name({"hidden_size": 8, "bias": True}, {"hidden_size": "width"})
    {'width': 8, 'bias': True}
    """
    for alias, name in aliases.items():
        if alias in config and config[alias] != config.get(name, config[alias]):
            raise ValueError(f"config: {name} must be the same as {alias}, another name of it, "
                             f"got {config[name]!r} and {config[alias]!r}")
    return {aliases.get(name, name): value for name, value in config.items()}


def checked_context(context: Any, most: int) -> int:
    """A window that is asked for, at most that of the configuration."""
    if not is_integer(context) or not 1 <= context <= most:
        raise ValueError(f"load: context must be 1 .. {most} tokens, what the model was made for, got {shown(context)}")
    return int(context)


def check_positive(config: Any, *names: str) -> None:
    """Sizes."""
    for name in names:
        value = getattr(config, name)
        if type(value) is not int or not 1 <= value < 2**31:
            most = " below 2^31" if type(value) is int and value > 0 else ""
            raise ValueError(f"config: {name} must be a positive integer{most}, got {shown(value)}")


def check_activation(config: Any, name: str) -> None:
    """The name of an activation."""
    form = getattr(config, name)
    if not isinstance(form, str) or form not in ACTIVATIONS:
        raise ValueError(f"config: {name} must be one of {', '.join(ACTIVATIONS)}, got {form!r}")


def check_fraction(config: Any, name: str) -> None:
    """Such as the epsilon of a norm."""
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(f"config: {name} must be a number between 0 and 1, got {value!r}")


def check_flags(config: Any, *names: str) -> None:
    """True or False."""
    for name in names:
        if type(getattr(config, name)) is not bool:
            raise ValueError(f"config: {name} must be true or false, got {getattr(config, name)!r}")


def ends(config: Any) -> tuple[int, ...]:
    """The tokens that end a text by eos_token_id: one, several or none."""
    eos = config.eos_token_id
    return () if eos is None else eos if isinstance(eos, tuple) else (eos,)


def check_token_ids(config: Any) -> None:
    """The tokens that end and begin texts."""
    eos = config.eos_token_id
    if eos is not None and not all(type(end) is int for end in (eos if isinstance(eos, tuple) else [eos])):
        raise ValueError(f"config: eos_token_id must be a token id, a list of them or null, got {eos!r}")
    if config.bos_token_id is not None and type(config.bos_token_id) is not int:
        raise ValueError(f"config: bos_token_id must be a token id or null, got {config.bos_token_id!r}")
