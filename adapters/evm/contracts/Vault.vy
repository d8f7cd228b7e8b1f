# pragma version 0.4.3
"""
@title Vault: locks and holds of tokens and of the native coin
@license Apache-2.0
@notice A lock waits for the sender group, which may release it to the beneficiary or refund
        it at any time. A hold waits for the payee, who redeems it with a preimage; the
        group gets it back only from `refund_after` on, and until it does so the payee may
        still redeem. Nobody, the owner included, can move value in any other way: it goes
        to the beneficiary or back to its payer.
@dev The zero address stands for the native coin. Tokens that take a fee on transfer are
     refused; tokens whose balances change by themselves must not be locked here.
"""

from ethereum.ercs import IERC20

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

event Redeemed:
    group: indexed(address)
    op_id: indexed(bytes32)
    preimage: bytes32

struct Escrow:
    token: address
    amount: uint256
    beneficiary: address
    hashlock: bytes32

escrows: HashMap[address, HashMap[bytes32, Escrow]]


@deploy
def __init__():
    ownership.__init__()


@external
@payable
@nonreentrant
def lock(op_id: bytes32, token: address, amount: uint256, to: address, deadline: uint256) -> bool:
    """
    @notice Take `amount` base units of `token` from the caller until the group releases
            them to `to` or refunds them to the caller.
    @return True when the lock was made, False when it had been made before.
    """
    terms: operations.Terms = operations.Terms(
        kind=operations.LOCK,
        asset=token,
        amount=amount,
        beneficiary=to,
        hashlock=empty(bytes32),
        refund_after=0,
    )
    return self._open(op_id, terms, deadline)


@external
@payable
@nonreentrant
def hold(
    op_id: bytes32,
    token: address,
    amount: uint256,
    payee: address,
    hashlock: bytes32,
    refund_after: uint256,
    deadline: uint256,
) -> bool:
    """
    @notice Take `amount` base units of `token` from the caller until `payee` is paid by the
            preimage of `hashlock` (SHA-256 of 32 bytes), or the group refunds the caller
            at or after the time `refund_after` (seconds), which lies beyond `deadline`.
    @return True when the hold was made, False when it had been made before.
    """
    terms: operations.Terms = operations.Terms(
        kind=operations.HOLD,
        asset=token,
        amount=amount,
        beneficiary=payee,
        hashlock=hashlock,
        refund_after=refund_after,
    )
    return self._open(op_id, terms, deadline)


@external
@nonreentrant
def release(op_id: bytes32) -> bool:
    """
    @notice Pay a lock of the caller's group to its beneficiary.
    @return True when it was released, False when it had been released before.
    """
    group: address = groups.of_caller()
    head: uint256 = operations.existing(group, op_id)
    assert operations.kind_of(head) == operations.LOCK, "not a lock"
    terms: operations.Terms = self._terms(group, op_id, head)
    if not operations.settle(group, op_id, head, operations.RELEASED, terms):
        return False
    self._pay(terms.asset, terms.beneficiary, terms.amount)
    return True


@external
@nonreentrant
def redeem(group: address, op_id: bytes32, preimage: bytes32) -> bool:
    """
    @notice Pay a hold of `group` to its payee. Anybody may call it.
    @return True when it was redeemed, False when it had been redeemed before.
    """
    head: uint256 = operations.existing(group, op_id)
    assert operations.kind_of(head) == operations.HOLD, "not a hold"
    terms: operations.Terms = self._terms(group, op_id, head)
    assert sha256(preimage) == terms.hashlock, "wrong preimage"
    if not operations.settle(group, op_id, head, operations.RELEASED, terms):
        return False
    log Redeemed(group=group, op_id=op_id, preimage=preimage)
    self._pay(terms.asset, terms.beneficiary, terms.amount)
    return True


@external
@nonreentrant
def refund(op_id: bytes32) -> bool:
    """
    @notice Pay a lock or a hold of the caller's group back to the address that paid it in.
    @return True when it was refunded, False when it had been refunded before.
    """
    group: address = groups.of_caller()
    head: uint256 = operations.existing(group, op_id)
    if operations.status_of(head) == operations.OPEN:
        # A lock carries no such time, so it passes at once.
        assert block.timestamp >= operations.refund_after_of(head), "too early"
    terms: operations.Terms = self._terms(group, op_id, head)
    if not operations.settle(group, op_id, head, operations.REFUNDED, terms):
        return False
    self._pay(terms.asset, operations.party_of(head), terms.amount)
    return True


@external
@nonreentrant
def cancel(op_id: bytes32) -> bool:
    """
    @notice Put a tombstone on an unused id of the caller's group: no lock or hold can be
            made under it any more.
    @return True when it was cancelled, False when it had been cancelled before.
    """
    group: address = groups.of_caller()
    status: uint8 = operations.status_of(operations.heads[group][op_id])
    if status == operations.CANCELLED:
        return False
    assert status == operations.UNUSED, "not cancellable"
    operations.cancel(group, op_id)
    return True


@external
@view
def operation(group: address, op_id: bytes32) -> (
    uint8, uint8, address, uint256, address, address, bytes32, uint256, bytes32
):
    """
    @return status, kind, token, amount, payer, beneficiary, hashlock, refund_after,
            params_hash; all zero but the status where nothing was ever opened.
    """
    head: uint256 = operations.heads[group][op_id]
    terms: operations.Terms = self._terms(group, op_id, head)
    params_hash: bytes32 = empty(bytes32)
    if terms.kind != 0:
        params_hash = operations.hash_of(terms)
    return (
        operations.status_of(head),
        terms.kind,
        terms.asset,
        terms.amount,
        operations.party_of(head),
        terms.beneficiary,
        terms.hashlock,
        terms.refund_after,
        params_hash,
    )


@internal
@payable
def _open(op_id: bytes32, terms: operations.Terms, deadline: uint256) -> bool:
    native: bool = terms.asset == empty(address)
    assert msg.value == (terms.amount if native else 0), "wrong value"
    group: address = groups.of_caller()
    head: uint256 = operations.heads[group][op_id]
    if operations.status_of(head) != operations.UNUSED:
        operations.check_replay(head, self._terms(group, op_id, head), terms)
        if native:
            # The coins of the first call are in the vault; those of this one go back.
            self._pay(terms.asset, msg.sender, msg.value)
        return False
    if terms.kind == operations.HOLD:
        assert terms.refund_after > deadline, "refund not after deadline"
    operations.open(group, op_id, msg.sender, terms, deadline)
    self.escrows[group][op_id] = Escrow(
        token=terms.asset,
        amount=terms.amount,
        beneficiary=terms.beneficiary,
        hashlock=terms.hashlock,
    )
    if not native:
        self._pull(terms.asset, terms.amount)
    return True


@internal
def _pull(token: address, amount: uint256):
    assert token.is_contract, "token has no code"
    before: uint256 = staticcall IERC20(token).balanceOf(self)
    # Some tokens return nothing at all; that counts as success, a returned False does not.
    assert extcall IERC20(token).transferFrom(
        msg.sender, self, amount, default_return_value=True
    ), "transfer refused"
    after: uint256 = staticcall IERC20(token).balanceOf(self)
    assert after == before + amount, "short transfer"


@internal
def _pay(token: address, to: address, amount: uint256):
    if token == empty(address):
        raw_call(to, b"", value=amount)
    else:
        assert extcall IERC20(token).transfer(
            to, amount, default_return_value=True
        ), "transfer refused"


@internal
@view
def _terms(group: address, op_id: bytes32, head: uint256) -> operations.Terms:
    escrow: Escrow = self.escrows[group][op_id]
    return operations.Terms(
        kind=operations.kind_of(head),
        asset=escrow.token,
        amount=escrow.amount,
        beneficiary=escrow.beneficiary,
        hashlock=escrow.hashlock,
        refund_after=operations.refund_after_of(head),
    )
