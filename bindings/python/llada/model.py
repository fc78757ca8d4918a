"""A checkpoint, opened: logits, generation, decoders."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from ctypes import POINTER, byref, c_float, c_void_p, sizeof
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from . import _abi
from ._convert import Handle, Held, Tokens, choice, file_name, integer, token_pointer, tokens
from .cache import PrefixCache
from .decoder import Decoder
from .errors import Error, InvalidArgumentError, call, check, missing
from .likelihood import Choice, Elbo, choose, draw_noise, elbos
from .many import generations
from .policy import Policy
from .progress import Progress, reporting
from .records import Generation, Rule
from .rollouts import Rollouts, rollouts
from .scoring import Noised, Scores, mask_of, score_many
from .text import Tokenizer


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model. `weight_bytes`: as held in memory, mapped files included. `dtype`: of the matrices, as held;
    "auto" is as stored in the checkpoint. `kv_dtype`: "f32" or "bf16"."""

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
    threads: int
    has_tokenizer: bool
    has_chat_template: bool
    num_parameters: int
    weight_bytes: int
    dtype: str
    kv_dtype: str


def _name(folder: bytes) -> str:
    return os.path.basename(os.path.normpath(os.fsdecode(folder)))


class Model(Held):
    """An opened checkpoint; `Model.load` opens one. It never changes, and many threads may use it at once.

    Its memory is given back on `close()`, at the end of a `with`, or when nothing refers to it any more; decoders made
    from it keep what they need. Calls on a closed model raise ClosedError.
    """

    _what = "model"

    def __init__(self, handle: Handle, path: str) -> None:
        self._handle: Handle | None = handle
        self._path = path
        info = _abi.ModelInfo()
        check(_abi.lib.llada_model_get_info(handle, byref(info)))
        values = {field[0]: getattr(info, field[0]) for field in _abi.ModelInfo._fields_[1:]}
        for name in ("mask_token_id", "eos_token_id"):
            values[name] = None if values[name] < 0 else values[name]
        for name in ("dtype", "kv_dtype"):
            values[name] = _abi.DTYPES[values[name]]
        self.info = ModelInfo(**values)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        dtype: str = "auto",
        threads: int | None = None,
        mask_token_id: int | None = None,
        eos_token_id: int | None = None,
        *,
        blas: str = "auto",
        use_mmap: bool = True,
        expert_capacity: int = 0,
        progress: Progress = None,
        kv_dtype: str = "auto",
    ) -> Model:
        """Opens the Hugging Face folder of a `llada2_moe` checkpoint.

        dtype      how matrices are held and multiplied: "auto" (as stored, in place) and "f32" exactly; "bf16", "int8" and
                   "int4" packed, faster, with activations rounded to match. What `save` wrote is packed: "auto", or the same
        threads    None: as many as the process may use. Results do not depend on it, bit for bit.
        mask_token_id, eos_token_id
                   None: (generation_)config.json, else the tokenizer, else LLaDA2's own
        blas       who multiplies f32 weights: "auto", "off" (own kernels), "on" (OpenBLAS)
        use_mmap   False reads the weights into memory: for files that may change while they are open
        expert_capacity
                   0: as the config says. Else the tokens of a block of 32 positions share so many experts of a layer
                   (LLaDA2.2's block routing): fewer bytes a step, other results
        kv_dtype   how keys and values are held, and attention computed: "f32"; "bf16", half the bytes and about half the time;
                   "auto": "bf16" where the matrices are packed
        progress   None: a bar if stderr is a terminal; True or False; or a function of the fraction loaded, which
                   stops the loading (Stopped) by returning True. What it raises is raised here.

        Raises FileError (an OSError), CheckpointError, UnsupportedError, TokenizerError, InvalidArgumentError
        (a ValueError); each says which file, key, expected and found.
        """
        folder = file_name(path)
        options = _abi.ModelOptions()
        check(_abi.lib.llada_model_options_init(byref(options), sizeof(options)))
        options.dtype = choice(dtype, "dtype", _abi.DTYPES)
        options.kv_dtype = choice(kv_dtype, "kv_dtype", _abi.DTYPES)
        options.blas = choice(blas, "blas", _abi.BLAS)
        options.use_mmap = bool(use_mmap)
        options.expert_capacity = integer(expert_capacity, "expert_capacity", low=0)
        if threads is not None:
            options.threads = integer(threads, "threads", low=1)
        if mask_token_id is not None:
            options.mask_token_id = integer(mask_token_id, "mask_token_id", low=0)
        if eos_token_id is not None:
            options.eos_token_id = integer(eos_token_id, "eos_token_id", low=0)

        pointer = c_void_p()
        with missing(folder), reporting(progress, f"loading {_name(folder)}") as options.progress:
            call(_abi.lib.llada_model_open, folder, byref(options), byref(pointer))
        return cls(Handle(pointer, _abi.lib.llada_model_free), os.fsdecode(folder))

    def save(self, path: str | os.PathLike, progress: Progress = None) -> None:
        """Writes a packed model ("bf16", "int8" or "int4") to a folder, once: `load` then opens it without packing anything.

        The folder is made, or is there and empty. It gets the config and tokenizer files as well; the arguments of `load`
        (ids, expert_capacity) are not part of it. On an error nothing is left in it. `progress`: as in `load`.

        Raises FileError (an OSError), and InvalidArgumentError if the model is not packed."""
        handle = self._live()
        folder = file_name(path)
        with reporting(progress, f"saving {_name(folder)}") as on_progress:
            call(_abi.lib.llada_model_save, handle, folder, on_progress, None)

    # -- What it is

    @property
    def name(self) -> str:
        """The name of its folder."""
        return os.path.basename(os.path.normpath(self._path))

    @property
    def vocab_size(self) -> int:
        return self.info.vocab_size

    @property
    def mask_token_id(self) -> int | None:
        return self.info.mask_token_id

    @property
    def eos_token_id(self) -> int | None:
        """The first, where there are several."""
        return self.info.eos_token_id

    @property
    def tokenizer(self) -> Tokenizer | None:
        """None if the checkpoint has no tokenizer.json."""
        return self._any_tokenizer() if self.info.has_tokenizer else None

    # -- What it does

    def logits(self, ids: Any, block_length: int = 32) -> np.ndarray:
        """The logits of a whole sequence under the strict block-causal mask: float32 [len(ids), vocab_size].

        The row at position i is about the token AT i. Raises InvalidArgumentError for ids outside the vocabulary."""
        handle = self._live()
        sequence = tokens(ids)
        out = np.empty((len(sequence), self.vocab_size), np.float32)
        call(
            _abi.lib.llada_model_logits,
            handle,
            token_pointer(sequence),
            len(sequence),
            integer(block_length, "block_length"),
            out.ctypes.data_as(POINTER(c_float)),
            out.size,
        )
        return out

    # -- How likely

    def score(
        self,
        ids: Any,
        noisy: Any,
        prompt_length: int = 0,
        block_length: int = 32,
        *,
        everywhere: bool = False,
        entropies: bool = False,
        progress: Progress = False,
    ) -> Scores:
        """Log-probabilities of a sequence's own tokens where noisy versions of it are masked or wrong, all blocks of all
        versions in one pass (2.0 report, eq. 3).

        ids    the sequence x_0, prompt first: token ids [n]
        noisy  x_t: [n] or [versions, n], in the prompt the same as ids
        The rest, and what it raises: as `llada.score_many`, which is this for several sequences."""
        return score_many(
            self,
            [Noised(ids, noisy, prompt_length)],
            block_length,
            everywhere=everywhere,
            entropies=entropies,
            progress=progress,
        )[0]

    def elbo(
        self,
        ids: Any,
        prompt_length: int = 0,
        block_length: int = 32,
        *,
        samples: int = 16,
        seed: int = 0,
        complementary: bool = True,
        band: tuple[float, float] | None = None,
        progress: Progress = False,
    ) -> Elbo:
        """A lower bound on log p(ids[prompt_length:] | the prompt), in nats, estimated by drawing noise (2.0 report, eq. 1 and
        5, with the weight 1/t of the linear schedule):

            E over t uniform in (0, 1], x_t with each token masked with probability t, of
            1/t * sum over blocks and masked tokens of log p(x_0^i | x_0 before the block, x_t in it)

        The default draws, for each block on its own, the number of masks in place of t: k of its m tokens, each k as likely,
        with the weight m/k. That is the same expectation, with t summed over, and a finite variance.

        samples        estimates that are averaged; with `complementary`, pairs
        complementary  each version comes with the one that masks what it shows (2.0 report, "complementary masking")
        band           (low, high) of t instead: one rate a sample, uniform in it, each token masked on its own, weight 1/t, as
                       noise is drawn in training (dFactory: 0.3 to 0.8). Then it is the mean over the band, no bound
        seed           of NumPy's PCG64: equal seeds, equal noise

        The last block is completed with masks that stay masks, as on a decoder's canvas. Raises as `score_many`, and
        SpecialTokenError if the mask id is unknown."""
        self._live()
        draw = draw_noise(ids, prompt_length, block_length, mask_of(self), samples, seed, complementary, band)
        return elbos(self, [draw], block_length, progress)[0]

    def choose(
        self,
        prompt: Any,
        answers: Iterable[Any],
        by: str = "elbo",
        *,
        samples: int = 16,
        seed: int = 0,
        per_token: bool = False,
        end: bool = True,
        block_length: int = 32,
        chat: bool | None = None,
    ) -> list[Choice]:
        """Ranks given answers to a prompt, the most likely first. The prompt is computed once, and all answers go together.

        prompt, chat   as in `generate`
        answers        texts or token ids
        by             "elbo": the bound on log p(answer | prompt), as `elbo` estimates it, in complementary pairs, of the
                       same seed for all. "pseudo": the pseudo-log-likelihood, sum over the answer's tokens of
                       log p(token | its block's other tokens, the blocks before) (Salazar et al., 2020): nothing is
                       drawn, but it is no bound
        samples, seed  of "elbo"
        per_token      True ranks by score over number of tokens, for answers of different lengths
        end            whether an answer ends with the end-of-sequence token, which counts as one of its tokens

        Behind the answer its last block is masked, as on a decoder's canvas. Raises as `elbo`."""
        return choose(self, prompt, answers, by, samples, seed, per_token, end, block_length, chat)

    def rollouts(
        self,
        prompt: Any,
        n: int = 8,
        policy: Policy | None = None,
        *,
        seeds: Sequence[int] | None = None,
        reward: Callable[[Generation], float] | None = None,
        block_length: int = 32,
        gen_length: int = 256,
        eos_early_stop: bool = True,
        chat: bool | None = None,
    ) -> Rollouts:
        """Several samples for one prompt, stepped together, with tokens, step maps, behaviour log-probabilities and rewards
        as arrays: what a trainer by reinforcement (EBPO) starts from. Each is what `generate` gives with
        `policy.replace(seed=...)`, bit for bit; the prompt is computed once.

        policy  None: Policy.quality(). With temperature 0 all samples are the same
        seeds   one for each sample, which are then as many; None: 0 to n - 1
        reward  of each Generation, a finite number. What it raises is raised here

        The rest: as `generate`."""
        self._live()
        return rollouts(self, prompt, n, policy, seeds, reward, block_length, gen_length, eos_early_stop, chat)

    # -- Decoding

    def generate(
        self,
        prompt: Any,
        policy: Policy | None = None,
        block_length: int = 32,
        gen_length: int = 256,
        eos_early_stop: bool = True,
        *,
        chat: bool | None = None,
        infill: bool = False,
        use_cache: bool = True,
        prefix_cache: PrefixCache | None = None,
        rule: Rule | None = None,
        callback: Callable[[Decoder], object] | None = None,
        record: bool | str | os.PathLike = False,
    ) -> Generation:
        """Denoises an answer of at most `gen_length` tokens to `prompt`.

        prompt    a question (str), a conversation ([{"role": "user", "content": "..."}, ...]) or token ids.
                  See `encode_prompt` for `chat`.
        policy    None: Policy.quality()
        rule, infill, use_cache, prefix_cache: see Decoder
        callback  called with the decoder after each step, when it may look and interfere; returning True ends the
                  generation there. What it raises is raised here; Ctrl-C takes effect between steps.
        record    True: what comes out has a `trace`. A path: it is written there as well
        """
        with self.decoder(
            prompt,
            policy,
            block_length,
            gen_length,
            eos_early_stop,
            chat=chat,
            infill=infill,
            use_cache=use_cache,
            prefix_cache=prefix_cache,
            rule=rule,
        ) as decoder:
            if record:
                decoder.record(None if record is True else record)
            decoder.run(callback)
            return decoder.result

    def generate_many(
        self,
        prompts: Iterable[Any],
        policy: Policy | Sequence[Policy] | None = None,
        block_length: int = 32,
        gen_length: int = 256,
        eos_early_stop: bool = True,
        *,
        in_flight: int = 8,
        chat: bool | None = None,
        infill: bool = False,
        use_cache: bool = True,
        prefix_cache: PrefixCache | None = None,
        rule: Rule | None = None,
        callback: Callable[[Decoder], object] | None = None,
        progress: bool | None = None,
        record: bool = False,
    ) -> list[Generation]:
        """`generate` for many prompts: several at a time, which reads the weights once for all of them. Each answer is what
        `generate` gives, bit for bit, and they come in the order of the prompts.

        prompts    any iterable; the next one is drawn when there is room for it
        policy     one for all, or a sequence of one for each: `[policy.replace(seed=seed) for seed in range(8)]`
        in_flight  so many decoders exist at a time
        callback   called with each decoder after each of its steps; returning True ends that generation
        progress   None: a bar if stderr is a terminal; True or False. It shows how many are done, tokens a second and
                   tokens per forward
        record     True: each answer has a `trace`
        The other arguments are those of `generate`.

        What a prompt, a rule or a callback raises is raised here, as is Ctrl-C between steps; then all decoders are
        closed. OutOfMemoryError if the prefix cache has no room for all in flight.
        """
        return list(
            self.stream_many(
                prompts,
                policy,
                block_length,
                gen_length,
                eos_early_stop,
                in_flight=in_flight,
                chat=chat,
                infill=infill,
                use_cache=use_cache,
                prefix_cache=prefix_cache,
                rule=rule,
                callback=callback,
                progress=progress,
                record=record,
            )
        )

    def stream_many(
        self,
        prompts: Iterable[Any],
        policy: Policy | Sequence[Policy] | None = None,
        block_length: int = 32,
        gen_length: int = 256,
        eos_early_stop: bool = True,
        *,
        in_flight: int = 8,
        chat: bool | None = None,
        infill: bool = False,
        use_cache: bool = True,
        prefix_cache: PrefixCache | None = None,
        rule: Rule | None = None,
        callback: Callable[[Decoder], object] | None = None,
        progress: bool | None = None,
        record: bool = False,
    ) -> Iterator[Generation]:
        """`generate_many`, an answer at a time, in the order of the prompts: for more prompts than fit, and to keep answers
        before the last one is there.

            for answer in model.stream_many(prompts): ...

        What is raised is raised between answers; then all decoders are closed, and answers not asked for are gone.
        """
        self._live()
        if isinstance(prompts, (str, bytes, Mapping)):
            raise TypeError(f"prompts must be several, not {prompts!r}; `generate` answers one")
        in_flight = integer(in_flight, "in_flight", low=1)
        if progress not in (None, True, False):
            raise TypeError(f"progress must be None, True or False, not {progress!r}")
        if record not in (True, False):
            raise TypeError(f"record must be True or False, not {record!r}; the trace of each answer can be saved")
        total = len(prompts) if hasattr(prompts, "__len__") else None
        policies = policy if isinstance(policy, Sequence) else None
        for each in policies if policies is not None else [policy]:
            Policy._checked(each)
        if policies is not None and total not in (None, len(policies)):
            raise InvalidArgumentError(f"there are {len(policies)} policies for {total} prompts; expected one for each")

        def decoder(index: int, prompt: Any) -> Decoder:
            if policies is not None and index >= len(policies):
                raise InvalidArgumentError(
                    f"there are {len(policies)} policies and more prompts; expected one for each"
                )
            try:
                made = self.decoder(
                    prompt,
                    policies[index] if policies is not None else policy,
                    block_length,
                    gen_length,
                    eos_early_stop,
                    chat=chat,
                    infill=infill,
                    use_cache=use_cache,
                    prefix_cache=prefix_cache,
                    rule=rule,
                )
                if record:
                    made.record()
                return made
            except Error as problem:
                problem.message = f"prompts[{index}]: {problem.message}"
                raise

        return generations(itertools.starmap(decoder, enumerate(prompts)), in_flight, callback, progress, total)

    def decoder(
        self,
        prompt: Any,
        policy: Policy | None = None,
        block_length: int = 32,
        gen_length: int = 256,
        eos_early_stop: bool = False,
        *,
        chat: bool | None = None,
        infill: bool = False,
        use_cache: bool = True,
        prefix_cache: PrefixCache | None = None,
        rule: Rule | None = None,
    ) -> Decoder:
        """A decoder on `prompt`, to be stepped; nothing is computed yet. Arguments as for `generate` and Decoder."""
        return Decoder(
            self,
            self.encode_prompt(prompt, chat),
            policy,
            block_length,
            gen_length,
            eos_early_stop,
            infill=infill,
            use_cache=use_cache,
            prefix_cache=prefix_cache,
            rule=rule,
        )

    def restore(
        self, snapshot: bytes | str | os.PathLike, prefix_cache: PrefixCache | None = None, *, rule: Rule | None = None
    ) -> Decoder:
        """The decoder that `Decoder.to_bytes` or `Decoder.save` (then by its path) saved, where it was.

        prefix_cache  what it has of the keys and values is taken from there, and what the decoder computes is left there
        rule          see Decoder; a snapshot holds none

        Raises SnapshotError for what is damaged, or was saved with another model, dtype, expert_capacity or special ids;
        FileError for what cannot be read, FileMissingError for a path where there is nothing."""
        return Decoder._restored(self, snapshot, prefix_cache, rule)

    def prefix_cache(self, bytes: int) -> PrefixCache:
        """Where decoders of this model share what they have computed, so many bytes of it: what one token takes is
        2 * num_hidden_layers * num_key_value_heads * head_dim numbers."""
        return PrefixCache(self, bytes)

    def encode_prompt(self, prompt: Any, chat: bool | None = None) -> Tokens:
        """The tokens that `generate` makes of a prompt.

        A str is a user's question and goes through the chat layout if the model has one; `chat=True` insists on the
        layout, `chat=False` takes the text as it is. A conversation always goes through the layout. Ids stay."""
        self._live()
        if isinstance(prompt, str):
            if chat or (chat is None and self.info.has_chat_template):
                return self._any_tokenizer().chat([{"role": "user", "content": prompt}])
            return self._any_tokenizer().encode(prompt)
        if isinstance(prompt, (list, tuple)) and prompt and isinstance(prompt[0], Mapping):
            return self._any_tokenizer().chat(prompt)
        texts = isinstance(prompt, (list, tuple)) and any(isinstance(each, str) for each in prompt)
        if texts or prompt is None or isinstance(prompt, (bytes, Mapping, Set)):
            raise TypeError(
                f'a prompt is a str, a conversation ([{{"role": ..., "content": ...}}, ...]) or token ids, not {prompt!r}; '
                "`generate_many` takes several"
            )
        return tokens(prompt)

    def _any_tokenizer(self) -> Tokenizer:
        # Where the model has none, its calls fail with the library's words. Made anew each time: a model that kept it
        # would be part of a cycle, and its memory would wait for the cycle collector.
        return Tokenizer(self._live)

    def __deepcopy__(self, _: Any) -> Model:
        return self  # it never changes, and rules that hold one are copied

    def __repr__(self) -> str:
        info = self.info
        return (
            f"<llada.Model {self.name!r}: {info.num_parameters / 1e6:.1f} M "
            f"parameters, {info.num_hidden_layers} layers, {info.num_experts} experts, vocabulary {info.vocab_size}"
            f"{', closed' if self.closed else ''}>"
        )
