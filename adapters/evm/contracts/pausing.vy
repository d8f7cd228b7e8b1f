# pragma version 0.4.3
"""
@title A pause that stops new operations only
@license Apache-2.0
@notice While paused, no operation can be opened. What is open can always be confirmed,
        undone, redeemed and cancelled: a pause must never trap value or a rollback.
"""

import ownership

uses: ownership

event PauseChanged:
    paused: bool

paused: public(bool)


@external
def pause():
    """
    @notice Stop new operations. Harmless when paused already.
    """
    self._set_paused(True)


@external
def unpause():
    """
    @notice Allow new operations again. Harmless when not paused.
    """
    self._set_paused(False)


@internal
def _set_paused(paused: bool):
    ownership.check_owner()
    if self.paused != paused:
        self.paused = paused
        log PauseChanged(paused=paused)


@internal
@view
def check_not_paused():
    assert not self.paused, "paused"
