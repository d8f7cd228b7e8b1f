"""Steps of plans on an EVM chain: what is fixed when a plan is made, and the words for mistakes."""

import asyncio
from typing import Any

import pytest

from adapters.base import Move
from adapters.errors import Rejected
from proofs import canonical
from tests.contracts.slots import WEIGHT, word
from tests.e2e.evm_scene import ALZ, Deployment, EvmScene, evm_scene

_ALZ = {"asset": "ALZ", "value": "100"}
_OUTSIDER = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"
_ARGS = ["@saga.id32", 7]
_CALL = {"contract": "Registry", "function": "set(bytes32,uint256)", "args": _ARGS}
_EFFECT = {"event": "Set(bytes32,uint256)", "where": {"0": "@saga.id32"}}
_HOLD = {"vault": "Vault", "amount": _ALZ, "payee": _OUTSIDER, "refund_after_s": 7200}


def resolving(deployment: Deployment, action: str, params: dict[str, Any], **more: Any) -> Any:
    async def whole() -> Any:
        async with evm_scene(deployment, follow=False) as scene:
            return await scene.resolve(action, params, **more)

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("action", "params", "more"),
    [
        ("transfer", {"amount": _ALZ, "to": "second"}, {}),
        ("pay", {"amount": {"asset": "POL", "value": "0.1"}, "to": _OUTSIDER}, {}),
        ("approve", {"amount": _ALZ, "spender": "Vault"}, {}),
        ("call", _CALL, {"effect": _EFFECT, "undo": {"function": "clear(bytes32)",
                                                     "args": ["@saga.id32"]}}),
        ("lock", {"vault": "Vault", "amount": _ALZ}, {}),
        ("hold", _HOLD, {}),
        ("mint", {"token": "Alz", "to": _OUTSIDER, "amount": _ALZ}, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_resolved_step_is_canonical_json_with_costs_and_payers(
    deployment: Deployment, action: str, params: dict[str, Any], more: dict[str, Any]
) -> None:
    resolved = resolving(deployment, action, params, **more)
    canonical.encode(dict(resolved.action))
    sent = {"forward", "burn"} | ({"undo"} if resolved.undo else set())
    if resolved.confirm and resolved.deliver is None:
        sent.add("confirm")
    assert resolved.fees.keys() == resolved.payers.keys() == sent
    assert all(fee > 0 for fee in resolved.fees.values())
    caps = resolved.action["caps"]
    assert int(caps["forward"]["max_fee"]) * 11 <= int(caps["full"]["max_fee"]) * 10
    assert resolved.text
    assert bool(resolved.undo_text) == resolved.undo
    assert sum(amount for _, asset, amount in resolved.reserve if asset == "ALZ") == sum(
        move.amount for move in resolved.moves if move.asset == "ALZ" and move.source != "issued"
    )


def test_a_lock_is_fixed_with_its_group_its_code_and_a_steady_gas_limit(
    deployment: Deployment,
) -> None:
    resolved = resolving(deployment, "lock", {"vault": "Vault", "amount": _ALZ, "from": "second"})
    treasury, second = deployment.chain.accounts[1:3]
    action = resolved.action
    assert (action["account"], action["group"]) == (second, treasury)
    vault = deployment.contracts["Vault"].address
    assert action["code"][vault] == deployment.entries["Vault"]["code_hash"]
    assert resolved.moves == (Move("ALZ", 100 * ALZ, second, "escrow"),)
    assert (resolved.kill, resolved.unique_by) == (("burn", "tombstone"), "operation")
    # The second signer gave the vault no allowance, so today's estimate fails; the limit is the
    # same where it does not, so that a plan resolves to the same digest on both days.
    treasurys = resolving(deployment, "lock", {"vault": "Vault", "amount": _ALZ})
    assert action["gas"] == treasurys.action["gas"]


def test_a_plan_may_fix_the_gas_itself(deployment: Deployment) -> None:
    resolved = resolving(deployment, "call", {**_CALL, "gas": 123_456}, effect=_EFFECT)
    assert resolved.action["gas"]["forward"] == 123_456


def test_a_call_that_needs_more_than_our_limit_gets_more(deployment: Deployment) -> None:
    snapshot = deployment.node.rpc("evm_snapshot")
    registry = deployment.contracts["Registry"].address
    deployment.node.rpc("anvil_setStorageAt", registry, hex(WEIGHT), word(5_000))
    try:
        resolved = resolving(deployment, "call", _CALL, effect=_EFFECT)
    finally:
        deployment.node.rpc("evm_revert", snapshot)
    plain = resolving(deployment, "call", _CALL, effect=_EFFECT)
    assert resolved.action["gas"]["forward"] > plain.action["gas"]["forward"]


def test_an_allowance_locks_itself(deployment: Deployment) -> None:
    resolved = resolving(deployment, "approve", {"amount": _ALZ, "spender": _OUTSIDER})
    alz, treasury = deployment.contracts["Alz"].address, deployment.chain.accounts[1]
    assert resolved.locks == (f"polygon:allowance:{alz}:{treasury}:{_OUTSIDER}",)


def test_a_step_that_fails_today_is_told_by_its_simulation(deployment: Deployment) -> None:
    async def whole() -> None:
        async with evm_scene(deployment, follow=False) as scene:
            params = {"vault": "Vault", "amount": _ALZ, "from": "second"}
            resolved = await scene.resolve("lock", params)
            with pytest.raises(Rejected, match="insufficient allowance"):
                await scene.adapter.simulate(resolved)
            await _too_much(scene)

    asyncio.run(whole())


async def _too_much(scene: EvmScene) -> None:
    rich = {"amount": {"asset": "POL", "value": "20000"}, "to": "second"}
    with pytest.raises(Rejected, match="lacks") as refused:
        await scene.adapter.simulate(await scene.resolve("transfer", rich))
    assert refused.value.code == "unfunded"


_WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("teleport", {}, "unknown on an EVM chain"),
    ("transfer", {"amount": _ALZ, "to": "nobody"}, "names no signer"),
    ("transfer", {"amount": _ALZ, "to": "treasury"}, "to itself"),
    ("transfer", {"amount": _ALZ, "to": "second", "from": "x"}, "names no signer"),
    ("transfer", {"amount": _ALZ, "to": "second", "form": "x"}, "did you mean 'from'"),
    ("transfer", {"to": "second"}, "'amount' is missing"),
    ("transfer", {"amount": "100", "to": "second"}, "must be an amount"),
    ("transfer", {"amount": {"asset": "BTC", "value": "1"}, "to": "second"}, "names no asset"),
    ("transfer", {"amount": {"asset": "ALZ", "value": "0"}, "to": "second"}, "is zero"),
    ("transfer", {"amount": {"asset": "ALZ", "value": "-1"}, "to": "second"}, "a plain decimal"),
    ("transfer", {"amount": {"asset": "ALZ", "value": "1e9"}, "to": "second"}, "decimal"),
    ("transfer", {"amount": {"asset": "QT", "value": "0.0000001"}, "to": "second"}, "7 decimals"),
    ("pay", {"amount": _ALZ, "to": _OUTSIDER.lower()}, f"its form is {_OUTSIDER}"),
    ("pay", {"amount": _ALZ, "to": _OUTSIDER[:-1] + "6"}, "wrong checksum"),
    ("pay", {"amount": _ALZ, "to": f"0x{'0' * 40}"}, "zero address"),
    ("pay", {"amount": _ALZ, "to": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"}, "no address"),
    ("pay", {"amount": _ALZ, "to": 5}, "must be a text"),
    ("approve", {"amount": {"asset": "POL", "value": "1"}, "spender": _OUTSIDER}, "no allowances"),
    ("lock", {"vault": "Nowhere", "amount": _ALZ}, "names no contract"),
    ("lock", {"vault": "Alz", "amount": _ALZ}, 'artifact = "Vault"'),
    ("hold", {**_HOLD, "refund_after_s": 3600}, "not beyond the plan's deadline_s"),
    ("hold", {**_HOLD, "refund_after_s": 0}, "from 1 to"),
    ("hold", {**_HOLD, "deliver": "mail"}, "calldata, file, secret"),
    ("mint", {"token": "Alz", "to": "third", "amount": {"asset": "QT", "value": "1"}},
     "QT on polygon is the contract"),
    ("call", _CALL, "alone proves nothing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "params", "words"), _WRONG, ids=[f"{at}-{w[0]}" for at, w in enumerate(_WRONG)]
)
def test_a_mistake_in_a_step_is_told_in_words(
    deployment: Deployment, action: str, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(Rejected) as refused:
        resolving(deployment, action, params)
    assert words in str(refused.value)


_WRONG_CALLS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"function": "sett(bytes32)"}, {}, "has no function"),
    ({"function": "set(bytes32)"}, {}, "it has set(bytes32,uint256)"),
    ({"function": "values(bytes32)"}, {}, "only reads"),
    ({"args": [1]}, {}, "list of 2 values"),
    ({"args": ["@saga.id32", -1]}, {}, "args[1]"),
    ({"args": ["0x12", 1]}, {}, "args[0]"),
    ({"value": {"asset": "POL", "value": "1"}}, {}, "takes none"),
    ({"value": _ALZ}, {}, "own coin"),
    ({}, {"effect": {"event": "Sett(bytes32)"}}, "no event"),
    ({}, {"effect": {**_EFFECT, "where": {"5": 1}}}, "unknown key '5'"),
    ({}, {"effect": {**_EFFECT, "where": {"1": "x"}}}, "where.1"),
    ({}, {"undo": {"function": "clear(bytes32)", "args": []}}, "list of 1 values"),
    (
        {},
        {"undo": {"function": "clear(bytes32)", "args": ["@saga.id32"], "arg": 1}},
        "unknown key 'arg'",
    ),
]


@pytest.mark.parametrize(
    ("params", "more", "words"), _WRONG_CALLS, ids=[str(at) for at in range(len(_WRONG_CALLS))]
)
def test_a_mistake_in_a_call_is_told_in_words(
    deployment: Deployment, params: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(Rejected) as refused:
        resolving(deployment, "call", {**_CALL, **params}, **{"effect": _EFFECT, **more})
    assert words in str(refused.value)


def test_an_effect_belongs_to_calls_only(deployment: Deployment) -> None:
    with pytest.raises(Rejected, match="brings its own effect"):
        resolving(deployment, "transfer", {"amount": _ALZ, "to": "second"}, effect=_EFFECT)


def test_the_terms_of_a_chain_are_canonical_json(deployment: Deployment) -> None:
    async def whole() -> None:
        async with evm_scene(deployment, follow=False) as scene:
            terms = scene.adapter.terms()
            canonical.encode(dict(terms))
            assert terms["chain_id"] == 31337
            assert terms["genesis"] == scene.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
            assert terms["native"] == "POL"

    asyncio.run(whole())
