"""What is known of a model, and what the floors below `Model` need of one."""

from __future__ import annotations

from ctypes import byref
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from . import _abi
from ._convert import collect, collect_text
from ._handle import Handle
from .errors import SpecialTokenError, call


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model: `Model.info`.

    Attributes:
        vocab_size: Tokens that the model knows; logits are as long.
        hidden_size: Width of the hidden states.
        num_hidden_layers: Layers.
        first_k_dense_replace: So many layers at the beginning have no experts.
        num_attention_heads: Heads of queries.
        num_key_value_heads: Heads of keys and values.
        head_dim: Width of a head.
        intermediate_size: Inner width of a layer without experts.
        moe_intermediate_size: Inner width of an expert.
        num_experts: Experts of a layer.
        num_experts_per_tok: Experts that each token is given.
        max_position_embeddings: The longest canvas, in tokens; with YaRN, as extended.
        mask_token_id: None if it is unknown; then no decoder can be made.
        eos_token_id: The first of eos_token_ids; None if there is none.
        eos_token_ids: Each of them ends an answer.
        threads: Threads of the model, the caller's included.
        has_tokenizer: Whether the checkpoint has a tokenizer.json.
        has_chat_template: Whether conversations can be laid out.
        knows_chat_layout: Whether the library does so itself, as the checkpoint's chat template is known to be the
            layout of LLaDA2 and Ling 2.0; else the template needs Jinja2 (the extra `chat`).
        num_parameters: Numbers that the model consists of.
        weight_bytes: As held in memory, mapped files included.
        dtype: Of the matrices, as held: "f32", "bf16", "int8", "int4", or, as GGUF files have them, "q8_0" or "q4_0";
            "auto": as stored in the checkpoint.
        kv_dtype: Of keys and values: "f32", "bf16" or "int8".
        delete_token_id: By which LLaDA2.2 says that a token is to go; None for other models.
        split_token_id: By which LLaDA2.2 says that a mask is to come before a token; None for other models.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    first_k_dense_replace: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    moe_intermediate_size: int
    num_experts: int
    num_experts_per_tok: int
    max_position_embeddings: int
    mask_token_id: int | None
    eos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    threads: int
    has_tokenizer: bool
    has_chat_template: bool
    knows_chat_layout: bool
    num_parameters: int
    weight_bytes: int
    dtype: str
    kv_dtype: str
    delete_token_id: int | None
    split_token_id: int | None


class OpenedModel(NamedTuple):
    """A model as those need it who compute with it. Whoever has this keeps the model alive."""

    handle: Handle
    info: ModelInfo
    name: str

    @property
    def mask(self) -> int:
        """The mask id. Raises SpecialTokenError if it is unknown."""
        if self.info.mask_token_id is None:
            raise SpecialTokenError("the model's mask id is unknown: pass mask_token_id to Model.load")
        return self.info.mask_token_id


class AnyModel(Protocol):
    """`llada.Model`, as the floors below it know it."""

    def _opened(self) -> OpenedModel: ...


def read_info(model: Handle) -> ModelInfo:
    """Asks the library."""
    info = _abi.ModelInfo()
    call(_abi.lib.llada_model_get_info, model, byref(info))
    values = {field[0]: getattr(info, field[0]) for field in _abi.ModelInfo._fields_[1:]}
    del values["memory_used"]  # it changes: see read_memory_used
    for name in ("mask_token_id", "eos_token_id", "delete_token_id", "split_token_id"):
        values[name] = None if values[name] < 0 else values[name]
    for name in ("dtype", "kv_dtype"):
        values[name] = _abi.DTYPES[values[name]]
    ends = collect(_abi.lib.llada_model_eos_token_ids, model, guess=8)
    return ModelInfo(**values, eos_token_ids=tuple(ends.tolist()))


def read_memory_used(model: Handle) -> int:
    """Asks the library for the bytes that count towards memory_limit."""
    info = _abi.ModelInfo()
    call(_abi.lib.llada_model_get_info, model, byref(info))
    return int(info.memory_used)


def read_notes(model: Handle) -> tuple[str, ...]:
    """Asks the library what it left out or assumed."""
    return tuple(collect_text(_abi.lib.llada_model_notes, model, guess=4096).splitlines())
