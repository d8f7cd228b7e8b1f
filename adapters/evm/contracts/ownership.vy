# pragma version 0.4.3
"""
@title One owner, handed over in two steps
@license Apache-2.0
@notice The owner of a contract can pause new operations and nothing more than the contract
        that imports this module says. A new owner has to accept, so that a mistyped
        address can never lock the contract's settings for good.
"""

event OwnershipOffered:
    owner: indexed(address)
    pending_owner: indexed(address)

event OwnershipTransferred:
    former_owner: indexed(address)
    owner: indexed(address)

owner: public(address)
pending_owner: public(address)


@deploy
def __init__():
    self.owner = msg.sender
    log OwnershipTransferred(former_owner=empty(address), owner=msg.sender)


@external
def transfer_ownership(new_owner: address):
    """
    @notice Offer the ownership to `new_owner`; the zero address withdraws an offer.
    """
    self.check_owner()
    self.pending_owner = new_owner
    log OwnershipOffered(owner=msg.sender, pending_owner=new_owner)


@external
def accept_ownership():
    """
    @notice Become the owner after an offer to the caller.
    """
    assert msg.sender == self.pending_owner, "not the pending owner"
    former_owner: address = self.owner
    self.owner = msg.sender
    self.pending_owner = empty(address)
    log OwnershipTransferred(former_owner=former_owner, owner=msg.sender)


@internal
@view
def check_owner():
    assert msg.sender == self.owner, "not the owner"
