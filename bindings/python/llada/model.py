"""A checkpoint, opened: logits, likelihoods, generation, decoders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from ctypes import byref, c_float, c_size_t
from typing import TYPE_CHECKING, Any, Callable, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _abi, branching, interfering, many
from ._convert import NO_TOKENS, Path, Tokens, file_name, integer, pointer, token_pointer
from ._convert import tokens as as_tokens
from ._handle import Handle, Held
from .cache import PrefixCache
from .cluster import Cluster
from .decoder import Decoder, OnStep, Rule
from .describing import describe
from .errors import CheckpointWarning, InvalidArgumentError, call
from .generation import Generation
from .info import OpenedModel, read_info, read_memory_used, read_notes
from .likelihood import Choice, Elbo, choose, draw_noise, elbos
from .opening import folder_name, open_model
from .options import AnswerOptions, GenerationOptions, check_names
from .policy import Policy, checked_policy
from .progress import Progress, Reporting
from .proposing import begin
from .rollouts import Rollouts, roll_out
from .scoring import Noised, Scores, score_many
from .text import Tokenizer, encode_prompt
from .text_stream import TextStream

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Model(Held):
    """An opened checkpoint; `Model.load` opens one. It never changes, and many threads may use it at once.

    Its memory is given back on `close()`, at the end of a `with`, or when nothing refers to it any more; decoders made
    from it keep what they need. Calls on a closed model raise ClosedError.

    Attributes:
        info: What is known of it: a ModelInfo.
        notes: What loading left out or assumed, a sentence each.
    """

    _what = "model"

    def __init__(self, handle: Handle, path: Path) -> None:
        self._handle: Handle | None = handle
        self._path = os.fsdecode(path)
        self.info = read_info(handle)
        self.notes = read_notes(handle)

    @classmethod
    def load(
        cls,
        path: Path,
        dtype: str = "auto",
        threads: int | None = None,
        mask_token_id: int | None = None,
        eos_token_id: int | Sequence[int] | None = None,
        *,
        blas: str = "auto",
        use_mmap: bool | None = None,
        expert_capacity: int = 0,
        progress: Progress = None,
        kv_dtype: str = "auto",
        delete_token_id: int | None = None,
        split_token_id: int | None = None,
        memory_limit: int | None = None,
        cluster: Cluster | None = None,
        expert_usage: ArrayLike | None = None,
    ) -> Model:
        """Opens the Hugging Face folder of a `llada2_moe` checkpoint, or a GGUF file of one (architecture `llada2`).

        Args:
            path: The folder, or the file; of a model in several files, any of them.
            dtype: How matrices are held and multiplied: "auto" (as stored, in place) and "f32" exactly; "bf16", "int8"
                and "int4" packed, faster, with activations rounded to match. What `save` wrote is packed: "auto", or
                the same. "auto" holds Q8_0 and Q4_0 of a GGUF file in their own blocks, and other blocks as int8.
            threads: None: as many as the process may use, by its affinity and by a container's quota. Results do not
                depend on it, bit for bit.
            mask_token_id: None: that of generation_config.json or config.json, else of the tokenizer, else LLaDA2's
                own.
            eos_token_id: One id, or several, each of which ends an answer. None: likewise.
            blas: Who multiplies f32 weights: "auto", "off" (own kernels), "on" (OpenBLAS).
            use_mmap: Whether weights that are used as stored are mapped. None: where the files are this machine's, and
                not those of a network file system. False reads them into memory, and then the files may be cut or
                overwritten once the model is open; mapped, that ends the process (SIGBUS) or changes results. True:
                the experts of a packed model are used in their file as well, so that a model opens that is larger than
                the memory, and steps read from the disk what is not in it.
            expert_capacity: 0: as the config says. Else the tokens of a block of 32 positions share so many experts of
                a layer (LLaDA2.2's block routing): fewer bytes a step, other results.
            progress: None: a bar if stderr is a terminal; True or False; or a function of the fraction loaded, which
                stops the loading by returning llada.STOP. What it raises is raised here.
            kv_dtype: How keys and values are held, and attention computed: "f32"; "bf16", half the bytes and about half
                the time; "int8", about a quarter of the bytes, and faster still with AVX-512 VNNI, slow on other CPUs;
                "auto": "bf16" where the matrices are packed.
            delete_token_id: By which LLaDA2.2 says that a token is to go. None: that of generation_config.json or
                config.json.
            split_token_id: By which LLaDA2.2 says that a mask is to come before a token. None: likewise. There are both
                or neither, and neither is the other, the mask or an end of sequence.
            memory_limit: The most bytes of memory for weights as held, tables, workspaces, keys and values, those of
                decoders and prefix caches among them. Weights used in place in a mapped file do not count. None: no
                limit. `describe` tells what opening takes, and `memory_used` what is taken.
            cluster: The Cluster whose other ranks hold a part of the experts; None: this process holds all. A cluster
                has one model at a time.
            expert_usage: With a cluster, how many positions each expert has had in prompts like yours, [layers,
                experts], as `Decoder.expert_usage` counts it: ranks get experts of which a step is expected to read
                equal parts, or parts by the cluster's `shares`. None: all experts are equally likely. Results are the
                same.

        Raises:
            ClusterError: A rank of the cluster does not answer, or has opened another model.
            OutOfMemoryError: There is no memory, or `memory_limit` leaves none; a MemoryError. Nothing was taken.
            FileError: A file cannot be read; an OSError. It, and the next three, say which file, key, expected and
                found.
            CheckpointError: A file is broken or contradicts another.
            TokenizerError: The tokenizer is broken.
            UnsupportedError: Nothing that this library implements.
            InvalidArgumentError: An argument is out of its range; a ValueError.
            NumericError: A weight or a scale is NaN or infinite, or a scale is not positive.
            Stopped: `progress` returned llada.STOP.

        Warns:
            CheckpointWarning: For each of `notes`.
        """
        handle = open_model(
            path,
            dtype,
            threads,
            mask_token_id,
            eos_token_id,
            blas,
            use_mmap,
            expert_capacity,
            progress,
            kv_dtype,
            delete_token_id,
            split_token_id,
            memory_limit,
            cluster,
            expert_usage,
        )
        model = cls(handle, path)
        for note in model.notes:
            warnings.warn(note, CheckpointWarning, stacklevel=2)
        return model

    @staticmethod
    def describe(path: Path) -> dict[str, Any]:
        """What a checkpoint is, without loading it: only its small files and the headers of its weights are read. It
        works for a checkpoint that does not load, and says why. ``python -m llada.inspect`` shows it.

        Args:
            path: As for `load`.

        Returns:
            path, loads, container, family, parameters, stored, config, mask_token, eos_tokens, delete_token,
            split_token, tokenizer, chat, step_tokens, expected_experts, memory_bytes, memory, notes,
            problems: llada.h says what they are, at llada_model_describe.
        """
        return describe(path)

    @property
    def memory_used(self) -> int:
        """The bytes of memory that count towards `memory_limit` of `load`, at this moment; without a limit as well."""
        return read_memory_used(self._live())

    def save(self, path: Path, progress: Progress = None) -> None:
        """Writes a packed model ("bf16", "int8" or "int4") to a folder, once: `load` then opens it without packing
        anything.

        The folder gets the config and tokenizer files as well; the arguments of `load` (ids, expert_capacity) are not
        part of it. On an error nothing is left in it.

        Args:
            path: The folder, which is made, or is there and empty.
            progress: As for `load`.

        Raises:
            FileError: It cannot be written; an OSError.
            InvalidArgumentError: The model is not packed.
            Stopped: `progress` returned llada.STOP.
        """
        handle, folder = self._live(), file_name(path)
        with Reporting(progress, f"saving {folder_name(folder)}") as callback:
            call(_abi.lib.llada_model_save, handle, folder, callback, None)

    # -- What it is

    @property
    def name(self) -> str:
        """The name of its folder."""
        return folder_name(os.fsencode(self._path))

    @property
    def vocab_size(self) -> int:
        """Tokens that it knows."""
        return self.info.vocab_size

    @property
    def mask_token_id(self) -> int | None:
        """None if it is unknown; then no decoder can be made."""
        return self.info.mask_token_id

    @property
    def eos_token_id(self) -> int | None:
        """The first of `eos_token_ids`; None if there is none."""
        return self.info.eos_token_id

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Each of them ends an answer."""
        return self.info.eos_token_ids

    @property
    def delete_token_id(self) -> int | None:
        """By which the model says that a token is to go (LLaDA2.2); None for other models."""
        return self.info.delete_token_id

    @property
    def split_token_id(self) -> int | None:
        """By which the model says that a mask is to come before a token (LLaDA2.2); None for other models."""
        return self.info.split_token_id

    @property
    def default_policy(self) -> Policy:
        """What decoders use that are given no policy: Policy.levenshtein() for a LLaDA2.2 model, which has the tokens
        for it, Policy.quality() for others."""
        return Policy.quality() if self.delete_token_id is None else Policy.levenshtein()

    @property
    def tokenizer(self) -> Tokenizer | None:
        """None if the checkpoint has no tokenizer.json."""
        # Made anew each time: a model that kept it would be part of a cycle, and its memory would wait for the
        # collector.
        return Tokenizer(self._live) if self.info.has_tokenizer else None

    # -- What it computes

    def logits(self, ids: Any, block_length: int = 32, *, progress: Progress = False) -> NDArray[np.float32]:
        """The logits of a whole sequence under the strict block-causal mask.

        Args:
            ids: Token ids.
            block_length: Tokens of a block.
            progress: As in `Model.load`.

        Returns:
            np.float32 [len(ids), vocab_size]. The row at position i is about the token AT i.

        Raises:
            InvalidArgumentError: An id is outside the vocabulary.
            NumericError: Weights make it compute NaN or infinities.
            Stopped: `progress` returned llada.STOP.
        """
        handle, sequence = self._live(), as_tokens(ids)
        out = np.empty((len(sequence), self.vocab_size), np.float32)
        block_length = integer(block_length, "block_length")
        buffer = pointer(out, c_float), out.size, byref(c_size_t())
        ids = token_pointer(sequence), len(sequence)
        with Reporting(progress, "computing logits") as report:
            call(_abi.lib.llada_model_logits, handle, *ids, block_length, report, None, *buffer)
        return out

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
        """Log-probabilities of a sequence's own tokens where noisy versions of it are masked or wrong, all blocks of
        all versions in one pass (2.0 report, eq. 3). `llada.score_many` is the same for several sequences.

        Args:
            ids: The sequence x_0, prompt first: token ids [n].
            noisy: x_t: [n] or [versions, n], in the prompt the same as ids.
            prompt_length: 0 to n.
            block_length, everywhere, entropies, progress: As for `llada.score_many`.

        Raises:
            InvalidArgumentError, Stopped: As `llada.score_many`.
        """
        sequence = Noised(ids, noisy, prompt_length)
        return score_many(
            self, [sequence], block_length, everywhere=everywhere, entropies=entropies, progress=progress
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
        """A lower bound on log p(ids[prompt_length:] | the prompt), in nats, estimated by drawing noise (2.0 report,
        eq. 1 and 5, with the weight 1/t of the linear schedule). The bound is

        ::

            E over t uniform in (0, 1], x_t with each token masked with probability t, of
            1/t * sum over blocks and masked tokens of log p(x_0^i | x_0 before the block, x_t in it)

        The default draws, for each block on its own, the number of masks in place of t: k of its m tokens, each k as
        likely, with the weight m/k. That is the same expectation, with t summed over, and a finite variance. The last
        block is completed with masks that stay masks, as on a decoder's canvas.

        Args:
            ids: The sequence, prompt first: token ids.
            prompt_length: 0 to len(ids).
            block_length: Tokens of a block.
            samples: Estimates that are averaged; with `complementary`, pairs.
            seed: Of NumPy's PCG64: equal seeds, equal noise.
            complementary: Whether each version comes with the one that masks what it shows (2.0 report, "complementary
                masking").
            band: (low, high) of t instead: one rate a sample, uniform in it, each token masked on its own, weight 1/t,
                as noise is drawn in training (dFactory: 0.3 to 0.8). Then it is the mean over the band, no bound.
            progress: As for `load`.

        Raises:
            InvalidArgumentError: An argument is out of its range; and as `llada.score_many`.
            SpecialTokenError: The mask id is unknown.
        """
        mask = self._opened().mask
        draw = draw_noise(ids, prompt_length, block_length, mask, samples, seed, complementary, band)
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
        """Ranks given answers to a prompt. The prompt is computed once, and all answers go together. Behind an answer
        its last block is masked, as on a decoder's canvas.

        Args:
            prompt: As for `generate`.
            answers: Texts or token ids.
            by: "elbo": the bound on log p(answer | prompt), as `elbo` estimates it, in complementary pairs, of the same
                seed for all. "pseudo": the pseudo-log-likelihood, sum over the answer's tokens of log p(token | its
                block's other tokens, the blocks before) (Salazar et al., 2020): nothing is drawn, but it is no bound.
            samples: Of "elbo".
            seed: Of "elbo".
            per_token: True ranks by score over number of tokens, for answers of different lengths.
            end: Whether an answer ends with the end-of-sequence token, which counts as one of its tokens.
            block_length: Tokens of a block.
            chat: As for `encode_prompt`.

        Returns:
            The most likely first.

        Raises:
            InvalidArgumentError, SpecialTokenError: As `elbo`.
        """
        if by not in ("elbo", "pseudo"):
            raise InvalidArgumentError(f"by is {by!r}; it must be one of 'elbo', 'pseudo'")
        block_length = integer(block_length, "block_length", low=1)
        beginning = self.encode_prompt(prompt, chat)
        ending = as_tokens([self.eos_token_id]) if end and self.eos_token_id is not None else NO_TOKENS
        if isinstance(answers, (str, bytes)):
            raise TypeError(f"answers must be several, not {answers!r}")
        encode = Tokenizer(self._live).encode
        ids = [encode(answer) if isinstance(answer, str) else as_tokens(answer) for answer in answers]
        ended = [np.concatenate([answer, ending]) for answer in ids]
        return choose(self, beginning, ended, by, samples, seed, per_token, block_length)

    def rollouts(
        self,
        prompt: Any,
        n: int = 8,
        policy: Policy | None = None,
        *,
        seeds: Sequence[int] | None = None,
        reward: Callable[[Generation], float] | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Rollouts:
        """Several samples for one prompt, stepped together, with tokens, step maps, behaviour log-probabilities and
        rewards as arrays: what a trainer by reinforcement (EBPO) starts from. Each is what `generate` gives with
        `policy.replace(seed=...)`, bit for bit; the prompt is computed once.

        Args:
            prompt: As for `generate`.
            n: How many samples.
            policy: None: `default_policy`. With temperature 0 all samples are the same.
            seeds: One for each sample, which are then as many; None: 0 to n - 1.
            reward: Of each Generation, a finite number. What it raises is raised here.
            **options: See AnswerOptions.

        Raises:
            InvalidArgumentError: There are no seeds, or a reward is not finite; and as `generate`.
        """
        check_names("rollouts", options, AnswerOptions)
        chosen = range(integer(n, "n", low=1)) if seeds is None else [integer(s, "seed", 0, 2**64 - 1) for s in seeds]
        if not len(chosen):
            raise InvalidArgumentError("there are no seeds")
        policy = checked_policy(policy) or self.default_policy
        ids = self.encode_prompt(prompt, options.pop("chat", None))
        decoders: list[Decoder] = []
        # The cache has no other bound than what the decoders themselves take.
        with self.prefix_cache(2**62) as cache:
            try:
                for each in chosen:
                    decoders.append(self.decoder(ids, policy.replace(seed=each), prefix_cache=cache, **options))
                return roll_out(decoders, reward)
            finally:
                for decoder in decoders:
                    decoder.close()

    # -- Decoding

    def generate(
        self,
        prompt: Any,
        policy: Policy | None = None,
        *,
        callback: OnStep | None = None,
        record: bool | str | os.PathLike[str] = False,
        **options: Unpack[GenerationOptions],
    ) -> Generation:
        """Denoises an answer to a prompt.

        Args:
            prompt: A question (str), a conversation ([{"role": "user", "content": "..."}, ...]) or token ids. See
                `encode_prompt` for what becomes of a text.
            policy: Which edits a step proposes; None: `default_policy`.
            callback: Called with the decoder after each step, when it may look and interfere. It ends the generation
                there by returning llada.STOP. What it raises is raised here; Ctrl-C takes effect between steps.
            record: True: what comes out has a `trace`. A path: it is written there as well.
            **options: block_length, gen_length, eos_early_stop, chat, infill, use_cache, prefix_cache, rule,
                logit_bias: see GenerationOptions.

        Raises:
            TypeError: There is no such option, or an argument is of a wrong type.
            InvalidArgumentError: An argument is out of its range.
            SpecialTokenError: The mask id is unknown, or stands in the prompt without `infill`; or the policy is
                Policy.levenshtein(), and the model lacks the tokens for it.
            NumericError: Weights make it compute NaN or infinities.
            TokenizerError: The prompt is text, and the model has no tokenizer.
            OutOfMemoryError: There is no memory, or no room in the prefix cache.
        """
        check_names("generate", options, GenerationOptions)
        with self.decoder(prompt, policy, **options) as decoder:
            if record:
                decoder.record(None if record is True else record)
            decoder.run(callback)
            return decoder.result

    @overload
    def generate_many(
        self,
        prompts: Iterable[Any],
        policy: Policy | Sequence[Policy] | None = None,
        *,
        in_flight: int = 8,
        callback: OnStep | None = None,
        progress: bool | None = None,
        record: bool = False,
        on_error: Literal["raise"] = "raise",
        **options: Unpack[GenerationOptions],
    ) -> list[Generation]: ...

    @overload
    def generate_many(
        self,
        prompts: Iterable[Any],
        policy: Policy | Sequence[Policy] | None = None,
        *,
        in_flight: int = 8,
        callback: OnStep | None = None,
        progress: bool | None = None,
        record: bool = False,
        on_error: Literal["return"],
        **options: Unpack[GenerationOptions],
    ) -> list[Generation | Exception]: ...

    def generate_many(
        self,
        prompts: Iterable[Any],
        policy: Policy | Sequence[Policy] | None = None,
        *,
        in_flight: int = 8,
        callback: OnStep | None = None,
        progress: bool | None = None,
        record: bool = False,
        on_error: str = "raise",
        **options: Unpack[GenerationOptions],
    ) -> Any:
        """`generate` for many prompts: several at a time, which reads the weights once for all of them.

        Args:
            prompts: Any iterable; the next one is drawn when there is room for it.
            policy: One for all, or a sequence of one for each: `[policy.replace(seed=seed) for seed in range(8)]`.
            in_flight: So many decoders exist at a time.
            callback: Called with each decoder after each of its steps; returning llada.STOP ends that generation.
            progress: None: a bar if stderr is a terminal; True or False. It shows how many are done, tokens a second
                and tokens per forward.
            record: True: each answer has a `trace`.
            on_error: What becomes of an exception over one prompt: of making its decoder, its forward, its rule or
                callback. "raise": it is raised, and has an attribute `answers` with those before it. "return": it
                stands in place of the answer, and all other prompts are answered as they would be without it.
            **options: See GenerationOptions.

        Returns:
            What `generate` gives, bit for bit, in the order of the prompts.

        Raises:
            OutOfMemoryError: The prefix cache has no room for all in flight.
            TypeError, InvalidArgumentError, SpecialTokenError, TokenizerError: As `generate`. What drawing a prompt
                raises is raised as well, whatever `on_error` is, and so are Cancelled and what is no Exception, as
                Ctrl-C between steps; then all decoders are closed. All have the attribute `answers`.
        """
        check_names("generate_many", options, GenerationOptions)
        streaming: Any = {"on_error": on_error, **options}
        stream = self.stream_many(
            prompts, policy, in_flight=in_flight, callback=callback, progress=progress, record=record, **streaming
        )
        answers: list[Any] = []
        try:
            for answer in stream:
                answers.append(answer)  # one at a time: they are kept if the next one raises
        except BaseException as problem:
            # What becomes of a StopIteration that passes through a generator.
            if isinstance(problem, RuntimeError) and isinstance(problem.__cause__, StopIteration):
                vars(problem.__cause__)["answers"] = answers
                raise problem.__cause__ from None
            vars(problem)["answers"] = answers
            raise
        return answers

    @overload
    def stream_many(
        self,
        prompts: Iterable[Any],
        policy: Policy | Sequence[Policy] | None = None,
        *,
        in_flight: int = 8,
        callback: OnStep | None = None,
        progress: bool | None = None,
        record: bool = False,
        on_error: Literal["raise"] = "raise",
        **options: Unpack[GenerationOptions],
    ) -> Iterator[Generation]: ...

    @overload
    def stream_many(
        self,
        prompts: Iterable[Any],
        policy: Policy | Sequence[Policy] | None = None,
        *,
        in_flight: int = 8,
        callback: OnStep | None = None,
        progress: bool | None = None,
        record: bool = False,
        on_error: Literal["return"],
        **options: Unpack[GenerationOptions],
    ) -> Iterator[Generation | Exception]: ...

    def stream_many(
        self,
        prompts: Iterable[Any],
        policy: Policy | Sequence[Policy] | None = None,
        *,
        in_flight: int = 8,
        callback: OnStep | None = None,
        progress: bool | None = None,
        record: bool = False,
        on_error: str = "raise",
        **options: Unpack[GenerationOptions],
    ) -> Any:
        """`generate_many`, an answer at a time: for more prompts than fit, and to keep answers before the last one is
        there.

        ::

            for answer in model.stream_many(prompts): ...

        Args:
            prompts, policy, in_flight, callback, progress, record: As for `generate_many`.
            on_error: "raise": an exception over a prompt is raised in place of its answer, after all answers before
                it. "return": it is yielded there, and the others follow.
            **options: See GenerationOptions.

        Returns:
            Answers in the order of the prompts. What is raised is raised between them (a StopIteration as RuntimeError,
            as by any generator); then all decoders are closed, and answers not asked for are gone.
        """
        check_names("stream_many", options, GenerationOptions)
        self._live()

        def make(prompt: Any, policy: Policy | None) -> Decoder:
            return self.decoder(prompt, policy, **options)

        return many.stream(prompts, policy, make, in_flight, callback, progress, record, on_error)

    def decoder(self, prompt: Any, policy: Policy | None = None, **options: Unpack[GenerationOptions]) -> Decoder:
        """A decoder on a prompt, to be stepped; nothing is computed yet.

        Args:
            prompt: As for `generate`.
            policy: Which edits a step proposes; None: `default_policy`.
            **options: block_length, gen_length, eos_early_stop, chat, infill, use_cache, prefix_cache, rule,
                logit_bias: see GenerationOptions.

        Raises:
            TypeError, InvalidArgumentError, SpecialTokenError, TokenizerError: As `generate`.
        """
        check_names("decoder", options, GenerationOptions)
        given: dict[str, Any] = dict(options)
        ids, rule = self.encode_prompt(prompt, given.pop("chat", None)), given.pop("rule", None)
        model = self._opened()
        biases = given.pop("logit_bias", None)
        handle, untold = branching.create(model, ids, policy, **given)
        decoder = Decoder(handle, model, rule, untold, untouched=True)
        try:
            if biases:
                interfering.set_logit_biases(decoder._calls, biases)
            begin(decoder.rule, decoder)
        except BaseException:
            decoder.close()
            raise
        return decoder

    def restore(
        self, snapshot: bytes | Path, prefix_cache: PrefixCache | None = None, *, rule: Rule | None = None
    ) -> Decoder:
        """The decoder that was saved, where it was.

        Args:
            snapshot: What `Decoder.to_bytes` gave, or the path that `Decoder.save` wrote.
            prefix_cache: What it has of the keys and values is taken from there, and what the decoder computes is left
                there.
            rule: See `Decoder.rule`; a snapshot holds none.

        Raises:
            SnapshotError: It is damaged, or was saved with another model, dtype, expert_capacity or special ids.
            FileError: It cannot be read; FileMissingError for a path where there is nothing.
        """
        model = self._opened()
        decoder = Decoder(branching.restore(model, snapshot, prefix_cache), model, rule, {})
        try:
            begin(decoder.rule, decoder)
        except BaseException:
            decoder.close()
            raise
        return decoder

    def prefix_cache(self, bytes: int) -> PrefixCache:
        """Where decoders of this model share what they have computed.

        Args:
            bytes: So many at most; what one token takes is 2 * num_hidden_layers * num_key_value_heads * head_dim
                numbers.

        Raises:
            InvalidArgumentError: That is none.
        """
        return PrefixCache(self, bytes)

    def text_stream(self, skip_control: bool = True, mask: str | None = None) -> TextStream:
        """Text while it comes: what of it is settled, and what may still change.

        ::

            for settled, draft in model.text_stream().follow(decoder): ...

        Args:
            skip_control: Whether control tokens are left out.
            mask: What stands for each masked position of the draft that has a token behind it, "░" say. None: the draft
                ends before the first masked position.

        Raises:
            TokenizerError: The model has no tokenizer.
        """
        return TextStream(self, skip_control, mask)

    def encode_prompt(self, prompt: Any, chat: bool | None = None) -> Tokens:
        """The tokens that `generate` makes of a prompt.

        Args:
            prompt: A str is a user's question and goes through the chat layout if the model has one. A conversation
                always goes through it. Token ids stay.
            chat: True insists on the layout, False takes a text as it is.

        Raises:
            TypeError: It is none of these.
            TokenizerError: It is text, and the model has no tokenizer.
        """
        return encode_prompt(self._opened(), prompt, chat)

    def _opened(self) -> OpenedModel:
        return OpenedModel(self._live(), self.info, self.name)

    def __deepcopy__(self, _: Any) -> Model:
        return self  # it never changes, and rules that hold one are copied

    def __repr__(self) -> str:
        info = self.info
        return (
            f"<llada.Model {self.name!r}: {info.num_parameters / 1e6:.1f} M "
            f"parameters, {info.num_hidden_layers} layers, {info.num_experts} experts, vocabulary {info.vocab_size}"
            f"{', closed' if self.closed else ''}>"
        )
