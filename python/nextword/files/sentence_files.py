"""What sentence-transformers writes beside an encoder: how vectors of texts are made of hidden states, and prompts.

modules.json names the steps behind the encoder; each has a folder with its own config.json. Read here and obeyed, or
refused by name: a step left out would give other vectors without a word.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.files import whole
from nextword.files.model_folder import SINGLE, read_json
from nextword.files.safetensors_file import TensorFile
from nextword.machine.shown import quoted, shown

__all__ = ["MODULES", "Dense", "Normalise", "Pooling", "SentenceFiles", "read_sentence_files", "sentence_names"]

MODULES, OF_ALL, LENGTHS = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
NORM = "LayerNorm"
# Ways to pool by the older fields and by the newer names -> by ours.
POOLINGS = {"pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean",
            "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
            "pooling_mode_weightedmean_tokens": "weightedmean", "pooling_mode_lasttoken": "lasttoken"}  # fmt: skip
# Activations by the last word of their class -> by the name of the operation, None: none.
ACTIVATIONS = {"Tanh": "tanh", "Identity": None, "ReLU": "relu", "GELU": "gelu_erf", "SiLU": "silu"}


class Pooling(NamedTuple):
    """How rows of tokens become one: the ways whose results stand side by side, and whether a prompt's rows count."""

    ways: tuple[str, ...]
    include_prompt: bool = True


class Dense(NamedTuple):
    """activation(x @ weight.T + bias), weight float32 [out, in]; with `residual` + x, or + x @ residual.T."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    activation: str | None
    residual: NDArray[Any] | bool = False


class Normalise(NamedTuple):
    """Vectors of length 1."""


class SentenceFiles(NamedTuple):
    """What a folder says. steps: behind the pooling. prompts: name -> what is put before a text; default: a name or
    None. max_length: tokens, or None where it does not say. lower: whether texts are made lower-case first."""

    pooling: Pooling = Pooling(("mean",))
    steps: tuple[Dense | Normalise, ...] = ()
    prompts: Mapping[str, str] = {}
    default: str | None = None
    max_length: int | None = None
    lower: bool = False
    activation_fn: str | None = None  # of a cross-encoder's scores, the name of a class


def read_sentence_files(folder: Path) -> SentenceFiles:
    """What the folder says; without modules.json it is the mean over all tokens, as sentence-transformers takes it.

    Raises ValueError that names the file for what is not supported or malformed, OSError for a file that is missing.

    >>> import nextword
    >>> read_sentence_files(Path(nextword.DEMO)).pooling
    Pooling(ways=('mean',), include_prompt=True)
    """
    pooling, steps = Pooling(("mean",)), list[Dense | Normalise]()
    for kind, place in _modules(folder):
        if kind == "Pooling":
            pooling = _pooling(place / "config.json")
        elif kind == "Dense":
            steps.append(_dense(place))
        elif kind == "Normalize":
            steps.append(Normalise())
    lengths = read_json(folder / LENGTHS) if whole.present("load", folder / LENGTHS) else {}
    length, lower = lengths.get("max_seq_length"), lengths.get("do_lower_case", False)
    if length is not None and (type(length) is not int or length < 1):
        raise ValueError(f"load: {folder / LENGTHS} must have a number of tokens as max_seq_length, got {length!r}")
    if type(lower) is not bool:
        raise ValueError(f"load: {folder / LENGTHS} must have true or false as do_lower_case, got {lower!r}")
    about = read_json(folder / OF_ALL) if whole.present("load", folder / OF_ALL) else {}
    prompts, default = about.get("prompts") or {}, about.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise ValueError(f"load: {folder / OF_ALL} must have texts by name as prompts, got {shown(prompts)}")
    if default is not None and default not in prompts:
        raise ValueError(f"load: {folder / OF_ALL} has the default_prompt_name {shown(default)}, expected one of "
                         f"{', '.join(prompts) or 'no prompts'}")
    activation = about.get("activation_fn")
    if activation is not None and not isinstance(activation, str):
        raise ValueError(f"load: {folder / OF_ALL} must have the name of a class as activation_fn, got "
                         f"{shown(activation)}")
    return SentenceFiles(pooling, tuple(steps), prompts, default, length, lower, activation)


def sentence_names(folder: Path) -> list[str]:
    """The files that say it, as paths in the folder: what a copy of the model needs, too."""
    found = [name for name in (MODULES, OF_ALL, LENGTHS) if whole.present("load", folder / name)]
    for kind, place in _modules(folder):
        if kind != "Transformer":
            names = [place / name for name in ("config.json", SINGLE)]
            found += [str(one.relative_to(folder)) for one in names if whole.present("load", one)]
    return found


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """(the last word of its class, its folder) of each, in order."""
    path = folder / MODULES
    if not whole.present("load", path):
        return []
    given = read_json(path, list)
    found: list[tuple[str, Path]] = []
    for one in given:
        kind, place = (one.get("type"), one.get("path")) if isinstance(one, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(place, str) or ".." in Path(place).parts:
            raise ValueError(f"load: {path} must list modules with a type and a path in the folder, got {shown(one)}")
        found.append((kind.rpartition(".")[2], folder / place))
    kinds = [kind for kind, _ in found]
    known = ("Transformer", "Pooling", "Dense", "Normalize", "Dropout")
    for kind in kinds:
        if kind not in known:
            raise ValueError(f"load: {path} has the module {quoted(kind)}, expected one of {', '.join(known)}")
    if kinds[:1] != ["Transformer"] or kinds.count("Transformer") != 1 or kinds.count("Pooling") > 1 or (
            "Pooling" in kinds and kinds[1] != "Pooling"):  # fmt: skip
        raise ValueError(f"load: {path} must have a Transformer and then a Pooling, once each, got {', '.join(kinds)}")
    if found[0][1] != folder:
        raise ValueError(f"load: {path} puts the Transformer into {found[0][1]}, expected the folder itself; load that "
                         "folder for the encoder alone, or move its files here and make its path empty")
    return found


def _pooling(path: Path) -> Pooling:
    config = read_json(path)
    given = config.get("pooling_mode")
    ways = [given] if isinstance(given, str) else given
    if ways is None:
        ways = [way for field, way in POOLINGS.items() if config.get(field) is True]
        others = [field for field in config if field.startswith("pooling_mode") and field not in POOLINGS]
        if not ways and others:
            raise ValueError(f"load: {path} has {others[0]}, which is not supported")
        ways = ways or ["mean"]
    if not isinstance(ways, list) or not ways or not all(way in POOLINGS.values() for way in ways):
        raise ValueError(f"load: {path} must have some of {', '.join(POOLINGS.values())} as pooling_mode, got "
                         f"{shown(given)}")
    include = config.get("include_prompt", True)
    if type(include) is not bool:
        raise ValueError(f"load: {path} must have true or false as include_prompt, got {shown(include)}")
    return Pooling(tuple(ways), include)


def _dense(folder: Path) -> Dense:
    path, config = folder / "config.json", read_json(folder / "config.json")
    name = config.get("activation_function", "Tanh")
    kind = name.rpartition(".")[2] if isinstance(name, str) else None
    if kind not in ACTIVATIONS:
        raise ValueError(f"load: {path} must have one of {', '.join(ACTIVATIONS)} as activation_function, got "
                         f"{shown(name)}")
    for field in ("module_input_name", "module_output_name"):
        if config.get(field) not in (None, "sentence_embedding"):
            raise ValueError(f"load: {path} must have sentence_embedding as {field}, got {shown(config[field])}")
    if not whole.present("load", folder / SINGLE):
        raise FileNotFoundError(f"load: {folder} holds no {SINGLE}; save the model anew with sentence-transformers")
    file = TensorFile(folder / SINGLE)
    sizes = config.get("in_features"), config.get("out_features")
    weight = _read(file, "linear.weight", (sizes[1], sizes[0]))
    bias = _read(file, "linear.bias", (sizes[1],)) if "linear.bias" in file.entries else None
    residual: NDArray[Any] | bool = bool(config.get("use_residual", False))
    if residual and sizes[0] != sizes[1]:
        residual = _read(file, "residual.weight", (sizes[1], sizes[0]))
    return Dense(weight, bias, ACTIVATIONS[kind], residual)


def _read(file: TensorFile, name: str, shape: tuple[Any, ...]) -> NDArray[Any]:
    if name not in file.entries:
        raise ValueError(f"load: {file.path} holds no {name!r}")
    found = file.read(name, f"tensor {name!r} of {file.path}")
    if not isinstance(found, np.ndarray) or found.shape != shape:
        raise ValueError(f"load: tensor {name!r} of {file.path} must have the shape {list(shape)} by config.json, got "
                         f"{list(found.shape)}")
    return found
