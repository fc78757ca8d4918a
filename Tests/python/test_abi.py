"""The ctypes mirror against llada.h and against the library."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from llada import _abi

HEADER = (ROOT / "include" / "llada.h").read_text()
CODE = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.S)

STRUCTS = {
    "llada_error": _abi.Error,
    "llada_model_options": _abi.ModelOptions,
    "llada_cluster_options": _abi.ClusterOptions,
    "llada_cluster_info": _abi.ClusterInfo,
    "llada_model_info": _abi.ModelInfo,
    "llada_noised_sequence": _abi.NoisedSequence,
    "llada_score_options": _abi.ScoreOptions,
    "llada_text_part": _abi.TextPart,
    "llada_chat_options": _abi.ChatOptions,
    "llada_chat_message": _abi.ChatMessage,
    "llada_policy": _abi.Policy,
    "llada_prefix_cache_info": _abi.PrefixCacheInfo,
    "llada_decoder_options": _abi.DecoderOptions,
    "llada_decoder_state": _abi.DecoderState,
    "llada_active": _abi.Active,
    "llada_candidate": _abi.Candidate,
    "llada_edit": _abi.Edit,
    "llada_event": _abi.Event,
    "llada_text": _abi.Text,
}

CONSTANTS = {
    "LLADA_DTYPE_": _abi.DTYPES,
    "LLADA_BLAS_": _abi.BLAS,
    "LLADA_MMAP_": _abi.MMAP,
    "LLADA_POLICY_": _abi.POLICY_KINDS,
    "LLADA_PRESET_": _abi.PRESETS,
    "LLADA_PHASE_": _abi.PHASES,
    "LLADA_FINISH_": _abi.FINISH_REASONS,
    "LLADA_REASON_": _abi.REASONS,
    "LLADA_EDIT_": _abi.EDIT_KINDS,
    "LLADA_EVENT_": _abi.EVENT_KINDS,
    "LLADA_LEVENSHTEIN_": _abi.LEVENSHTEIN_VARIANTS,
    "LLADA_POSITION_": _abi.POSITION_STATES,
    "LLADA_BLOCK_END_": _abi.BLOCK_ENDS,
    "LLADA_CHAT_LAYOUT_": _abi.CHAT_LAYOUTS,
}


def functions() -> dict:
    """name -> its parameters as the header writes them"""
    found = re.findall(r"LLADA_API\s+[\w\s\*]*?(llada_\w+)\s*\(([^;]*)\)\s*;", CODE)
    return {name: re.sub(r"\s+", " ", parameters).strip() for name, parameters in found}


def test_every_struct_of_the_header_is_mirrored():
    assert set(re.findall(r"\bstruct (llada_\w+) \{", CODE)) == set(STRUCTS)


def test_sizes_and_offsets(tmp_path):
    compiler = shutil.which("cc") or shutil.which("clang") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    lines = []
    for name, mirror in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for field in mirror._fields_:
            lines.append(
                f'printf("{name}.{field[0]} %zu %zu\\n", offsetof({name}, {field[0]}), '
                f"sizeof((({name} *)0)->{field[0]}));"
            )
    source = tmp_path / "sizes.c"
    source.write_text(
        '#include <stdio.h>\n#define LLADA_EXPERIMENTAL\n#include "llada.h"\nint main(void) {\n'
        + "\n".join(lines)
        + "\n}\n"
    )
    program = tmp_path / "sizes"
    subprocess.run([compiler, "-std=c99", "-I", ROOT / "include", source, "-o", program], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()

    mirrored = []
    for name, mirror in STRUCTS.items():
        mirrored.append(f"{name} {ctypes.sizeof(mirror)}")
        for field in mirror._fields_:
            place = getattr(mirror, field[0])
            mirrored.append(f"{name}.{field[0]} {place.offset} {place.size}")
    assert printed == mirrored


@pytest.mark.parametrize("name", STRUCTS)
def test_no_field_is_missing(name):
    body = re.search(r"\bstruct " + name + r" \{(.*?)\}", CODE, re.S)[1]
    fields = re.findall(r"(\w+)(?:\[\d+\])?;", body)
    assert fields == [field[0] for field in STRUCTS[name]._fields_]


def test_constants():
    # The header writes every value out.
    values = {name: int(value) for name, value in re.findall(r"\b(LLADA_[A-Z0-9_]+) =\s+(-?\d+)", CODE)}
    mirrored = {"LLADA_OK": _abi.OK}
    mirrored.update(
        {f"LLADA_{name}": value for name, value in vars(_abi).items() if re.match("ERROR_|TEXT_|WATCH_", name)}
    )
    for prefix, names in CONSTANTS.items():
        mirrored.update({prefix + name.upper(): value for value, name in enumerate(names)})
    assert values == mirrored


def test_states_are_the_header_s():
    import llada

    assert [state.name.lower() for state in llada.State] == list(_abi.POSITION_STATES)
    assert [int(state) for state in llada.State] == [0, 1, 2, 3]


def test_every_function_is_bound_as_declared():
    kinds = {
        "size_t": ctypes.c_size_t,
        "int32_t": ctypes.c_int32,
        "uint32_t": ctypes.c_uint32,
        "bool": ctypes.c_bool,
        "llada_status": ctypes.c_int32,
        "llada_preset": ctypes.c_int32,
        "void *": ctypes.c_void_p,
        "llada_model *": ctypes.c_void_p,
        "llada_decoder *": ctypes.c_void_p,
        "llada_prefix_cache *": ctypes.c_void_p,
        "llada_text_stream *": ctypes.c_void_p,
        "llada_cluster *": ctypes.c_void_p,
        "char *": None,
        "uint64_t": ctypes.c_uint64,
        "llada_progress_callback": _abi.ProgressCallback,
        "llada_step_callback": _abi.StepCallback,
        "llada_position_state": ctypes.c_uint8,
        "llada_text_flags": ctypes.c_uint32,
        "llada_watch_flags": ctypes.c_uint32,
        "float": ctypes.c_float,
        "llada_block_end": ctypes.c_int32,
        "llada_rule": _abi.Rule,
    }
    kinds.update(STRUCTS)
    declared = functions()
    assert set(declared) == set(_abi.PROTOTYPES)
    for name, parameters in declared.items():
        bound = _abi.PROTOTYPES[name][1]
        written = [] if parameters == "void" else parameters.split(",")
        assert len(written) == len(bound), name
        for text, kind in zip(written, bound):
            text = re.sub(r"\bconst\b", "", text)
            text = re.sub(r"\w+\s*$", "", text).strip()  # without the parameter's name
            text = re.sub(r"\s+", " ", text).replace("* *", "**")
            expected = kinds.get(text)
            if text == "char *":
                assert kind in (ctypes.c_char_p, ctypes.POINTER(ctypes.c_char)), (name, text)
                continue
            if expected is None:
                expected = kinds.get(text.removesuffix(" *"))
                if expected is None:  # a pointer to a pointer
                    inner = text[:-1].strip()
                    expected = kinds.get(inner) or ctypes.POINTER(kinds[inner[:-2]])
                expected = ctypes.POINTER(expected)
            assert kind is expected, (name, text)


def test_the_library_exports_these_and_nothing_else():
    tool = shutil.which("nm") or shutil.which("llvm-nm")
    if tool is None:
        pytest.skip("no nm")
    listed = subprocess.run(
        [tool, "-D", "--defined-only", _abi.lib._name], check=True, capture_output=True, text=True
    ).stdout
    # Lines are "address type name"; the version node itself (LLADA_0) is listed too.
    names = {line.split()[-1].split("@")[0] for line in listed.splitlines() if line.split()[-2] != "A"}
    assert names == set(functions())


def test_the_versions_agree():
    version = ".".join(re.search(rf"LLADA_VERSION_{part} (\d+)", HEADER)[1] for part in ("MAJOR", "MINOR", "PATCH"))
    major, minor, patch = map(int, version.split("."))
    project = (ROOT / "bindings" / "python" / "pyproject.toml").read_text()
    import llada

    assert llada.__version__ == version
    assert _abi.lib.llada_version() == major * 10000 + minor * 100 + patch
    assert (major, minor) == (_abi.VERSION_MAJOR, _abi.VERSION_MINOR)
    assert 'dynamic = ["version"]' in project  # hatch_build.py reads it from llada.h
    assert version in llada.build_info()


def test_status_names():
    for name, value in re.findall(r"\b(LLADA_OK|LLADA_ERROR_\w+) = (-?\d+)", CODE):
        assert _abi.lib.llada_status_name(int(value)).decode() == name
    assert _abi.lib.llada_status_name(-9999) == b"unknown status"


def test_presets_are_the_library_s():
    from ctypes import byref

    from llada import Policy

    ours = {
        "low_confidence": Policy.low_confidence(),
        "speedy": Policy.speedy(),
        "quality": Policy.quality(),
        "quality_mbe": Policy.quality(mbe_window=2),
        "levenshtein": Policy.levenshtein(),
        "low_confidence_refresh": Policy.low_confidence(refresh=True),
        "speedy_refresh": Policy.speedy(refresh=True),
        "quality_refresh": Policy.quality(refresh=True),
    }
    fields = {
        "low_confidence": ("threshold", "steps", "minimal_topk"),
        "levenshtein": ("threshold", "editing_threshold", "steps", "max_post_steps", "max_steps_per_block", "variant"),
    }
    fields["low_confidence_refresh"] = fields["low_confidence"]
    joint = (
        "threshold",
        "editing_threshold",
        "max_post_steps",
        "num_to_transfer",
        "penalty_lambda",
        "mbe_window",
        "mbe_rounds",
    )
    refresh = ("refresh_changed", "refresh_below", "refresh_every", "refresh_exact")
    sampling = ("kind", "temperature", "top_k", "top_p", "seed", *refresh)
    for number, name in enumerate(_abi.PRESETS):
        theirs = _abi.Policy()
        assert _abi.lib.llada_policy_init(byref(theirs), ctypes.sizeof(theirs), number, None) == _abi.OK
        mine = ours[name]._as_struct()
        for field in (*fields.get(name, joint), *sampling):
            assert getattr(mine, field) == getattr(theirs, field), (name, field)


def test_sizes_a_library_does_not_know(gqa):
    """struct_size rule: shorter is older and fine; longer is refused unless the tail is zero."""
    from ctypes import byref, c_void_p

    options = _abi.ModelOptions()
    _abi.lib.llada_model_options_init(byref(options), ctypes.sizeof(options), None)
    assert options.struct_size == ctypes.sizeof(options)
    assert (options.mask_token_id, options.eos_token_id_count, options.use_mmap) == (-1, 0, 2)
    assert not options.eos_token_ids

    class Longer(ctypes.Structure):
        _fields_ = [("known", _abi.DecoderOptions), ("tail", ctypes.c_uint64)]

    for tail, good in ((0, True), (1, False)):
        longer = Longer()
        _abi.lib.llada_decoder_options_init(
            ctypes.cast(byref(longer), ctypes.POINTER(_abi.DecoderOptions)), ctypes.sizeof(longer), None
        )
        assert longer.known.struct_size == ctypes.sizeof(longer) and longer.tail == 0
        longer.tail = tail
        made, error = c_void_p(), _abi.Error()
        status = _abi.lib.llada_decoder_create(
            gqa._handle,
            (ctypes.c_int32 * 1)(1),
            1,
            ctypes.cast(byref(longer), ctypes.POINTER(_abi.DecoderOptions)),
            byref(made),
            byref(error),
        )
        assert (status == _abi.OK) is good
        assert status in (_abi.OK, _abi.ERROR_INVALID_ARGUMENT)
        _abi.lib.llada_decoder_free(made)


def test_run_with_a_c_callback(gqa):
    """What a callback in C may do, and that a run that it stopped goes on."""
    from ctypes import byref

    expected = gqa.generate([1, 2, 3], gen_length=16, block_length=8)
    with gqa.decoder([1, 2, 3], gen_length=16, block_length=8) as dec:
        seen = []

        @_abi.StepCallback
        def look(handle, user):
            state = _abi.DecoderState()
            assert _abi.lib.llada_decoder_get_state(handle, byref(state), None) == _abi.OK
            assert _abi.lib.llada_decoder_step(handle, None) == _abi.ERROR_BUSY
            assert _abi.lib.llada_decoder_set_token(handle, 5, 1, None) == _abi.ERROR_BUSY
            seen.append(state.forwards)
            return len(seen) == 2

        assert _abi.lib.llada_decoder_run(dec._calls._handle, look, None, None) == _abi.ERROR_STOPPED
        assert seen == [1, 2]
        assert _abi.lib.llada_decoder_run_block(dec._calls._handle, _abi.StepCallback(), None, None) == _abi.OK
        assert _abi.lib.llada_decoder_run(dec._calls._handle, _abi.StepCallback(), None, None) == _abi.OK
        assert dec.result.tokens.tolist() == expected.tokens.tolist()
        assert dec.forwards == expected.forwards
