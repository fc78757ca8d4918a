"""How the proposal of a decoder comes about: by its policy and then its rule, or by its host."""

from __future__ import annotations

import copy
import types
from typing import Any, Callable, Optional

from . import _abi, interfering
from ._calls import Calls
from .errors import BusyError

AnyRule = Optional[Callable[[Any], Any]]


class Proposing:
    """Asks the policy and the rule of one decoder.

    Attributes:
        rule: The decoder's own; None: it has none.
        awaits_rule: Whether the proposal at hand is the policy's alone, because the rule raised something.
    """

    def __init__(self, calls: Calls, rule: AnyRule) -> None:
        self._calls = calls
        self.rule = own_rule(rule)
        self.awaits_rule = False
        self._asking = False

    def propose(self, decoder: Any, edits: Any) -> None:
        """See `Decoder.propose`. `decoder` is what the rule is given."""
        if edits is None:
            if self._asking:
                raise BusyError(
                    "the decoder is asking its rule, which cannot step it; a fork with `rule = None` can be"
                )
            self._calls.change(_abi.lib.llada_decoder_propose)
            if self.rule is not None:
                self.awaits_rule = self._asking = True
                try:
                    edits = self.rule(decoder)
                finally:
                    self._asking = False
        if edits is not None:
            interfering.propose(self._calls, edits)
        self.awaits_rule = False


def own_rule(rule: AnyRule) -> AnyRule:
    """A rule for one decoder alone: an object that is called is copied with what it keeps, functions and methods are
    not. Raises TypeError for what cannot be called, or not be copied."""
    if rule is not None and not callable(rule):
        raise TypeError(f"rule must be callable with a decoder, not {rule!r}")
    try:
        return rule if isinstance(rule, types.MethodType) else copy.deepcopy(rule)
    except Exception as problem:
        raise TypeError(
            f"rule {rule!r} cannot be copied for the decoder ({problem}); functions and methods are not copied"
        ) from problem


def begin(rule: AnyRule, decoder: Any) -> None:
    """Lets a rule that has a method `begin` look at a decoder before anything is computed."""
    method = getattr(rule, "begin", None)
    if callable(method):
        method(decoder)
