"""Remember states, to go back to them and forth again."""

from __future__ import annotations

from typing import Generic, TypeVar

State = TypeVar("State")

_MOST = 200


class History(Generic[State]):
    """The states that something had, of which one is the present.

    Parameters
    ----------
    first : State
        States never change: each step gives a new one.
    """

    def __init__(self, first: State) -> None:
        self._states = [first]
        self._at = 0
        self._kind = ""

    @property
    def state(self) -> State:
        """The present state."""
        return self._states[self._at]

    @property
    def can_undo(self) -> bool:
        """Whether there is a state before."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a state that was gone back from."""
        return self._at + 1 < len(self._states)

    def step(self, state: State, kind: str = "") -> None:
        """Take a step.

        Parameters
        ----------
        state : State
            The new one; if it equals the present one there is no step.
        kind : str
            Steps in a row of one kind, such as those of a slider, are undone at once.
        """
        if state == self.state:
            return
        again = bool(kind) and kind == self._kind and self.can_undo and not self.can_redo
        del self._states[self._at + (not again) :]
        self._states.append(state)
        del self._states[: len(self._states) - _MOST]
        self._at, self._kind = len(self._states) - 1, kind

    def undo(self) -> State:
        """Go back, if there is a state before."""
        self._at = max(0, self._at - 1)
        self._kind = ""
        return self.state

    def redo(self) -> State:
        """Go forth again, if it was gone back from."""
        self._at = min(len(self._states) - 1, self._at + 1)
        self._kind = ""
        return self.state
