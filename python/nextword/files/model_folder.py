"""A model's folder: its JSON files, and which of its files hold which tensors. What is wrong is told with a way out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple, overload

from nextword.files import whole
from nextword.files.safetensors_file import TensorFile, refuse_other_kinds
from nextword.machine.shown import quoted

__all__ = ["GENERATION", "HUB_FILES", "INDEX", "SINGLE", "TEMPLATE", "VOCABULARY_FILES", "VOCABULARY_GGUF",
           "find_tensors", "present", "read_json", "refuse_adapters"]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
VOCABULARY_FILES = ("vocab.json", "merges.txt", "encoder.json", "vocab.bpe", "tokenizer.json", "added_tokens.json",
                    "special_tokens_map.json", "tokenizer_config.json", "vocab.txt", "tokenizer.model",
                    "sentencepiece.bpe.model", "spiece.model", "spm.model")  # fmt: skip
VOCABULARY_GGUF = "vocabulary.gguf"  # the metadata of a GGUF file, in a folder that was made of one
GENERATION, TEMPLATE = "generation_config.json", "chat_template.jinja"
HUB_FILES = ("config.json", GENERATION, TEMPLATE, "adapter_config.json", SINGLE, INDEX, "model-*.safetensors",
             *VOCABULARY_FILES, VOCABULARY_GGUF, "modules.json", "config_sentence_transformers.json",
             "sentence_bert_config.json", "*_*/config.json", "*_*/model.safetensors")  # fmt: skip

JSON_LIMIT = 32_000_000  # bytes of config.json or an index that are read at all

NOT_MERGED = (
    "which belongs to an adapter (LoRA or another of PEFT) that is not merged into the weights; merge it once where "
    "peft is installed: AutoPeftModelForCausalLM.from_pretrained(adapter).merge_and_unload().save_pretrained(folder), "
    "and load that folder"
)


class Found(NamedTuple):
    """The tensors of a folder as (their file, their stored name), and those of shards that the index does not name."""

    tensors: list[tuple[TensorFile, str]]
    unlisted: list[tuple[TensorFile, str]]


def find_tensors(folder: Path) -> Found:
    """What the folder holds."""
    single, index = folder / SINGLE, folder / INDEX
    if present(single):
        file = TensorFile(single)
        return Found([(file, name) for name in file.entries], [])
    if present(index):
        return find_sharded(folder, index)
    raise FileNotFoundError(f"weights: {folder} holds no {SINGLE}{instead_of_weights(folder)}")


def find_sharded(folder: Path, index: Path) -> Found:
    """Every tensor that the index names, after checking that its shard holds it."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"weights: {index} has no 'weight_map' of tensor names to shard files")
    files: dict[str, TensorFile] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not re.fullmatch(r"[\w-][\w.-]*\.safetensors", shard):
            raise ValueError(
                f"weights: {index} puts {quoted(name)} into {quoted(str(shard))}; "
                "expected the name of a .safetensors file beside it"
            )
        if shard not in files:
            if not present(folder / shard):
                raise FileNotFoundError(f"weights: {index} names the shard {shard}, which is not in {folder}")
            files[shard] = TensorFile(folder / shard)
        if name not in files[shard].entries:
            raise ValueError(f"weights: {index} puts {quoted(name)} into {shard}, which does not hold it")
    unlisted = [(file, name) for shard, file in files.items() for name in file.entries if weight_map.get(name) != shard]
    return Found([(files[shard], name) for name, shard in weight_map.items()], unlisted)


def refuse_adapters(folder: Path) -> None:
    """An adapter beside a model changes its logits, and alone it is no model."""
    for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
        if (folder / name).exists():
            raise ValueError(f"weights: {folder} holds {name}, {NOT_MERGED}")


def instead_of_weights(folder: Path) -> str:
    """What the folder without weights holds instead, and what to do about it."""
    names = sorted(path.name for path in folder.iterdir())
    if any(re.fullmatch(r"pytorch_model.*\.bin", name) for name in names):
        return (
            ", only PyTorch's pytorch_model.bin; convert it once where transformers is installed: "
            "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder)"
        )
    alone = [name for name in names if name.endswith(".gguf")]
    if alone:
        return f"; load {alone[0]} by its own path, {folder / alone[0]}"
    other = [name for name in names if name.endswith(".safetensors")]
    if other:
        return f" and no {INDEX}; rename {other[0]} if that is the model" if len(other) == 1 else f" and no {INDEX}"
    return "; it is empty" if not names else f"; it holds {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"


def present(path: Path) -> bool:
    """Whether the path is a file; an error if it is there and something else."""
    return whole.present("weights", path)


@overload
def read_json(path: Path) -> dict[str, Any]: ...
@overload
def read_json(path: Path, kind: type[list[Any]]) -> list[Any]: ...
def read_json(path: Path, kind: type = dict) -> Any:
    """The JSON object, or list, that a file holds."""
    if not present(path):
        raise FileNotFoundError(f"weights: {path.parent} holds no {path.name}; is it a model's folder?")
    if path.stat().st_size > JSON_LIMIT:
        raise ValueError(f"weights: {path} has {path.stat().st_size:,} bytes; expected JSON of {JSON_LIMIT:,} at most")
    raw = path.read_bytes()
    refuse_other_kinds(path, raw)
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        raise ValueError(f"weights: {path} is not valid JSON: {error}") from error
    if not isinstance(found, kind):
        what = "object" if kind is dict else "list"
        raise ValueError(f"weights: {path} must hold a JSON {what}, got {type(found).__name__}")
    return found
