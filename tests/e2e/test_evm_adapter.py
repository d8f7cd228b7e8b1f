"""The EVM adapter on a real node: every action in every direction, and everything that can happen.

Each test plays the part of a saga by hand: preflight, prepare, send, observe.
"""

from typing import Any

import pytest
from msgspec.structs import replace

from adapters.base import Attempt, Resolved, Task
from adapters.errors import Rejected, Transient
from adapters.evm.fees import Price
from tests.contracts.slots import WEIGHT, word
from tests.e2e.evm_scene import ALZ, COIN_UNIT, PREIMAGE, Deployment, EvmScene, play

_LOCK = {"vault": "Vault", "amount": {"asset": "ALZ", "value": "100"}}
_MINT = {"token": "Alz", "to": "third", "amount": {"asset": "ALZ", "value": "100"}}
_SET = {
    "contract": "Registry",
    "function": "set(bytes32,uint256)",
    "args": ["@saga.id32", {"asset": "ALZ", "value": "7"}],
}
_SET_EFFECT = {
    "event": "Set(bytes32,uint256)",
    "where": {"0": "@saga.id32", "1": {"asset": "ALZ", "value": "7"}},
}
_CLEAR = {"function": "clear(bytes32)", "args": ["@saga.id32"]}
_CLEAR_EFFECT = {"event": "Clear(bytes32)", "where": {"0": "@saga.id32"}}


def hold_mining(scene: EvmScene) -> None:
    scene.rpc("evm_setAutomine", False)


async def hold(scene: EvmScene, deliver: str = "secret") -> Resolved:
    return await scene.resolve(
        "hold",
        {
            "vault": "Vault",
            "amount": {"asset": "ALZ", "value": "5"},
            "payee": scene.account("payee"),
            "refund_after_s": 7200,
            "deliver": deliver,
        },
    )


# ---------------------------------------------------------------- every action, out and back


@pytest.mark.parametrize(
    ("asset", "holdings"),
    [("ALZ", "Alz"), ("QT", "Quiet")],
    ids=["a token", "a token that returns nothing"],
)
def test_a_token_transfer_arrives_and_comes_back(
    stage: Deployment, asset: str, holdings: str
) -> None:
    async def body(scene: EvmScene) -> None:
        treasury, second = scene.account("treasury"), scene.account("second")
        before = scene.tokens(treasury, holdings)
        resolved = await scene.resolve(
            "transfer", {"amount": {"asset": asset, "value": "3"}, "to": "second"}
        )
        assert await scene.adapter.simulate(resolved) is None
        found, _ = await scene.perform(scene.task(resolved))
        moved = resolved.moves[0].amount
        assert scene.tokens(second, holdings) == moved
        assert scene.tokens(treasury, holdings) == before - moved
        await scene.perform(scene.task(resolved, "undo", forward=found.facts))
        assert scene.tokens(second, holdings) == 0
        assert scene.tokens(treasury, holdings) == before

    play(stage, body)


def test_a_transfer_of_coins_arrives_and_comes_back_for_the_fees_it_says(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        treasury, second = scene.account("treasury"), scene.account("second")
        before = scene.coins(treasury), scene.coins(second)
        resolved = await scene.resolve(
            "transfer", {"amount": {"asset": "POL", "value": "1.5"}, "to": "second"}
        )
        found, _ = await scene.perform(scene.task(resolved))
        undone, _ = await scene.perform(scene.task(resolved, "undo", forward=found.facts))
        after = scene.coins(treasury), scene.coins(second)
        # Who sends an undo pays for it: the account that has the coins.
        assert before[0] - after[0] == int(found.facts["fee"]) > 0
        assert before[1] - after[1] == int(undone.facts["fee"]) > 0
        assert resolved.payers["undo"] == second

    play(stage, body)


def test_a_payment_to_an_outsider_is_a_pivot_without_an_undo(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        payee = scene.account("payee")
        resolved = await scene.resolve(
            "pay", {"amount": {"asset": "ALZ", "value": "1"}, "to": payee}
        )
        assert (resolved.effect_class, resolved.undo) == ("pivot", False)
        await scene.perform(scene.task(resolved))
        assert scene.tokens(payee) == ALZ

    play(stage, body)


def test_an_allowance_is_given_and_the_former_one_restored(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        alz, treasury = scene.contracts["Alz"], scene.account("treasury")
        payee = scene.account("payee")
        scene.chain.send(alz.functions.approve(payee, 77), scene.chain.accounts[1])
        resolved = await scene.resolve(
            "approve", {"amount": {"asset": "ALZ", "value": "9"}, "spender": payee}
        )
        assert "may take" in resolved.warnings[0]
        _, attempt = await scene.perform(scene.task(resolved))
        assert alz.functions.allowance(treasury, payee).call() == 9 * ALZ
        await scene.perform(scene.task(resolved, "undo", forward=attempt.facts))
        assert alz.functions.allowance(treasury, payee).call() == 77

    play(stage, body)


@pytest.mark.parametrize("undo_effect", [None, _CLEAR_EFFECT], ids=["by its status", "by an event"])
def test_a_call_of_any_contract_takes_effect_and_is_undone(
    stage: Deployment, undo_effect: dict[str, Any] | None
) -> None:
    async def body(scene: EvmScene) -> None:
        undo = {**_CLEAR, "effect": undo_effect} if undo_effect else _CLEAR
        resolved = await scene.resolve("call", _SET, effect=_SET_EFFECT, undo=undo)
        assert bool(resolved.warnings) == (undo_effect is None)
        task = scene.task(resolved)
        found, _ = await scene.perform(task)
        values = scene.contracts["Registry"].functions.values(bytes.fromhex(task.saga_id32))
        assert values.call() == 7 * ALZ
        await scene.perform(scene.task(resolved, "undo", forward=found.facts))
        assert values.call() == 0

    play(stage, body)


@pytest.mark.parametrize("asset", ["ALZ", "POL", "QT"])
@pytest.mark.parametrize("end", ["confirm", "undo"])
def test_a_lock_is_released_or_refunded(stage: Deployment, asset: str, end: str) -> None:
    async def body(scene: EvmScene) -> None:
        payee = scene.account("payee")
        params = {"vault": "Vault", "amount": {"asset": asset, "value": "2"}, "to": payee}
        resolved = await scene.resolve("lock", params)
        vault = scene.contracts["Vault"].address
        held = resolved.moves[0].amount

        async def balances() -> tuple[int, int]:
            of = scene.adapter.balance
            return await of(vault, asset), await of(payee, asset)

        start = await balances()
        found, _ = await scene.perform(scene.task(resolved))
        assert await balances() == (held, start[1])
        await scene.perform(scene.task(resolved, end, forward=found.facts))  # type: ignore[arg-type]
        assert await balances() == (0, start[1] + (held if end == "confirm" else 0))

    play(stage, body)


def test_a_hold_is_redeemed_by_us_where_the_plan_delivers_by_calldata(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await hold(scene, "calldata")
        assert resolved.expiry == {"seconds": 7200}
        found, _ = await scene.perform(scene.task(resolved))
        await scene.perform(scene.task(resolved, "confirm", forward=found.facts))
        assert scene.tokens(scene.account("payee")) == 5 * ALZ

    play(stage, body)


def test_a_hold_that_its_payee_redeemed_is_found_and_costs_us_nothing(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await hold(scene)
        assert "confirm" not in resolved.fees
        task = scene.task(resolved)
        await scene.perform(task)
        confirm = replace(task, direction="confirm", preimage=PREIMAGE.hex())
        scene.adapter.keys(confirm, [])
        redeem = scene.contracts["Vault"].functions.redeem(
            task.action["group"], bytes.fromhex(task.op_id), PREIMAGE
        )
        scene.chain.send(redeem, scene.chain.accounts[5])
        found = await scene.found(confirm, [])
        assert found.facts["fee"] == "0"
        undo = replace(task, direction="undo")
        assert (await scene.consumed(undo, [])).reason == "redeemed"

    play(stage, body)


def test_a_hold_is_refunded_after_its_expiry_and_not_before(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await hold(scene)
        task = scene.task(resolved)
        found, _ = await scene.perform(task)
        undo = replace(task, direction="undo", forward=found.facts)
        prepared, attempt = await scene.attempt(undo)
        await scene.send(prepared)
        early = await scene.consumed(undo, [attempt])
        assert (early.reason, early.facts["detail"]) == ("reverted", "too early")
        assert task.expiry is not None
        scene.chain.mine_at(task.expiry["time"])
        await scene.perform(replace(undo, generation=2))
        assert scene.tokens(scene.contracts["Vault"].address) == 0

    play(stage, body)


@pytest.mark.parametrize(("end", "credited"), [("confirm", 100 * ALZ), ("undo", 0)])
def test_a_mint_is_credited_or_taken_back(stage: Deployment, end: str, credited: int) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("mint", _MINT)
        found, _ = await scene.perform(scene.task(resolved))
        assert scene.tokens(scene.account("third")) == 0
        await scene.perform(scene.task(resolved, end, forward=found.facts))  # type: ignore[arg-type]
        assert scene.tokens(scene.account("third")) == credited
        assert scene.contracts["Alz"].functions.pending_supply().call() == 0

    play(stage, body)


def test_after_the_pivot_a_transfer_is_made_by_its_confirm(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        params = {"amount": {"asset": "ALZ", "value": "3"}, "to": "second"}
        resolved = await scene.resolve("transfer", params, after_pivot=True)
        assert (resolved.effect_class, resolved.confirm, resolved.undo) == (
            "retriable",
            True,
            False,
        )
        assert await scene.adapter.simulate(resolved) is None
        await scene.perform(scene.task(resolved, "confirm"))
        assert scene.tokens(scene.account("second")) == 3 * ALZ
        with pytest.raises(Rejected, match="can not stand after the pivot"):
            await scene.resolve("lock", _LOCK, after_pivot=True)

    play(stage, body)


# ---------------------------------------------------------------- what the chain refuses


def test_a_paused_token_is_refused_by_the_preflight_and_shown_by_the_chain(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("mint", _MINT)
        task = scene.task(resolved)
        prepared, attempt = await scene.attempt(task)
        scene.chain.send(scene.contracts["Alz"].functions.pause(), scene.chain.accounts[0])
        with pytest.raises(Rejected, match=r"^paused$") as refused:
            await scene.adapter.preflight(task)
        assert refused.value.code == "refused"
        await scene.send(prepared)
        consumed = await scene.consumed(task, [attempt])
        assert (consumed.reason, consumed.facts["detail"]) == ("reverted", "paused")
        assert int(consumed.facts["fee"]) > 0
        assert not consumed.claim_open

    play(stage, body)


def test_a_gas_limit_that_became_too_low_is_caught_before_and_shown_after(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("call", _SET, effect=_SET_EFFECT, undo=_CLEAR)
        task = scene.task(resolved)
        prepared, attempt = await scene.attempt(task)
        registry = scene.contracts["Registry"].address
        scene.rpc("anvil_setStorageAt", registry, hex(WEIGHT), word(5_000))
        with pytest.raises(Rejected, match=r"(?i)out ?of ?gas"):
            await scene.adapter.preflight(task)
        await scene.send(prepared)
        consumed = await scene.consumed(task, [attempt])
        assert consumed.reason == "reverted"
        assert consumed.facts["detail"].startswith("out of gas")

    play(stage, body)


def test_an_account_without_money_is_named_with_what_it_lacks(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        treasury = scene.account("treasury")
        resolved = await scene.resolve("mint", _MINT)
        task = scene.task(resolved)
        prepared, _ = await scene.attempt(task)
        scene.rpc("anvil_setBalance", treasury, hex(1000))
        gas, cap = task.action["gas"]["forward"], int(task.action["caps"]["forward"]["max_fee"])
        with pytest.raises(Rejected) as refused:
            await scene.adapter.preflight(task)
        assert refused.value.code == "unfunded"
        assert refused.value.fund == (treasury, "POL", gas * cap - 1000)
        with pytest.raises(Rejected) as refused:
            await scene.attempt(task)
        assert refused.value.code == "unfunded"
        said = await scene.send(prepared)
        missing = int(prepared.fee["cost"]) - 1000
        assert (said.accepted, said.fund) == (False, (treasury, "POL", missing))
        scene.rpc("anvil_setBalance", treasury, hex(missing + 1000))
        assert (await scene.send(prepared)).accepted

    play(stage, body)


def test_success_without_the_declared_effect_is_no_effect(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        effect = {"event": "Set(bytes32,uint256)", "where": {"1": 8}}
        resolved = await scene.resolve("call", _SET, effect=effect)
        task = scene.task(resolved)
        prepared, attempt = await scene.attempt(task)
        await scene.send(prepared)
        consumed = await scene.consumed(task, [attempt])
        assert consumed.reason == "no_effect"

    play(stage, body)


def test_a_replay_that_succeeds_without_an_event_proves_nothing_new(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("lock", _LOCK)
        task = scene.task(resolved)
        found, first = await scene.perform(task)
        with pytest.raises(Rejected, match="is open on the chain already"):
            await scene.adapter.preflight(task)
        prepared, second = await scene.attempt(task)
        await scene.send(prepared)
        replayed = replace(task, generation=1)
        again = await scene.found(replayed, [first, second])
        assert (again.tx_id, again.block_hash) == (found.tx_id, found.block_hash)

    play(stage, body)


def test_changed_code_is_refused(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("mint", _MINT)
        scene.rpc("anvil_setCode", scene.contracts["Alz"].address, "0x00")
        with pytest.raises(Rejected, match="has changed"):
            await scene.adapter.preflight(scene.task(resolved))
        with pytest.raises(Rejected, match=r"chains\.toml pins"):
            await scene.resolve("mint", _MINT)

    play(stage, body)


# ---------------------------------------------------------------- claims: burn, foreign, tombstone


async def stuck_lock(scene: EvmScene) -> tuple[Task, Attempt, bytes]:
    """A lock that waits in the pool."""
    resolved = await scene.resolve("lock", _LOCK)
    task = scene.task(resolved)
    hold_mining(scene)
    prepared, attempt = await scene.attempt(task)
    assert (await scene.send(prepared)).accepted
    return task, attempt, prepared.raw


def test_a_burn_takes_the_place_of_an_attempt(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, raw = await stuck_lock(scene)
        burn, burnt = await scene.attempt(task, "burn", [attempt])
        assert burn.claim == attempt.claim
        assert (await scene.send(burn)).accepted
        scene.node.mine()
        consumed = await scene.consumed(task, [attempt, burnt])
        assert (consumed.reason, consumed.tx_id) == ("burnt", burn.tx_id)
        said = await scene.adapter.submit(attempt.tx_id, raw)
        assert (said.accepted, said.fund) == (False, None)

    play(stage, body)


def test_a_burn_that_comes_too_late_changes_nothing(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, _ = await stuck_lock(scene)
        burn, burnt = await scene.attempt(task, "burn", [attempt])
        scene.node.mine()
        await scene.send(burn)
        scene.node.mine()
        found = await scene.found(task, [attempt, burnt])
        assert found.tx_id == attempt.tx_id

    play(stage, body)


def test_a_nonce_that_went_to_a_foreign_transaction_is_told(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("lock", _LOCK)
        task = scene.task(resolved)
        _, attempt = await scene.attempt(task)
        scene.chain.send(
            scene.contracts["Alz"].functions.approve(scene.account("third"), 1),
            scene.chain.accounts[1],
        )
        scene.adapter.nudge()
        consumed = await scene.consumed(task, [attempt])
        assert consumed.reason == "foreign"
        assert consumed.tx_id != attempt.tx_id

    play(stage, body)


def test_a_foreign_transaction_that_carries_the_effect_counts(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        params = {"amount": {"asset": "ALZ", "value": "3"}, "to": "second"}
        resolved = await scene.resolve("transfer", params)
        task = scene.task(resolved)
        _, attempt = await scene.attempt(task)
        transfer = scene.contracts["Alz"].functions.transfer(scene.account("second"), 3 * ALZ)
        receipt = scene.chain.send(transfer, scene.chain.accounts[1])
        scene.adapter.nudge()
        found = await scene.found(task, [attempt])
        assert found.tx_id == receipt["transactionHash"].to_0x_hex() != attempt.tx_id

    play(stage, body)


def test_a_tombstone_is_sent_by_another_member_and_the_late_attempt_reverts(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        treasury, second = scene.account("treasury"), scene.account("second")
        resolved = await scene.resolve("lock", _LOCK)
        task = scene.task(resolved)
        prepared, attempt = await scene.attempt(task)
        coins = scene.coins(treasury)
        scene.rpc("anvil_setBalance", treasury, "0x0")
        with pytest.raises(Rejected) as refused:
            await scene.attempt(task, "burn", [attempt])
        assert refused.value.code == "unfunded"
        tomb, tombstone = await scene.attempt(task, "tombstone", [attempt])
        assert tomb.claim[0][0] == second
        assert (await scene.send(tomb)).accepted
        consumed = await scene.consumed(task, [attempt, tombstone])
        assert (consumed.reason, consumed.claim_open) == ("tombstone", True)
        scene.rpc("anvil_setBalance", treasury, hex(coins))
        assert (await scene.send(prepared)).accepted
        seen = await scene.until(
            task, [attempt, tombstone], lambda seen: seen.consumed and not seen.consumed.claim_open
        )
        assert seen.consumed is not None
        assert (seen.consumed.reason, seen.consumed.facts["detail"]) == ("reverted", "cancelled")

    play(stage, body)


def test_a_member_whose_tombstone_is_at_its_cap_gives_way_to_the_next(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, _ = await stuck_lock(scene)
        attempts, payers, code = [attempt], [], ""
        while not code:
            try:
                _, tombstone = await scene.attempt(task, "tombstone", attempts)
            except Rejected as refused:
                code = refused.code
                break
            attempts.append(tombstone)
            payers.append(tombstone.claim[0][0])
        # The one whose attempt is to be ended is likely in trouble and comes last.
        assert list(dict.fromkeys(payers)) == [scene.account("second"), scene.account("treasury")]
        assert code == "policy"

    play(stage, body, fee={"max_gwei": 20, "tip_gwei": 1})


def test_without_any_funded_member_a_tombstone_says_whom_to_fund(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, _ = await stuck_lock(scene)
        for name in ("treasury", "second"):
            scene.rpc("anvil_setBalance", scene.account(name), "0x0")
        with pytest.raises(Rejected) as refused:
            await scene.attempt(task, "tombstone", [attempt])
        assert refused.value.code == "unfunded"
        assert refused.value.fund is not None
        # The third signer has money but is in no group with these two.
        assert refused.value.fund[0] == scene.account("second")

    play(stage, body)


# ---------------------------------------------------------------- fees


def test_a_replacement_beats_both_fields_by_a_tenth_up_to_the_cap(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, _ = await stuck_lock(scene)
        attempts = [attempt]
        caps = Price.of(task.action["caps"]["forward"])
        code = None
        while code is None:
            try:
                prepared, newer = await scene.attempt(task, "effect", attempts)
            except Rejected as refused:
                code = refused.code
                break
            assert newer.claim == attempt.claim
            old, new = Price.of(attempts[-1].fee), Price.of(prepared.fee)
            assert new.max_fee_wei * 10 >= old.max_fee_wei * 11
            assert new.tip_wei * 10 >= old.tip_wei * 11
            assert new.max_fee_wei <= caps.max_fee_wei
            assert (await scene.send(prepared)).accepted
            attempts.append(newer)
        assert code == "policy"
        assert len(attempts) > 5
        burn, burnt = await scene.attempt(task, "burn", attempts)
        assert (await scene.send(burn)).accepted
        scene.node.mine()
        assert (await scene.consumed(task, [*attempts, burnt])).reason == "burnt"

    play(stage, body, fee={"max_gwei": 20, "tip_gwei": 1})


def test_nonces_of_attempts_that_wait_are_dense_and_bounded(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("lock", _LOCK)
        hold_mining(scene)
        nonces = []
        for _ in range(3):
            scene.serial += 1
            prepared, _ = await scene.attempt(scene.task(resolved))
            nonces.append(prepared.claim[0][1])
        assert nonces == [nonces[0], nonces[0] + 1, nonces[0] + 2]
        with pytest.raises(Transient, match="on their way"):
            await scene.attempt(scene.task(resolved))

    play(stage, body, window=3)


def test_a_delegated_account_has_one_attempt_on_its_way(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("lock", _LOCK)
        hold_mining(scene)
        code = f"0xef0100{scene.contracts['Registry'].address[2:]}"
        scene.rpc("anvil_setCode", scene.account("treasury"), code)
        await scene.attempt(scene.task(resolved))
        with pytest.raises(Transient, match="on their way"):
            await scene.attempt(scene.task(resolved))

    play(stage, body)


def test_a_hold_of_coins_moves_coins_only(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        vault = scene.contracts["Vault"].address
        resolved = await scene.resolve(
            "hold",
            {
                "vault": "Vault",
                "amount": {"asset": "POL", "value": "1"},
                "payee": scene.account("payee"),
                "refund_after_s": 7200,
            },
        )
        await scene.perform(scene.task(resolved))
        assert scene.coins(vault) == COIN_UNIT
        assert resolved.action["token"] is None

    play(stage, body)
