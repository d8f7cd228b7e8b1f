"""Builds and signs attempts: nonce, price, funds. Nothing is sent here."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct

from adapters.base import Attempt, ClaimBook, Prepared, Purpose, Task
from adapters.errors import Rejected, Transient
from adapters.evm.abi import decode, encode
from adapters.evm.actions import Call, brought_in, call_of, payer_of, tombstone_of
from adapters.evm.blocks import read_header
from adapters.evm.fees import Price, beat, caps_of, opening
from adapters.evm.line import Lines
from adapters.evm.nodes import Nodes
from adapters.evm.policy import require_burn, require_effect, require_tombstone
from adapters.evm.settings import EvmSettings
from adapters.evm.signing import Eip1559, EvmSigner
from adapters.evm.transactions import SignedHere
from adapters.evm.values import AbiError, checksum
from adapters.rpc import RpcError

__all__ = ["WINDOW_FACTOR", "AttemptBuilder"]

#: Confirms, undos and kills may use more of an account's line than forward steps.
WINDOW_FACTOR: Final = 4
#: First bytes of the code of an account that delegated itself (EIP-7702).
_DELEGATION: Final = "0xef0100"


class _Payer(Struct, frozen=True):
    """An account as the newest block shows it."""

    account: str
    nonce: int
    balance_wei: int
    #: EIP-7702: its code runs for others too, and nodes keep one waiting transaction of it.
    delegated: bool = False


class AttemptBuilder:
    """Builds attempts for one chain.

    Args:
        signers: by account.
        native: name of the asset that fees are paid in.
        lines: where effects wait for room among the nonces of their account.
        here: told of everything that is signed.
    """

    def __init__(
        self,
        nodes: Nodes,
        settings: EvmSettings,
        signers: Mapping[str, EvmSigner],
        native: str,
        lines: Lines,
        here: SignedHere,
    ) -> None:
        self._nodes = nodes
        self._settings = settings
        self._signers = signers
        self._native = native
        self._lines = lines
        self._here = here
        #: the newest block as many are told it in one answer, and its base fee.
        self._told: tuple[Any, int] = (None, 0)

    async def effect(
        self, task: Task, book: ClaimBook, former: Sequence[Attempt], since: int
    ) -> Prepared:
        """Build what makes the effect; under the same claim as ``former`` attempts, if any."""
        if former:
            return await self._effect(task, book, former, since)
        account = call_of(task).sender
        async with self._lines.place(account, self._window(task), book.taken):
            return await self._effect(task, book, former, since)

    async def _effect(
        self, task: Task, book: ClaimBook, former: Sequence[Attempt], since: int
    ) -> Prepared:
        call = call_of(task)
        reads = [_allowance_read(task)] if _keeps_allowance(task) else []
        sure = task.direction == "forward"  # what has begun must not wait for a majority
        payer, base_fee_wei, rest = await self._payer(call.sender, reads, sure=sure)
        facts: dict[str, Any] = {"gen": task.generation, **brought_in(task)}
        if reads:
            facts["former_allowance"] = _allowance(rest[0])
        if former:
            _require_head(payer, former[0])
        price = self._price(task, "effect", base_fee_wei, former)
        if task.direction == "forward" and price.max_fee_wei < base_fee_wei:
            raise Rejected(
                f"a block costs {base_fee_wei} wei per gas now, the cap is {price.max_fee_wei}",
                code="policy",
            )
        self._check_funds(payer, call, price)
        nonce = self._nonce(task, payer, book, former)
        require = partial(require_effect, task)
        return await self._signed(call, nonce, price, since, facts, require)

    async def burn(self, task: Task, former: Sequence[Attempt], since: int) -> Prepared:
        """Build a payment of nothing to oneself under the claim of ``former`` attempts."""
        if not former:
            raise Rejected("there is no attempt that a burn could end", code="policy")
        account, nonce = former[0].claim[0]
        call = Call(account, account, 0, b"", int(task.action["gas"]["burn"]))
        payer, base_fee_wei, _ = await self._payer(account, [])
        if any(item.purpose == "burn" for item in former):
            _require_head(payer, former[0])
        price = self._price(task, "burn", base_fee_wei, former)
        self._check_funds(payer, call, price)
        facts = {"gen": task.generation}
        return await self._signed(call, nonce, price, since, facts, partial(require_burn, task))

    async def fill(
        self,
        account: str,
        nonce: int,
        gas: int,
        tip_wei: int,
        caps: Price,
        former: Sequence[Attempt],
        since: int,
    ) -> Prepared:
        """Build a payment of nothing to oneself under a nonce that no saga has claimed; one that
        pays more than ``former`` payments under it, if any.
        """
        call = Call(account, account, 0, b"", gas)
        payer, base_fee_wei, _ = await self._payer(account, [])
        price = opening(base_fee_wei, tip_wei, caps)
        if former:
            price = beat([Price.of(item.fee) for item in former], price, caps)
        self._check_funds(payer, call, price)
        return await self._signed(call, nonce, price, since, {}, partial(require_burn, None))

    async def tombstone(
        self, task: Task, book: ClaimBook, former: Sequence[Attempt], since: int
    ) -> Prepared:
        """Build the cancellation of the operation id, by any account of its group that can pay."""
        candidates, base_fee_wei = await self._members(task)
        capped: Rejected | None = None
        for payer in candidates:
            mine = [item for item in former if item.claim[0][0] == payer.account]
            try:
                price = self._price(task, "tombstone", base_fee_wei, mine)
            except Rejected as refusal:
                capped = capped or refusal
                continue
            call = tombstone_of(task, payer.account)
            if payer.balance_wei < call.gas * price.max_fee_wei:
                continue
            nonce = mine[0].claim[0][1] if mine else book.take_next(payer.account, payer.nonce)
            require = partial(require_tombstone, task)
            return await self._signed(call, nonce, price, since, {"gen": task.generation}, require)
        if not candidates:
            raise Rejected(f"no signer of ours is in group {task.action['group']}")
        if capped is not None:
            raise capped
        payer = candidates[0]
        price = self._price(task, "tombstone", base_fee_wei, ())
        self._check_funds(payer, tombstone_of(task, payer.account), price)
        raise Rejected("no account of the group can pay for a tombstone now", code="policy")

    async def _members(self, task: Task) -> tuple[list[_Payer], int]:
        """Return our accounts in the operation's group, the richest first, the base fee with them.

        The account whose attempt is to be ended comes last: it is likely the one in trouble.
        """
        accounts = list(self._signers)
        contract = task.action["contract"]
        calls: list[tuple[str, Any]] = [("eth_getBlockByNumber", ("latest", False))]
        for account in accounts:
            data = encode("group_of(address)", ("address",), (account,))
            calls += _account_reads(account)
            calls.append(("eth_call", ({"to": contract, "data": f"0x{data.hex()}"}, "latest")))
        block, *answers = (_value(answer) for answer in await self._nodes.batch(calls))
        found = []
        for at, account in enumerate(accounts):
            told, balance, group = answers[3 * at : 3 * at + 3]
            if _address(group) == task.action["group"]:
                nonce = await self._unused_nonce(account, told)
                found.append(_Payer(account, nonce, int(balance, 16)))
        broke = payer_of(task)
        found.sort(key=lambda payer: (payer.account == broke, -payer.balance_wei))
        return found, read_header(block).base_fee_wei

    async def _payer(
        self, account: str, more: Sequence[tuple[str, Any]], *, sure: bool = False
    ) -> tuple[_Payer, int, list[Any]]:
        """Return an account, the newest base fee and the answers to ``more``, in one request.

        Args:
            sure: its nonce has to be what a majority tells now.
        """
        if account not in self._signers:
            raise Rejected(f"no signer for {account} is configured any more; nothing was sent")
        calls = [
            ("eth_getBlockByNumber", ("latest", False)), *_account_reads(account),
            ("eth_getCode", (account, "latest")), *more,
        ]  # fmt: skip
        answers = [_value(answer) for answer in await self._nodes.batch(calls)]
        delegated = str(answers[3]).startswith(_DELEGATION)
        nonce = await self._unused_nonce(account, answers[1], sure=sure)
        self._lines.saw(account, nonce)
        payer = _Payer(account, nonce, int(answers[2], 16), delegated)
        if self._told[0] is not answers[0]:
            self._told = answers[0], read_header(answers[0]).base_fee_wei
        return payer, self._told[1], answers[4:]

    async def _unused_nonce(self, account: str, told: Any, *, sure: bool = False) -> int:
        """Return what one node told, where there is only one: beyond it no node's word opens a
        hole that self-spends would have to fill.
        """
        if len(self._nodes) == 1:
            return int(told, 16)
        nodes = self._nodes
        return await (nodes.unused_nonce(account) if sure else nodes.free_nonce(account))

    def _price(
        self, task: Task, purpose: Purpose, base_fee_wei: int, former: Sequence[Attempt]
    ) -> Price:
        caps = caps_of(task, purpose)
        fresh = opening(base_fee_wei, int(task.action["tip"]), caps)
        prices = [Price.of(item.fee) for item in former]
        return beat(prices, fresh, caps) if prices else fresh

    def _nonce(self, task: Task, payer: _Payer, book: ClaimBook, former: Sequence[Attempt]) -> int:
        if former:
            return former[0].claim[0][1]
        nonce = book.take_next(payer.account, payer.nonce)
        window = 1 if payer.delegated else self._window(task)
        if nonce - payer.nonce >= window:
            raise Transient(
                f"{payer.account} has {nonce - payer.nonce} transactions on their way already"
            )
        return nonce

    def _window(self, task: Task) -> int:
        return self._settings.window * (1 if task.direction == "forward" else WINDOW_FACTOR)

    def _check_funds(self, payer: _Payer, call: Call, price: Price) -> None:
        missing = call.value_wei + call.gas * price.max_fee_wei - payer.balance_wei
        if missing > 0:
            raise Rejected(
                f"{payer.account} lacks {missing} base units of {self._native} for value and gas",
                code="unfunded",
                fund=(payer.account, self._native, missing),
            )

    async def _signed(
        self,
        call: Call,
        nonce: int,
        price: Price,
        since: int,
        facts: Mapping[str, Any],
        require: Callable[[bytes, str, int], None],
    ) -> Prepared:
        unsigned = Eip1559(
            chain_id=self._settings.chain_id,
            nonce=nonce,
            max_priority_fee_wei=price.tip_wei,
            max_fee_wei=price.max_fee_wei,
            gas=call.gas,
            to=call.to,
            value_wei=call.value_wei,
            data=call.data,
        )
        # No signer, a keystore's key included, is asked for anything that the plan does not say.
        require(unsigned.payload(), call.sender, self._settings.chain_id)
        raw = await self._signers[call.sender].sign(unsigned)
        cost_wei = call.gas * price.max_fee_wei
        tx_id = self._here.add(call.sender, unsigned, raw)
        return Prepared(
            tx_id=tx_id,
            raw=raw,
            claim=((call.sender, nonce),),
            since=since,
            fee={**price.json(), "gas": str(call.gas), "cost": str(cost_wei)},
            facts=facts,
        )


def _require_head(payer: _Payer, attempt: Attempt) -> None:
    """A dearer replacement helps only the first in line: the others wait for it whatever they pay,
    and what a block has consumed only waits to be final.

    Raises:
        Transient: an earlier nonce of the account is still open, or this one is not any more.
    """
    ((_, nonce),) = attempt.claim
    if nonce > payer.nonce:
        raise Transient(f"nonce {nonce} of {payer.account} waits in line behind {payer.nonce}")
    if nonce < payer.nonce:
        raise Transient(f"nonce {nonce} of {payer.account} is in a block already")


def _account_reads(account: str) -> list[tuple[str, Any]]:
    return [
        ("eth_getTransactionCount", (account, "latest")),
        ("eth_getBalance", (account, "latest")),
    ]


def _keeps_allowance(task: Task) -> bool:
    return task.action["kind"] == "approve" and task.direction == "forward"


def _allowance_read(task: Task) -> tuple[str, Any]:
    action = task.action
    values = (action["account"], action["spender"])
    data = encode("allowance(address,address)", ("address", "address"), values)
    return ("eth_call", ({"to": action["token"], "data": f"0x{data.hex()}"}, "latest"))


def _allowance(answer: str) -> str:
    return str(_decoded("uint256", answer))


def _address(answer: str) -> str:
    return checksum(_decoded("address", answer))


def _decoded(kind: str, answer: str) -> Any:
    try:
        return decode((kind,), bytes.fromhex(answer.removeprefix("0x")))[0]
    except (AbiError, ValueError):
        raise Transient("a node answered a read of a contract with nonsense") from None


def _value(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise Transient(f"a node can not read state: {answer}")
    return answer
