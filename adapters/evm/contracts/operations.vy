# pragma version 0.4.3
"""
@title Operations that happen at most once
@license Apache-2.0
@notice An operation is keyed by (sender group, operation id) and its status only ever goes
        none -> open -> released | refunded, or none -> cancelled. A cancelled id is a
        tombstone: the operation can never be opened afterwards. Every change of a status
        emits exactly one `Operation` event, a repeated call none: the event, not the
        status of a transaction, is the evidence of an effect.
"""

import groups
import pausing

uses: groups
uses: pausing

event Operation:
    group: indexed(address)
    op_id: indexed(bytes32)
    status: indexed(uint8)
    kind: uint8
    asset: address
    amount: uint256
    params_hash: bytes32

# What an operation does. Its hash tells a repeated call from a clash of ids; the deadline
# is no part of it, because a later attempt at the same operation may carry a later one.
struct Terms:
    kind: uint8
    asset: address
    amount: uint256
    beneficiary: address
    hashlock: bytes32
    refund_after: uint256

UNUSED: constant(uint8) = 0
OPEN: constant(uint8) = 1
RELEASED: constant(uint8) = 2
REFUNDED: constant(uint8) = 3
CANCELLED: constant(uint8) = 4

LOCK: constant(uint8) = 1
HOLD: constant(uint8) = 2
MINT: constant(uint8) = 3

# group -> operation id -> head. One slot, so that a storage proof of a single slot shows
# the status together with what it belongs to:
#   bits 0-7 status, 8-15 kind, 16-79 refund_after (seconds), 80-95 zero, 96-255 party
# The party is the payer in the vault and the beneficiary in the token.
heads: HashMap[address, HashMap[bytes32, uint256]]


@internal
@pure
def status_of(head: uint256) -> uint8:
    return convert(head & 255, uint8)


@internal
@pure
def kind_of(head: uint256) -> uint8:
    return convert((head >> 8) & 255, uint8)


@internal
@pure
def refund_after_of(head: uint256) -> uint256:
    return (head >> 16) & convert(max_value(uint64), uint256)


@internal
@pure
def party_of(head: uint256) -> address:
    return convert(convert(head >> 96, uint160), address)


@internal
@pure
def hash_of(terms: Terms) -> bytes32:
    return keccak256(abi_encode(terms))


@internal
@pure
def check_replay(head: uint256, recorded: Terms, offered: Terms):
    """
    @dev For a forward call on an id that is no longer free: it may be repeated only with
         the same terms, and never after its tombstone.
    """
    assert self.status_of(head) != CANCELLED, "cancelled"
    assert self.hash_of(recorded) == self.hash_of(offered), "op id reused"


@internal
def open(group: address, op_id: bytes32, party: address, terms: Terms, deadline: uint256):
    """
    @dev none -> open. The caller has made sure that the id is free.
    """
    assert block.timestamp <= deadline, "deadline passed"
    pausing.check_not_paused()
    assert terms.amount != 0, "zero amount"
    assert terms.beneficiary not in [empty(address), self], "bad beneficiary"
    assert terms.refund_after <= convert(max_value(uint64), uint256), "refund too far"
    groups.mark_used(group)
    self.heads[group][op_id] = (
        convert(OPEN, uint256)
        | convert(terms.kind, uint256) << 8
        | terms.refund_after << 16
        | convert(party, uint256) << 96
    )
    self._log(group, op_id, OPEN, terms)


@internal
@view
def existing(group: address, op_id: bytes32) -> uint256:
    """
    @dev The head of an operation that was opened once.
    """
    head: uint256 = self.heads[group][op_id]
    status: uint8 = self.status_of(head)
    assert status != UNUSED, "unknown operation"
    assert status != CANCELLED, "cancelled"
    return head


@internal
def settle(group: address, op_id: bytes32, head: uint256, status: uint8, terms: Terms) -> bool:
    """
    @dev open -> released | refunded. False when this very change was made before; the
         opposite change reverts.
    """
    former: uint8 = self.status_of(head)
    if former == status:
        return False
    assert former != RELEASED, "already released"
    assert former != REFUNDED, "already refunded"
    self.heads[group][op_id] = head - convert(former, uint256) + convert(status, uint256)
    self._log(group, op_id, status, terms)
    return True


@internal
def cancel(group: address, op_id: bytes32):
    """
    @dev none -> cancelled. The caller has made sure that the id is free.
    """
    groups.mark_used(group)
    self.heads[group][op_id] = convert(CANCELLED, uint256)
    log Operation(
        group=group,
        op_id=op_id,
        status=CANCELLED,
        kind=0,
        asset=empty(address),
        amount=0,
        params_hash=empty(bytes32),
    )


@internal
def _log(group: address, op_id: bytes32, status: uint8, terms: Terms):
    log Operation(
        group=group,
        op_id=op_id,
        status=status,
        kind=terms.kind,
        asset=terms.asset,
        amount=terms.amount,
        params_hash=self.hash_of(terms),
    )
