# pragma version 0.4.3
"""
@title Token: an ERC-20 whose mint waits for confirmation
@license Apache-2.0
@notice `mint` opens a pending credit that nobody can move and that counts neither in a
        balance nor in the supply. The sender group then confirms it with `credit` or takes
        it back with `cancel`. Only groups that the owner made minters can open credits;
        confirming and undoing needs no such right, so withdrawing it traps nothing.
@dev ERC-20 as in EIP-20. An allowance of 2**256 - 1 is never used up.
"""

import groups
import operations
import ownership
import pausing

initializes: ownership
initializes: pausing[ownership := ownership]
initializes: groups
initializes: operations[groups := groups, pausing := pausing]

exports: (
    ownership.owner,
    ownership.pending_owner,
    ownership.transfer_ownership,
    ownership.accept_ownership,
    pausing.paused,
    pausing.pause,
    pausing.unpause,
    groups.group_of,
    groups.admit,
    groups.join,
    groups.expel,
)

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256

event MinterChanged:
    group: indexed(address)
    allowed: bool

name: public(String[64])
symbol: public(String[32])
decimals: public(uint8)
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])

# Sum of all open credits, in base units.
pending_supply: public(uint256)
# Sender groups that may open credits.
minters: public(HashMap[address, bool])
# group -> operation id -> amount; the beneficiary stands in the operation's head.
amounts: HashMap[address, HashMap[bytes32, uint256]]


@deploy
def __init__(name: String[64], symbol: String[32], decimals: uint8, initial_supply: uint256):
    ownership.__init__()
    self.name = name
    self.symbol = symbol
    self.decimals = decimals
    self._credit(msg.sender, initial_supply)


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    allowed: uint256 = self.allowance[sender][msg.sender]
    if allowed != max_value(uint256):
        assert allowed >= amount, "insufficient allowance"
        self.allowance[sender][msg.sender] = allowed - amount
    self._move(sender, receiver, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def set_minter(group: address, allowed: bool):
    """
    @notice Let all members of a sender group open credits, or no longer.
    """
    ownership.check_owner()
    self.minters[group] = allowed
    log MinterChanged(group=group, allowed=allowed)


@external
def mint(op_id: bytes32, to: address, amount: uint256, deadline: uint256) -> bool:
    """
    @notice Open a pending credit of `amount` base units for `to`.
    @return True when it was opened, False when it had been opened before.
    """
    group: address = groups.of_caller()
    terms: operations.Terms = self._terms(to, amount)
    head: uint256 = operations.heads[group][op_id]
    if operations.status_of(head) != operations.UNUSED:
        operations.check_replay(head, self._recorded(group, op_id, head), terms)
        return False
    assert self.minters[group], "not a minter"
    # Refused here, so that the confirmation can never fail.
    pending: uint256 = self.pending_supply
    assert amount <= max_value(uint256) - self.totalSupply - pending, "supply overflow"
    operations.open(group, op_id, to, terms, deadline)
    self.amounts[group][op_id] = amount
    self.pending_supply = pending + amount
    return True


@external
def credit(op_id: bytes32) -> bool:
    """
    @notice Confirm a pending credit of the caller's group: the beneficiary gets it.
    @return True when it was credited, False when it had been credited before.
    """
    group: address = groups.of_caller()
    head: uint256 = operations.existing(group, op_id)
    terms: operations.Terms = self._recorded(group, op_id, head)
    if not operations.settle(group, op_id, head, operations.RELEASED, terms):
        return False
    self.pending_supply -= terms.amount
    self._credit(terms.beneficiary, terms.amount)
    return True


@external
def cancel(op_id: bytes32) -> bool:
    """
    @notice Take back a pending credit of the caller's group (its status becomes refunded),
            or put a tombstone on an unused id.
    @return True when something changed, False when it had been done before.
    """
    group: address = groups.of_caller()
    head: uint256 = operations.heads[group][op_id]
    status: uint8 = operations.status_of(head)
    if status == operations.CANCELLED:
        return False
    if status == operations.UNUSED:
        operations.cancel(group, op_id)
        return True
    terms: operations.Terms = self._recorded(group, op_id, head)
    if not operations.settle(group, op_id, head, operations.REFUNDED, terms):
        return False
    self.pending_supply -= terms.amount
    return True


@external
@view
def operation(group: address, op_id: bytes32) -> (
    uint8, uint8, address, uint256, address, address, bytes32, uint256, bytes32
):
    """
    @return status, kind, token, amount, payer, beneficiary, hashlock, refund_after,
            params_hash as in the vault; payer, hashlock and refund_after are always zero,
            and where nothing was ever opened all is zero but the status.
    """
    head: uint256 = operations.heads[group][op_id]
    terms: operations.Terms = empty(operations.Terms)
    params_hash: bytes32 = empty(bytes32)
    if operations.kind_of(head) != 0:
        terms = self._recorded(group, op_id, head)
        params_hash = operations.hash_of(terms)
    return (
        operations.status_of(head),
        terms.kind,
        terms.asset,
        terms.amount,
        empty(address),
        terms.beneficiary,
        empty(bytes32),
        0,
        params_hash,
    )


@internal
def _credit(receiver: address, amount: uint256):
    self.totalSupply += amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, value=amount)


@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert receiver != empty(address), "bad receiver"
    assert self.balanceOf[sender] >= amount, "insufficient balance"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, value=amount)


@internal
@view
def _recorded(group: address, op_id: bytes32, head: uint256) -> operations.Terms:
    return self._terms(operations.party_of(head), self.amounts[group][op_id])


@internal
@view
def _terms(to: address, amount: uint256) -> operations.Terms:
    return operations.Terms(
        kind=operations.MINT,
        asset=self,
        amount=amount,
        beneficiary=to,
        hashlock=empty(bytes32),
        refund_after=0,
    )
