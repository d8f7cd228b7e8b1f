"""Building attempts: which coins, which outputs, which fee; signed and never sent.

Two shapes exist. A *payment* makes declared outputs from chosen coins and takes change. A *sweep*
spends given outpoints into one output that bears the fee: undo of a transfer, refund of a hold,
burn, consolidation.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapters.base import Attempt, ClaimBook, Prepared, Purpose, Task
from adapters.bitcoin.address import dust_sat
from adapters.bitcoin.coins import Coin
from adapters.bitcoin.effects import (
    declared_outputs,
    hold_of,
    returns_to_source,
    spends_hold,
    undo_fee_cap_sat,
)
from adapters.bitcoin.fees import (
    FeeDesk,
    FeeTerms,
    Replaced,
    Replacing,
    fee_at,
    payment_vsize,
    replaced,
)
from adapters.bitcoin.follower import Follower
from adapters.bitcoin.policy import require_planned
from adapters.bitcoin.recipe import refund_facts
from adapters.bitcoin.recovery import write_recipe
from adapters.bitcoin.script import refund_witness
from adapters.bitcoin.transactions import Draft, Spend, TxOutput, parse_tx
from adapters.bitcoin.wallet import TrialBook, Wallet
from adapters.errors import Rejected

__all__ = ["Preparer", "Trial"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A draft, what it may cost, and the facts that go with it."""

    draft: Draft
    cap_sat: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """A transaction that no node takes, as its signatures are none, and the coins that it spends.

    ``others`` is False where the plan allows no other coins than these.
    """

    raw: bytes
    coins: tuple[str, ...]
    others: bool


@dataclass(frozen=True, slots=True)
class Preparer:
    """Prepares attempts of one chain.

    Attributes:
        network: its name, for refund recipes; with `genesis`, hash of block 0, what plans name.
        recovery_dir: where refund recipes of holds go before they can be sent.
    """

    wallet: Wallet
    fees: FeeDesk
    follower: Follower
    network: str
    genesis: str
    recovery_dir: Path

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        """Return a signed attempt; see `adapters.base.Adapter.prepare`."""
        if purpose == "tombstone":
            raise Rejected("Bitcoin has no tombstones; burn the attempt instead", code="policy")
        # What killed the former generation is cited only when a new one begins, with other coins.
        former = () if task.generation > 1 and task.cites else _same_claim(former)
        if purpose == "burn":
            plan = await self._burn(task, former)
        elif spends_hold(task):
            plan = await self._refund(task, book, former)
        elif former:
            plan = await self._again(task, former)
        else:
            plan = await self._first(task, book)
        return await self._signed(task, purpose, plan, replaced(former))

    async def trial(self, task: Task, gone: Collection[str] = ()) -> Trial:
        """Return the forward effect as `prepare` would build it now, with dummy signatures.

        A node that is asked about it learns nothing that it could send. Coins of which others
        speak are tried only where no other is left: their transactions would refuse this one.

        Args:
            gone: coins that turned out to be spent.
        """
        spoken = self.wallet.spoken
        try:
            plan = await self._first(task, TrialBook(gone, spoken))
        except Rejected:
            plan = await self._first(task, TrialBook(gone, set()))
        coins = tuple(spend.outpoint for spend in plan.draft.spends)
        return Trial(plan.draft.trial(), coins, others=not task.coins)

    async def choose(self, task: Task, book: ClaimBook) -> tuple[str, ...]:
        """Take coins that pay the forward effect even at its highest fee, as outpoints."""
        if task.action["kind"] == "consolidate":
            return ()  # it takes what is small when its turn comes
        account, outputs = str(task.action["from"]), declared_outputs(task)
        rate = FeeTerms.of(task.action).max_sat_vb * 1000
        chosen = await self.wallet.choose(
            task, book, account, _value(outputs), self._fee(account, outputs, rate)
        )
        return tuple(coin.outpoint for coin in chosen.coins)

    # ------------------------------------------------------------ the first attempt of a claim

    async def _first(self, task: Task, book: ClaimBook) -> _Plan:
        if task.action["kind"] == "hold" and self.follower.clock().height >= hold_of(task).locktime:
            raise Rejected("the hold's refund height has passed already; nothing was sent")
        if returns_to_source(task) and task.generation == 1:
            return await self._return(task, book)
        if task.action["kind"] == "consolidate":
            return await self._consolidate(task, book)
        must = await self.wallet.successors(task, book) if task.generation > 1 else ()
        if returns_to_source(task):
            return await self._return_from_others(task, book, must)
        return await self._pay(task, book, task.action["from"], declared_outputs(task), must)

    async def _pay(
        self,
        task: Task,
        book: ClaimBook,
        account: str,
        outputs: tuple[TxOutput, ...],
        must: Sequence[Coin] = (),
    ) -> _Plan:
        """Plan a payment of ``outputs`` from coins of ``account``, the reserved ones if any."""
        terms = FeeTerms.of(task.action)
        fee = self._fee(account, outputs, await self.fees.rate_sat_kvb(terms))
        if task.coins and task.generation == 1:
            chosen = await self.wallet.reserved(task, book, account, _value(outputs), fee)
        else:
            chosen = await self.wallet.choose(task, book, account, _value(outputs), fee, must)
        change_script = self.wallet.script(account)
        cap = self._fee(account, outputs, terms.max_sat_vb * 1000)(len(chosen.coins), True)
        if chosen.change_sat:
            outputs = (*outputs, TxOutput(chosen.change_sat, change_script))
        return await self._planned(
            task, chosen.coins, outputs, cap_sat=cap + dust_sat(change_script)
        )

    def _fee(
        self, account: str, outputs: Sequence[TxOutput], rate_sat_kvb: int
    ) -> Callable[[int, bool], int]:
        """Return the fee of a payment by number of inputs and whether ``account`` takes change."""
        sizes = [len(output.script) for output in outputs]
        with_change = [*sizes, len(self.wallet.script(account))]

        def fee_sat(inputs: int, change: bool) -> int:  # noqa: FBT001 - as `select` asks
            return fee_at(rate_sat_kvb, payment_vsize(inputs, with_change if change else sizes))

        return fee_sat

    async def _return(self, task: Task, book: ClaimBook) -> _Plan:
        """Plan the undo of a transfer: its own output, back to where it came from."""
        assert task.forward is not None
        outpoint = str(task.forward["outpoint"])
        value_sat = int(task.forward["value_sat"])
        if not book.take(outpoint):
            raise Rejected(
                f"the transfer's output {outpoint} is claimed by another effect; nothing was sent",
                code="policy",
            )
        coin = Coin(outpoint, value_sat, task.action["to"], 0)
        parents = {outpoint: list(task.forward.get("spent", ()))}
        return await self._swept(task, (coin,), task.action["source_script"], parents)

    async def _return_from_others(self, task: Task, book: ClaimBook, must: Sequence[Coin]) -> _Plan:
        """Plan the undo of a transfer whose output was spent: what spent it, and other coins."""
        rate = await self.fees.rate_sat_kvb(FeeTerms.of(task.action))
        target = self.wallet.script(task.action["to"])
        amount = int(task.action["amount"])
        # The fee comes out of the returned value, so the coins have to cover the amount only.
        chosen = await self.wallet.choose(task, book, task.action["to"], amount, _no_fee, must)
        fee = fee_at(rate, payment_vsize(len(chosen.coins), [22, len(target)]))
        fee = min(fee, undo_fee_cap_sat(task.action))
        back = TxOutput(amount - fee, bytes.fromhex(task.action["source_script"]))
        change = chosen.change_sat
        outputs = (back, TxOutput(change, target)) if change else (back,)
        cap = FeeTerms.of(task.action).max_sat_vb * payment_vsize(len(chosen.coins), [22, 22])
        return await self._planned(task, chosen.coins, outputs, cap_sat=cap + dust_sat(target))

    async def _consolidate(self, task: Task, book: ClaimBook) -> _Plan:
        account = task.action["from"]
        free = [coin for coin in self.wallet.final_coins(account) if not book.taken(coin.outpoint)]
        smallest = sorted(free, key=lambda coin: (coin.value_sat, coin.outpoint))
        taken = [
            coin
            for coin in smallest[: int(task.action["max_inputs"])]
            if await self.wallet.nodes.holdings.unspent(coin.outpoint) and book.take(coin.outpoint)
        ]
        if len(taken) < 2:
            raise Rejected(f"{account} has fewer than two free final coins to join")
        return await self._swept(task, tuple(taken), task.action["source_script"])

    async def _refund(self, task: Task, book: ClaimBook, former: Sequence[Attempt]) -> _Plan:
        """Plan the refund of a hold; the chain takes it from its locktime on."""
        if task.direction == "confirm":
            raise Rejected("a hold on Bitcoin is redeemed by its payee, not by us", code="policy")
        assert task.forward is not None
        hold = hold_of(task)
        height = self.follower.clock().height
        if height < hold.locktime:
            raise Rejected(
                f"the refund opens at height {hold.locktime}, the chain is at {height}; "
                "nothing was sent, wait for it"
            )
        outpoint, value_sat = str(task.forward["outpoint"]), int(task.forward["value_sat"])
        if not former:
            if task.generation > 1 and not await self.wallet.nodes.holdings.unspent(outpoint):
                raise Rejected(f"the hold's output {outpoint} is spent; a verdict is needed")
            if not book.take(outpoint):
                raise Rejected(f"the hold's output {outpoint} is claimed otherwise", code="policy")
        script = hold.witness_script()
        spend = Spend(
            outpoint, value_sat, script, task.action["from"],
            lambda signature: refund_witness(signature, script),
        )  # fmt: skip
        bare = Draft(
            (spend,), (TxOutput(0, bytes.fromhex(task.action["source_script"])),), hold.locktime
        )
        draft, cap = await self._bear(task, bare, replaced(former))
        facts = {
            "inputs": [[outpoint, str(value_sat), task.action["from"]]],
            "parents": {outpoint: list(task.forward.get("spent", ()))},
        }
        return _Plan(draft, cap, facts)

    # ------------------------------------------------------------ further attempts of a claim

    async def _again(self, task: Task, former: Sequence[Attempt]) -> _Plan:
        """Plan the same effect from the same coins at a fee that replaces the former ones."""
        beaten = replaced(former)
        assert beaten is not None
        coins = _coins_of(former[-1])
        if returns_to_source(task) or task.action["kind"] == "consolidate":
            if task.generation > 1:
                raise Rejected(
                    "a return from other coins is not bumped; the same bytes are sent again, "
                    "burn or wait",
                    code="policy",
                )
            return await self._swept(
                task, coins, task.action["source_script"], former[-1].facts["parents"], beaten
            )
        outputs = declared_outputs(task)
        change_script = self.wallet.script(task.action["from"])
        sizes = [len(output.script) for output in outputs]
        vsize = payment_vsize(len(coins), [*sizes, len(change_script)])
        price = await self.fees.beating(FeeTerms.of(task.action), beaten, vsize)
        left = sum(coin.value_sat for coin in coins) - _value(outputs)
        change = _change_sat(left, price, dust_sat(change_script))
        if change:
            outputs = (*outputs, TxOutput(change, change_script))
        draft = Draft(
            self.wallet.spends(coins), outputs, version=int(task.action.get("version", 2))
        )
        return _Plan(draft, price.cap_sat, self.wallet.facts(coins, former[-1].facts["parents"]))

    async def _burn(self, task: Task, former: Sequence[Attempt]) -> _Plan:
        """Plan the self-spend of a claim: no other attempt can be mined beside it."""
        beaten = replaced(former)
        if beaten is None or spends_hold(task) or returns_to_source(task):
            raise Rejected(
                "only an attempt to pay or to hold can be burnt; an undo already brings its coins "
                "home, so send it again instead",
                code="policy",
            )
        coins = _coins_of(former[-1])
        source = task.action["source_script"]
        # What replaces a version 3 transaction may be of any version, but stays its size's match.
        vsize = payment_vsize(len(coins), [len(source) // 2])
        incremental = FeeTerms.of(task.action).incremental_sat_vb
        allowed = replace(beaten, cap_sat=beaten.cap_sat + incremental * vsize)
        return await self._swept(task, coins, source, former[-1].facts["parents"], allowed)

    # ------------------------------------------------------------ drafts

    async def _planned(
        self, task: Task, coins: tuple[Coin, ...], outputs: tuple[TxOutput, ...], *, cap_sat: int
    ) -> _Plan:
        draft = Draft(
            self.wallet.spends(coins), outputs, version=int(task.action.get("version", 2))
        )
        return _Plan(draft, cap_sat, self.wallet.facts(coins, await self.wallet.parents(coins)))

    async def _swept(
        self,
        task: Task,
        coins: tuple[Coin, ...],
        script: str,
        parents: Mapping[str, Any] | None = None,
        beaten: Replaced | None = None,
    ) -> _Plan:
        """Plan a sweep of ``coins`` into one output of ``script`` (hex) that bears the fee."""
        bare = Draft(self.wallet.spends(coins), (TxOutput(0, bytes.fromhex(script)),))
        draft, cap = await self._bear(task, bare, beaten)
        known = await self.wallet.parents(coins) if parents is None else parents
        return _Plan(draft, cap, self.wallet.facts(coins, known))

    async def _bear(self, task: Task, bare: Draft, beaten: Replaced | None) -> tuple[Draft, int]:
        """Let the only output of ``bare`` take what the fee leaves; return it with its cap."""
        vsize = bare.vsize
        if beaten is None:
            cap = FeeTerms.of(task.action).max_sat_vb * vsize
            fee = fee_at(await self.fees.rate_sat_kvb(FeeTerms.of(task.action)), vsize)
        else:
            price = await self.fees.beating(FeeTerms.of(task.action), beaten, vsize)
            fee, cap = price.fee_sat, price.cap_sat
        output = bare.outputs[0]
        left = sum(spend.value_sat for spend in bare.spends) - fee
        if left < dust_sat(output.script):
            raise Rejected(
                f"a fee of {fee} satoshi would leave {left}, which is dust; nothing was sent. "
                "Wait for lower fees.",
                code="policy",
            )
        return replace(bare, outputs=(replace(output, value_sat=left),)), cap

    # ------------------------------------------------------------ signatures

    async def _signed(
        self, task: Task, purpose: Purpose, plan: _Plan, beaten: Replaced | None
    ) -> Prepared:
        draft = plan.draft
        if not 0 < draft.fee_sat <= plan.cap_sat:
            raise Rejected(
                f"a fee of {draft.fee_sat} satoshi was built, the cap is {plan.cap_sat}; nothing "
                "was signed and nothing was sent. This is no condition of a chain: this program "
                "is wrong; stop it and report it.",
                code="mismatch",
            )
        # No signer, a keystore's key included, is asked for anything that the plan does not say.
        require_planned(
            task, purpose, draft.unsigned(), draft.spends,
            network=self.network, genesis=self.genesis,
            recorded_cap_sat=beaten.cap_sat if beaten is not None else 0,
        )  # fmt: skip
        raw = await draft.sign(self.wallet.signers)
        tx = parse_tx(raw)
        facts = dict(plan.facts)
        if purpose == "effect":
            facts |= {"outpoint": f"{tx.tx_id}:0", "value_sat": str(tx.outputs[0].value_sat)}
        if task.action["kind"] == "hold" and task.direction == "forward" and purpose == "effect":
            facts |= self._recipe(task, tx.tx_id)
        self.wallet.speak_for([spend.outpoint for spend in draft.spends])
        return Prepared(
            tx_id=tx.tx_id,
            raw=raw,
            claim=tuple((spend.outpoint, 0) for spend in draft.spends),
            since=self.follower.clock().height,
            fee={
                "fee_sat": str(draft.fee_sat),
                "vsize": tx.vsize,
                "rate_sat_kvb": draft.fee_sat * 1000 // tx.vsize,
                "cap_sat": str(plan.cap_sat),
            },
            facts=facts,
        )

    def _recipe(self, task: Task, tx_id: str) -> dict[str, Any]:
        """Write the refund recipe to disk; return what the journal keeps of the hold."""
        hold = hold_of(task)
        facts = {
            "witness_script": hold.witness_script().hex(),
            "locktime": hold.locktime,
            "hashlock": hold.hashlock.hex(),
        }
        recipe = facts | refund_facts(task, f"{tx_id}:0", task.action["amount"], self.network)
        recipe["payer"] = task.action["from"]
        try:
            write_recipe(self.recovery_dir, task.saga, task.step, tx_id, recipe)
        except OSError as error:
            raise Rejected(
                f"the refund recipe can not be written to {self.recovery_dir}: {error.strerror}; "
                "nothing was sent, because without it a lost journal would lose the hold",
                code="policy",
            ) from error
        return facts


def _change_sat(left_sat: int, price: Replacing, dust: int) -> int:
    """Return what of the coins' rest goes back to us; 0 where all of it is the fee.

    Raises:
        Rejected: it pays for no replacement within the cap.
    """
    if left_sat < price.least_sat:
        raise Rejected(
            f"the claimed coins leave {left_sat} satoshi for fees and {price.least_sat} are needed "
            "to replace the former attempt; nothing was sent. Burn it, or send the former bytes "
            "again.",
            code="policy",
        )
    if left_sat - price.fee_sat >= dust:
        return left_sat - price.fee_sat
    if left_sat <= price.cap_sat:
        return 0
    if left_sat - dust >= price.least_sat:
        return dust
    raise Rejected(
        f"replacing the former attempt costs {price.least_sat} satoshi and would leave "
        f"{left_sat - price.least_sat} of change, which is dust; all {left_sat} are beyond the cap "
        f"of {price.cap_sat}; nothing was sent. Wait, burn, or allow another cap.",
        code="policy",
    )


def _value(outputs: Sequence[TxOutput]) -> int:
    return sum(output.value_sat for output in outputs)


def _no_fee(inputs: int, change: bool) -> int:  # noqa: FBT001 - as `select` asks
    del inputs, change
    return 0


def _same_claim(former: Sequence[Attempt]) -> Sequence[Attempt]:
    """Keep the attempts of the newest claim; earlier generations spent other coins."""
    return [attempt for attempt in former if attempt.claim == former[-1].claim]


def _coins_of(attempt: Attempt) -> tuple[Coin, ...]:
    return tuple(
        Coin(outpoint, int(value_sat), address, 0)
        for outpoint, value_sat, address in attempt.facts["inputs"]
    )
