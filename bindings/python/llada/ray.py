"""Many prompts over many hosts, by Ray: classes for `ray.data.Dataset.map_batches` (the extra `ray`).

::

    answers = ray.data.read_json("questions.jsonl").map_batches(
        llada.ray.Generator,
        fn_constructor_kwargs={"model": "path/to/checkpoint", "prompt": "question"},
        compute=ray.data.ActorPoolStrategy(size=hosts), num_cpus=cores_of_a_host,
        batch_size=256, batch_format="pyarrow",
    )

An actor opens the model once, with as many threads as Ray gives it CPUs, and answers a batch with continuous batching.
Answers are those of one process, bit for bit, however the prompts are spread. Where actors run, what is done again when
one is lost, and what is kept of a run that ends are Ray's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Literal

import numpy as np
from numpy.typing import NDArray

from . import many
from ._convert import Path
from .decoder import Decoder
from .errors import InvalidArgumentError
from .generation import Generation
from .model import Model
from .options import AnswerOptions, check_names
from .policy import Policy
from .rollouts import Rollouts, Written

__all__ = ["Generator", "RolloutWorker"]

_OPTIONS = AnswerOptions.__optional_keys__
_NUMBERS = frozenset(Policy.__dataclass_fields__) - {"kind"}


class _Worker:
    """What an actor of either kind is: a model, and which columns it reads."""

    def __init__(
        self,
        model: Path,
        prompt: str,
        policy: Policy | None,
        parameters: Sequence[str],
        load: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> None:
        check_names(type(self).__name__, options, AnswerOptions)
        unknown = sorted(set(parameters) - _OPTIONS - _NUMBERS)
        if isinstance(parameters, str) or unknown:
            raise InvalidArgumentError(
                f"parameters are {parameters!r}; expected names among {', '.join(sorted(_OPTIONS | _NUMBERS))}"
            )
        self._pyarrow = _pyarrow()
        self._prompt, self._parameters, self._options = prompt, tuple(parameters), dict(options)
        self._model = Model.load(model, **{"threads": _assigned_cpus(), "progress": False, **(load or {})})
        self._policy = policy or self._model.default_policy

    def _table(self, batch: Any, made: Sequence[str], *columns: str) -> Any:
        """A batch as a pyarrow.Table with these columns, and none of those that are to be made."""
        pyarrow = self._pyarrow
        if isinstance(batch, Mapping):  # map_batches without batch_format
            batch = pyarrow.table({name: pyarrow.array(list(column)) for name, column in batch.items()})
        elif not isinstance(batch, pyarrow.Table):
            batch = pyarrow.Table.from_pandas(batch, preserve_index=False)
        missing = [name for name in (self._prompt, *self._parameters, *columns) if name not in batch.column_names]
        if missing:
            raise InvalidArgumentError(f"there is no column {missing[0]!r}; the columns are {batch.column_names}")
        taken = [name for name in made if name in batch.column_names]
        if taken:
            raise InvalidArgumentError(
                f"there is a column {taken[0]!r} already, which {type(self).__name__} would make"
            )
        return batch

    def _asked(self, table: Any) -> list[tuple[Any, Policy, dict[str, Any]] | Exception]:
        """Of each row, its prompt, policy and options; or why there are none."""
        columns = [table.column(name).to_pylist() for name in (self._prompt, *self._parameters)]
        asked: list[tuple[Any, Policy, dict[str, Any]] | Exception] = []
        for prompt, *values in zip(*columns):
            given = {name: value for name, value in zip(self._parameters, values) if value is not None}
            try:
                numbers = {name: value for name, value in given.items() if name in _NUMBERS}
                own = {name: value for name, value in given.items() if name in _OPTIONS}
                policy = self._policy.replace(**numbers) if numbers else self._policy
                asked.append((_prompt(prompt), policy, {**self._options, **own}))
            except Exception as problem:
                asked.append(problem)
        return asked


class Generator(_Worker):
    """Answers the prompts of a batch: a class for `map_batches`, which makes one in each actor.

    Rows keep their columns and get these:

    =============== ============================================================================================
    answer          The text; null without a tokenizer.
    tokens          list<int32>: up to and including the end-of-sequence token.
    forwards        Denoising forwards.
    tpf             Tokens per forward.
    finish_reason   "eos" or "length".
    error           null; or, where all others are null, the exception: "InvalidArgumentError: ..."
    step_map        list<int32>, as long as tokens, if asked for: after how many forwards each was written last.
    log_probs       list<float>, likewise: of the probability with which each was written last.
    =============== ============================================================================================

    Args:
        model: The checkpoint: a path that is the same on all hosts.
        prompt: The column of prompts: texts, conversations (lists of objects) or token ids.
        policy: As for `Model.generate`.
        parameters: Columns that hold parameters of each row, by their names: fields of Policy ("temperature", "seed")
            and of AnswerOptions ("gen_length"). Where a value is null, that of `policy` or `options` holds.
        load: Arguments of `Model.load` beside the path: {"dtype": "int4"}. Threads: as many as Ray gives CPUs.
        in_flight: So many prompts are at work at a time. A batch has its own: let it be many times as large.
        prefix_cache: The bytes of a prefix cache that the actor keeps; 0: none.
        step_maps: Whether there is a column step_map.
        log_probs: Whether there is a column log_probs.
        on_error: "return": a bad prompt costs its own answer, and has a word in `error`. "raise": it ends the batch,
            and Ray does with it what it is set to do.
        **options: See AnswerOptions.

    Raises:
        ImportError: There is no pyarrow, which Ray Data brings.
        InvalidArgumentError: There is no such parameter; and as `Model.load`.
    """

    def __init__(
        self,
        model: Path,
        *,
        prompt: str = "prompt",
        policy: Policy | None = None,
        parameters: Sequence[str] = (),
        load: Mapping[str, Any] | None = None,
        in_flight: int = 8,
        prefix_cache: int = 0,
        step_maps: bool = False,
        log_probs: bool = False,
        on_error: Literal["return", "raise"] = "return",
        **options: Any,
    ) -> None:
        super().__init__(model, prompt, policy, parameters, load, options)
        self._in_flight, self._on_error = in_flight, on_error
        self._step_maps, self._log_probs = step_maps, log_probs
        self._cache = self._model.prefix_cache(prefix_cache) if prefix_cache else None

    def __call__(self, batch: Any) -> Any:
        """Answers a batch.

        Args:
            batch: A pyarrow.Table, or what else `map_batches` gives.

        Returns:
            A pyarrow.Table.

        Raises:
            InvalidArgumentError: A column is missing, or there already.
        """
        pyarrow = self._pyarrow
        types = {
            "answer": pyarrow.string(),
            "tokens": pyarrow.list_(pyarrow.int32()),
            "forwards": pyarrow.int64(),
            "tpf": pyarrow.float64(),
            "finish_reason": pyarrow.string(),
            "error": pyarrow.string(),
            **({"step_map": pyarrow.list_(pyarrow.int32())} if self._step_maps else {}),
            **({"log_probs": pyarrow.list_(pyarrow.float32())} if self._log_probs else {}),
        }
        table = self._table(batch, list(types))
        made: dict[str, list[Any]] = {name: [] for name in types}
        for row in self._rows(table):
            for name, column in made.items():
                column.append(row.get(name))
        for name, column in made.items():
            table = table.append_column(name, pyarrow.array(column, types[name]))
        return table

    def _rows(self, table: Any) -> Iterator[dict[str, Any]]:
        asked = self._asked(table)
        watched: dict[int, tuple[int, Written]] = {}  # of each decoder, its row
        maps: dict[int, tuple[NDArray[np.int32], NDArray[np.float32]]] = {}
        rows = iter(range(len(asked)))

        def make(one: tuple[Any, Policy, dict[str, Any]] | Exception, _: Policy | None) -> Decoder:
            row = next(rows)
            if isinstance(one, Exception):
                raise one
            prompt, policy, options = one
            decoder = self._model.decoder(prompt, policy, prefix_cache=self._cache, **options)
            if self._log_probs or self._step_maps:
                watched[id(decoder)] = row, Written(decoder)
            return decoder

        def callback(decoder: Decoder) -> None:
            row, written = watched[id(decoder)]
            if self._log_probs:
                written.note(decoder.events)
            if decoder.finished:
                del watched[id(decoder)]
                answer = slice(decoder.prompt_length, None)
                maps[row] = decoder.step_map[answer], written.log_probs[answer]

        following = callback if self._log_probs or self._step_maps else None
        results = many.stream(asked, None, make, self._in_flight, following, False, False, self._on_error)
        for row, result in enumerate(results):
            if isinstance(result, Exception):
                yield {"error": _words(result)}
                continue
            count = len(result.tokens)
            step_map, log_probs = maps.pop(row, ((), ()))
            yield {
                "answer": result.text,
                "tokens": result.tokens,
                "forwards": result.forwards,
                "tpf": result.tpf,
                "finish_reason": result.finish_reason,
                "step_map": step_map[:count],
                "log_probs": log_probs[:count],
            }


class RolloutWorker(_Worker):
    """Samples several answers to each prompt of a batch: a class for `map_batches`, which makes one in each actor.

    Rows keep their columns and get these:

    =============== ============================================================================================
    rollouts        llada.Rollouts, as `Model.rollouts` gives them; None where something went wrong.
    error           None; or the exception: "InvalidArgumentError: ..."
    =============== ============================================================================================

    A round of training has a pass of its own, with the checkpoint of that round: an actor that is lost and made again
    opens the same weights.

    Args:
        model, prompt, policy, parameters, load: As for `Generator`. A parameter "seed" has no effect.
        n: Samples of each prompt.
        seeds: The column that has a list of seeds for each prompt; None: 0 to n - 1, for each.
        reward: Called with the row, a dict, and each Generation; a finite number.
        on_error, options: As for `Generator`.

    Raises:
        ImportError, InvalidArgumentError: As for `Generator`.
    """

    def __init__(
        self,
        model: Path,
        *,
        prompt: str = "prompt",
        n: int = 8,
        policy: Policy | None = None,
        seeds: str | None = None,
        reward: Callable[[dict[str, Any], Generation], float] | None = None,
        parameters: Sequence[str] = (),
        load: Mapping[str, Any] | None = None,
        on_error: Literal["return", "raise"] = "return",
        **options: Any,
    ) -> None:
        super().__init__(model, prompt, policy, parameters, load, options)
        self._n, self._seeds, self._reward, self._on_error = n, seeds, reward, on_error

    def __call__(self, batch: Any) -> dict[str, Any]:
        """Samples for a batch.

        Args:
            batch: As for `Generator`.

        Returns:
            A dict of arrays.

        Raises:
            InvalidArgumentError: A column is missing, or there already.
        """
        seeds = () if self._seeds is None else (self._seeds,)
        table = self._table(batch, ("rollouts", "error"), *seeds)
        rollouts: NDArray[np.object_] = np.full(len(table), None, object)
        errors: NDArray[np.object_] = np.full(len(table), None, object)
        for index, (row, one) in enumerate(zip(table.to_pylist(), self._asked(table))):
            try:
                rollouts[index] = self._roll_out(row, one)
            except Exception as problem:
                if self._on_error == "raise":
                    raise
                errors[index] = _words(problem)
        kept = {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}
        return {**kept, "rollouts": rollouts, "error": errors}

    def _roll_out(self, row: dict[str, Any], one: tuple[Any, Policy, dict[str, Any]] | Exception) -> Rollouts:
        if isinstance(one, Exception):
            raise one
        prompt, policy, options = one
        reward = self._reward
        return self._model.rollouts(
            prompt,
            self._n,
            policy,
            seeds=None if self._seeds is None else row[self._seeds],
            reward=None if reward is None else lambda generation: reward(row, generation),
            **options,
        )


def _words(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"


def _prompt(value: Any) -> Any:
    """A prompt as Python has it: Arrow gives all objects of a list the keys of each."""
    if isinstance(value, (list, np.ndarray)) and len(value) and isinstance(value[0], Mapping):
        return [{key: part for key, part in message.items() if part is not None} for message in value]
    return value


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as problem:
        raise ImportError(f"llada.ray needs Ray Data: pip install 'ray[data]>=2.60' ({problem})") from problem
    return pyarrow


def _assigned_cpus() -> int | None:
    """The CPUs that Ray gives the actor; None: it gives none, or this is no actor."""
    try:
        import ray
    except ImportError:
        return None
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    return int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0)) or None
