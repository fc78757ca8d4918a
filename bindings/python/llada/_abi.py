"""llada.h in ctypes: its structs, constants and prototypes, in the header's order. Tests hold this file against it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
    sizeof,
)
from importlib.resources import as_file, files
from pathlib import Path

VERSION_MAJOR = 0
VERSION_MINOR = 2

OK = 0
ERROR_INVALID_ARGUMENT = -1
ERROR_OUT_OF_MEMORY = -2
ERROR_IO = -3
ERROR_JSON = -4
ERROR_CONFIG = -5
ERROR_SAFETENSORS = -6
ERROR_SHARD_INDEX = -7
ERROR_TENSOR = -8
ERROR_TOKENIZER = -9
ERROR_UNSUPPORTED = -10
ERROR_STATE = -11
ERROR_BUSY = -12
ERROR_CANCELLED = -13
ERROR_STOPPED = -14
ERROR_BUFFER_TOO_SMALL = -15
ERROR_SPECIAL_TOKEN = -16
ERROR_SNAPSHOT = -17
ERROR_NUMERIC = -18
ERROR_GGUF = -19
ERROR_CLUSTER = -20

# The enums of the header by value; a name here is the header's in lower case.
DTYPES = ("auto", "f32", "bf16", "int8", "int4", "q8_0", "q4_0")
MMAP = ("off", "on", "auto")
BLAS = ("auto", "off", "on")
POLICY_KINDS = ("low_confidence", "joint_threshold", "levenshtein")
LEVENSHTEIN_VARIANTS = ("reference", "indel")
PRESETS = (
    "low_confidence",
    "speedy",
    "quality",
    "quality_mbe",
    "levenshtein",
    "low_confidence_refresh",
    "speedy_refresh",
    "quality_refresh",
)
PHASES = ("ready", "forwarded", "proposed", "finished")
FINISH_REASONS = ("none", "eos", "length")
REASONS = ("threshold", "fallback", "edit", "post_edit", "block_edit", "host")
EDIT_KINDS = ("write", "delete", "insert")
EVENT_KINDS = ("unmask", "replace", "remask", "insert", "delete")
POSITION_STATES = ("prompt", "masked", "draft", "settled")
CHAT_LAYOUTS = ("known", "llada2")
BLOCK_ENDS = ("auto", "now", "not_yet")

TEXT_CONTROL = 1
TEXT_SKIP_CONTROL = 2

WATCH_ROUTING = 1
WATCH_HIDDEN = 2


class _Sized(Structure):
    """A struct that knows its own size, as the header's _INIT macros make it."""

    def __init__(self) -> None:
        super().__init__(struct_size=sizeof(self))


class Error(_Sized):
    _fields_ = [("struct_size", c_uint32), ("status", c_int32), ("message", c_char * 1016)]


ProgressCallback = CFUNCTYPE(c_int, c_double, c_void_p)


class ModelOptions(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("dtype", c_int32),
        ("kv_dtype", c_int32),
        ("blas", c_int32),
        ("threads", c_int32),
        ("expert_capacity", c_int32),
        ("mask_token_id", c_int32),
        ("use_mmap", c_int32),
        ("eos_token_ids", POINTER(c_int32)),
        ("eos_token_id_count", c_size_t),
        ("progress", ProgressCallback),
        ("progress_user", c_void_p),
        ("delete_token_id", c_int32),
        ("split_token_id", c_int32),
        ("memory_limit", c_uint64),
        ("cluster", c_void_p),
        ("expert_usage", POINTER(c_uint64)),
        ("expert_usage_count", c_size_t),
    ]


class ModelInfo(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("vocab_size", c_int32),
        ("hidden_size", c_int32),
        ("num_hidden_layers", c_int32),
        ("first_k_dense_replace", c_int32),
        ("num_attention_heads", c_int32),
        ("num_key_value_heads", c_int32),
        ("head_dim", c_int32),
        ("intermediate_size", c_int32),
        ("moe_intermediate_size", c_int32),
        ("num_experts", c_int32),
        ("num_experts_per_tok", c_int32),
        ("max_position_embeddings", c_int32),
        ("mask_token_id", c_int32),
        ("eos_token_id", c_int32),
        ("dtype", c_int32),
        ("kv_dtype", c_int32),
        ("threads", c_int32),
        ("has_tokenizer", c_bool),
        ("has_chat_template", c_bool),
        ("knows_chat_layout", c_bool),
        ("num_parameters", c_uint64),
        ("weight_bytes", c_uint64),
        ("delete_token_id", c_int32),
        ("split_token_id", c_int32),
        ("memory_used", c_uint64),
    ]


class ClusterOptions(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("timeout_ms", c_int32),
        ("initialise", c_bool),
        ("communicator", c_void_p),
        ("library", c_char_p),
        ("shares", POINTER(c_double)),
        ("share_count", c_size_t),
    ]


class ClusterInfo(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("rank", c_int32),
        ("size", c_int32),
        ("bytes_sent", c_uint64),
        ("bytes_received", c_uint64),
        ("messages_sent", c_uint64),
        ("messages_received", c_uint64),
    ]


class TextPart(Structure):
    _fields_ = [("text", c_char_p), ("byte_count", c_size_t), ("is_markup", c_bool)]


class ChatOptions(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("add_generation_prompt", c_bool),
        ("thinking", c_bool),
        ("layout", c_int32),
        ("tools", c_char_p),
    ]


class ChatMessage(Structure):
    _fields_ = [("role", c_char_p), ("content", c_char_p)]


class Policy(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_int32),
        ("threshold", c_float),
        ("steps", c_int32),
        ("minimal_topk", c_int32),
        ("editing_threshold", c_float),
        ("max_post_steps", c_int32),
        ("num_to_transfer", c_int32),
        ("penalty_lambda", c_float),
        ("mbe_window", c_int32),
        ("mbe_rounds", c_int32),
        ("temperature", c_float),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("seed", c_uint64),
        ("max_steps_per_block", c_int32),
        ("variant", c_int32),
        ("refresh_changed", c_int32),
        ("refresh_below", c_float),
        ("refresh_every", c_int32),
        ("refresh_exact", c_int32),
    ]


class DecoderOptions(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("block_length", c_int32),
        ("gen_length", c_int32),
        ("eos_early_stop", c_bool),
        ("infill", c_bool),
        ("use_cache", c_bool),
        ("policy", POINTER(Policy)),
        ("prefix_cache", c_void_p),
    ]


StepCallback = CFUNCTYPE(c_int, c_void_p, c_void_p)


class DecoderState(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("phase", c_int32),
        ("finish_reason", c_int32),
        ("block_length", c_int32),
        ("prompt_length", c_int32),
        ("gen_length", c_int32),
        ("canvas_length", c_int32),
        ("settled_length", c_int32),
        ("active_first", c_int32),
        ("active_count", c_int32),
        ("block_step", c_int32),
        ("editing_blocks", c_bool),
        ("forwards", c_uint64),
        ("commits", c_uint64),
        ("prefills", c_uint64),
        ("edits", c_uint64),
        ("computed_positions", c_uint64),
        ("reused_positions", c_uint64),
        ("insertions", c_uint64),
        ("deletions", c_uint64),
        ("computed_forwards", c_uint64),
        ("judged_positions", c_uint64),
    ]


class Active(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("first", c_int32),
        ("count", c_int32),
        ("block_step", c_int32),
        ("editing_blocks", c_bool),
        ("tokens", POINTER(c_int32)),
        ("states", POINTER(c_uint8)),
        ("locked", POINTER(c_bool)),
        ("predictions", POINTER(c_int32)),
        ("confidences", POINTER(c_float)),
        ("computed", POINTER(c_bool)),
    ]


class Candidate(Structure):
    _fields_ = [("token", c_int32), ("logit", c_float), ("probability", c_float)]


class Edit(Structure):
    _fields_ = [
        ("position", c_int32),
        ("token", c_int32),
        ("confidence", c_float),
        ("reason", c_int32),
        ("kind", c_int32),
    ]


class Event(Structure):
    _fields_ = [
        ("position", c_int32),
        ("kind", c_int32),
        ("old_token", c_int32),
        ("new_token", c_int32),
        ("confidence", c_float),
        ("reason", c_int32),
        ("last", c_int32),
    ]


Rule = CFUNCTYPE(c_int, c_void_p, c_void_p)


class Text(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("settled", c_void_p),
        ("settled_count", c_size_t),
        ("draft", c_void_p),
        ("draft_count", c_size_t),
    ]


class PrefixCacheInfo(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("max_bytes", c_uint64),
        ("bytes", c_uint64),
        ("blocks", c_uint64),
        ("pinned_blocks", c_uint64),
        ("lookups", c_uint64),
        ("hits", c_uint64),
        ("reused_tokens", c_uint64),
        ("evicted_blocks", c_uint64),
    ]


class NoisedSequence(Structure):
    _fields_ = [
        ("tokens", POINTER(c_int32)),
        ("count", c_size_t),
        ("noisy", POINTER(c_int32)),
        ("versions", c_size_t),
        ("prompt_length", c_int32),
    ]


class ScoreOptions(_Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("block_length", c_int32),
        ("everywhere", c_bool),
        ("progress", ProgressCallback),
        ("progress_user", c_void_p),
    ]


# Handles (llada_model *, llada_decoder *, llada_prefix_cache *, llada_text_stream *) travel as c_void_p.
_handle = c_void_p
_error = POINTER(Error)
_count = POINTER(c_size_t)
_tokens = POINTER(c_int32)

PROTOTYPES = {
    "llada_version": (c_uint32, []),
    "llada_version_string": (c_char_p, []),
    "llada_build_info": (c_char_p, []),
    "llada_status_name": (c_char_p, [c_int32]),
    "llada_model_options_init": (c_int32, [POINTER(ModelOptions), c_size_t, _error]),
    "llada_model_open": (c_int32, [c_char_p, POINTER(ModelOptions), POINTER(_handle), _error]),
    "llada_model_save": (c_int32, [_handle, c_char_p, ProgressCallback, c_void_p, _error]),
    "llada_model_describe": (c_int32, [c_char_p, POINTER(c_char), c_size_t, _count, _error]),
    "llada_model_free": (None, [_handle]),
    "llada_model_get_info": (c_int32, [_handle, POINTER(ModelInfo), _error]),
    "llada_model_eos_token_ids": (c_int32, [_handle, _tokens, c_size_t, _count, _error]),
    "llada_model_notes": (c_int32, [_handle, POINTER(c_char), c_size_t, _count, _error]),
    "llada_model_logits": (
        c_int32,
        [_handle, _tokens, c_size_t, c_int32, ProgressCallback, c_void_p, POINTER(c_float), c_size_t, _count, _error],
    ),
    "llada_cluster_options_init": (c_int32, [POINTER(ClusterOptions), c_size_t, _error]),
    "llada_cluster_create": (c_int32, [POINTER(ClusterOptions), POINTER(_handle), _error]),
    "llada_cluster_free": (None, [_handle]),
    "llada_cluster_serve": (c_int32, [_handle, c_char_p, POINTER(ModelOptions), _error]),
    "llada_cluster_get_info": (c_int32, [_handle, POINTER(ClusterInfo), _error]),
    "llada_tokenize": (c_int32, [_handle, c_char_p, c_size_t, c_uint32, _tokens, c_size_t, _count, _error]),
    "llada_detokenize": (c_int32, [_handle, _tokens, c_size_t, c_uint32, POINTER(c_char), c_size_t, _count, _error]),
    "llada_tokenize_parts": (c_int32, [_handle, POINTER(TextPart), c_size_t, _tokens, c_size_t, _count, _error]),
    "llada_chat_tokenize": (
        c_int32,
        [_handle, POINTER(ChatMessage), c_size_t, POINTER(ChatOptions), _tokens, c_size_t, _count, _error],
    ),
    "llada_chat_tokenize_json": (
        c_int32,
        [_handle, c_char_p, c_size_t, POINTER(ChatOptions), _tokens, c_size_t, _count, _error],
    ),
    "llada_chat_template": (c_int32, [_handle, c_char_p, POINTER(c_char), c_size_t, _count, _error]),
    "llada_chat_variables": (c_int32, [_handle, POINTER(c_char), c_size_t, _count, _error]),
    "llada_decoder_options_init": (c_int32, [POINTER(DecoderOptions), c_size_t, _error]),
    "llada_decoder_create": (c_int32, [_handle, _tokens, c_size_t, POINTER(DecoderOptions), POINTER(_handle), _error]),
    "llada_decoder_free": (None, [_handle]),
    "llada_decoder_forward": (c_int32, [_handle, _error]),
    "llada_decoder_propose": (c_int32, [_handle, _error]),
    "llada_decoder_apply": (c_int32, [_handle, _error]),
    "llada_decoder_step": (c_int32, [_handle, _error]),
    "llada_decoder_run_block": (c_int32, [_handle, StepCallback, c_void_p, _error]),
    "llada_decoder_run": (c_int32, [_handle, StepCallback, c_void_p, _error]),
    "llada_decoder_cancel": (None, [_handle]),
    "llada_decoder_set_progress": (c_int32, [_handle, ProgressCallback, c_void_p, _error]),
    "llada_decoder_get_state": (c_int32, [_handle, POINTER(DecoderState), _error]),
    "llada_decoder_canvas": (c_int32, [_handle, POINTER(_tokens), POINTER(POINTER(c_uint8)), _count, _error]),
    "llada_decoder_locked": (c_int32, [_handle, POINTER(POINTER(c_bool)), _count, _error]),
    "llada_decoder_output": (c_int32, [_handle, _tokens, c_size_t, _count, _error]),
    "llada_decoder_active": (c_int32, [_handle, POINTER(Active), _error]),
    "llada_decoder_candidates": (c_int32, [_handle, c_int32, POINTER(Candidate), c_size_t, _count, _error]),
    "llada_decoder_keep_candidates": (c_int32, [_handle, c_size_t, _error]),
    "llada_decoder_logits": (c_int32, [_handle, c_int32, POINTER(POINTER(c_float)), _count, _error]),
    "llada_decoder_proposal": (c_int32, [_handle, POINTER(POINTER(Edit)), _count, _error]),
    "llada_decoder_events": (c_int32, [_handle, POINTER(POINTER(Event)), _count, _error]),
    "llada_decoder_step_map": (c_int32, [_handle, POINTER(_tokens), _count, _error]),
    "llada_decoder_set_proposal": (c_int32, [_handle, POINTER(Edit), c_size_t, _error]),
    "llada_decoder_set_token": (c_int32, [_handle, c_int32, c_int32, _error]),
    "llada_decoder_mask": (c_int32, [_handle, c_int32, _error]),
    "llada_decoder_lock": (c_int32, [_handle, c_int32, c_bool, _error]),
    "llada_decoder_ban": (c_int32, [_handle, c_int32, c_int32, c_bool, _error]),
    "llada_decoder_set_logit_bias": (c_int32, [_handle, c_int32, c_int32, c_float, _error]),
    "llada_decoder_end_block": (c_int32, [_handle, c_int32, _error]),
    "llada_decoder_set_rule": (c_int32, [_handle, Rule, c_void_p, _error]),
    "llada_text_stream_create": (c_int32, [_handle, c_uint32, c_char_p, POINTER(_handle), _error]),
    "llada_text_stream_free": (None, [_handle]),
    "llada_text_stream_update": (c_int32, [_handle, _handle, POINTER(Text), _error]),
    "llada_text_stream_push": (c_int32, [_handle, _tokens, c_size_t, POINTER(Text), _error]),
    "llada_text_stream_finish": (c_int32, [_handle, POINTER(Text), _error]),
    "llada_policy_init": (c_int32, [POINTER(Policy), c_size_t, c_int32, _error]),
    "llada_decoder_get_policy": (c_int32, [_handle, POINTER(Policy), _error]),
    "llada_decoder_fork": (c_int32, [_handle, POINTER(Policy), POINTER(_handle), _error]),
    "llada_decoder_truncate": (c_int32, [_handle, c_int32, _error]),
    "llada_decoders_forward": (c_int32, [POINTER(_handle), c_size_t, _error]),
    "llada_decoders_step": (c_int32, [POINTER(_handle), c_size_t, _error]),
    "llada_decoders_run": (c_int32, [POINTER(_handle), c_size_t, c_size_t, StepCallback, c_void_p, _error]),
    "llada_prefix_cache_create": (c_int32, [_handle, c_uint64, POINTER(_handle), _error]),
    "llada_prefix_cache_free": (None, [_handle]),
    "llada_prefix_cache_get_info": (c_int32, [_handle, POINTER(PrefixCacheInfo), _error]),
    "llada_prefix_cache_pin": (c_int32, [_handle, _tokens, c_size_t, c_int32, c_bool, _count, _error]),
    "llada_prefix_cache_clear": (c_int32, [_handle, _error]),
    "llada_decoder_save": (
        c_int32,
        [_handle, c_bool, ProgressCallback, c_void_p, c_void_p, c_size_t, _count, _error],
    ),
    "llada_decoder_save_file": (c_int32, [_handle, c_bool, c_char_p, ProgressCallback, c_void_p, _error]),
    "llada_decoder_restore": (
        c_int32,
        [_handle, _handle, c_void_p, c_size_t, ProgressCallback, c_void_p, POINTER(_handle), _error],
    ),
    "llada_decoder_restore_file": (
        c_int32,
        [_handle, _handle, c_char_p, ProgressCallback, c_void_p, POINTER(_handle), _error],
    ),
    "llada_prefix_cache_save": (c_int32, [_handle, c_char_p, ProgressCallback, c_void_p, _error]),
    "llada_prefix_cache_load": (c_int32, [_handle, c_char_p, ProgressCallback, c_void_p, _count, _error]),
    "llada_decoder_watch": (c_int32, [_handle, c_uint32, _error]),
    "llada_decoder_routing": (c_int32, [_handle, c_int32, _tokens, POINTER(c_float), c_size_t, _count, _error]),
    "llada_decoder_hidden": (c_int32, [_handle, c_int32, POINTER(c_float), c_size_t, _count, _error]),
    "llada_decoder_expert_usage": (c_int32, [_handle, POINTER(c_uint64), c_size_t, _count, _error]),
    "llada_decoder_disable_expert": (c_int32, [_handle, c_int32, c_int32, c_bool, _error]),
    "llada_score_options_init": (c_int32, [POINTER(ScoreOptions), c_size_t, _error]),
    "llada_model_score": (
        c_int32,
        [
            _handle,
            POINTER(NoisedSequence),
            c_size_t,
            POINTER(ScoreOptions),
            POINTER(c_float),
            _tokens,
            POINTER(c_float),
            POINTER(c_float),
            c_size_t,
            _count,
            _error,
        ],
    ),
}


def _library() -> AbstractContextManager[Path]:
    """LLADA_LIBRARY, else the one a wheel put beside this file, else the one built in the checkout around it. If this
    file is in a zip, the library is copied out of it for as long as the context lasts."""
    named = os.environ.get("LLADA_LIBRARY")
    if named:
        if Path(named).is_file():
            return nullcontext(Path(named).resolve())
        raise ImportError(f"LLADA_LIBRARY names {named!r}, and there is no such file")
    # The package may be reached through links, with the library beside the link or beside the file.
    for here in (Path(__file__).absolute().parent, Path(__file__).resolve().parent):
        if (here / "libllada.so").is_file():
            return nullcontext(here / "libllada.so")
    packed = files(__package__) / "libllada.so"
    if packed.is_file():
        return as_file(packed)
    checkout = next((folder for folder in here.parents if (folder / "include" / "llada.h").is_file()), None)
    if checkout is None:
        raise ImportError(
            f"libllada.so is not in {here}. Install the package with pip from a checkout of llada "
            "(pip install ./bindings/python), put the library beside the package's files, also in a zip, or set "
            "LLADA_LIBRARY to the library's path."
        )
    built = checkout / ".build" / "release" / "libllada.so"
    if not built.is_file():
        raise ImportError(
            f"libllada.so is not built. Run this in {checkout}:\n"
            "    swift build -c release --product llada\n"
            "or set LLADA_LIBRARY to the path of a built one."
        )
    return nullcontext(built)


def _load() -> CDLL:
    with _library() as path:
        try:
            library = CDLL(str(path))  # which stays when its file goes
        except OSError as problem:
            raise ImportError(f"cannot load {path}: {problem}") from problem
    try:
        version = library.llada_version()
    except AttributeError:
        raise ImportError(f"{path} does not export llada_version: it is no llada") from None
    # Until 1.0 the interface may change with the minor version.
    if version // 100 != VERSION_MAJOR * 100 + VERSION_MINOR:
        found = f"{version // 10000}.{version // 100 % 100}"
        raise ImportError(f"{path} is llada {found}; this package speaks {VERSION_MAJOR}.{VERSION_MINOR}")
    for name, (result, arguments) in PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{path} does not export {name}: it is of another version; build it again") from None
        function.restype = result
        function.argtypes = arguments
    return library


lib = _load()
