"""What a ``[chain.NAME]`` table of kind bitcoin may say, and what a plan's step may."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from adapters.assets import AssetFacts
from adapters.base import StepSpec
from adapters.bitcoin.actions import ActionResolver
from adapters.bitcoin.address import own_address
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.settings import BitcoinSettings, CookieFile
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.errors import Rejected
from adapters.tables import Table, TableError

GOOD: dict[str, Any] = {
    "kind": "bitcoin",
    "network": "regtest",
    "rpc": ["http://127.0.0.1:18443"],
    "auth": "cookie:/srv/bitcoin/.cookie",
    "finality": {"confirmations": 2},
    "block_time_ms": {"fast": 1000, "slow": 5000},
    "signer": "treasury",
    "fee": {"max_sat_vb": 50},
}


def read(**changes: Any) -> BitcoinSettings:
    data = {key: value for key, value in (GOOD | changes).items() if value is not None}
    environ = {"BTC_AUTH": "user:secret", "BAD_AUTH": "nothing"}
    return BitcoinSettings.read(Table("chain.bitcoin", data, environ=environ))


def test_a_good_table_is_read_with_its_defaults() -> None:
    settings = read()
    assert settings.network.name == "regtest"
    assert settings.genesis == NETWORKS["regtest"].genesis
    assert settings.auth == CookieFile(Path("/srv/bitcoin/.cookie"))
    assert settings.fee.fallback_sat_vb == 2
    assert settings.quorum == 1
    assert settings.proof == "wanted"
    assert [read(proof=word).proof for word in ("required", "none")] == ["required", "none"]
    assert read(auth="env:BTC_AUTH").auth == "user:secret"
    assert read(auth=None, rpc=["http://u:p@127.0.0.1:1"]).auth is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "testnet4"}, "must be one of mainnet, testnet3, signet, regtest"),
        ({"network": "mainnet"}, 'write mainnet = "enabled"'),
        ({"network": "mainnet", "mainnet": "enabled"}, "single_node = true"),
        ({"network": "signet"}, "single_node = true"),
        ({"mainnet": "yes"}, 'must be "enabled" or left out'),
        ({"rpc": []}, "at least one node"),
        ({"rpc": ["ftp://x"]}, "no http:// or https:// address"),
        ({"rpc": ["http://a:1", "http://a:1"]}, "count it twice"),
        ({"auth": None}, "is missing"),
        ({"auth": "user:secret"}, "never the password"),
        ({"auth": "env:BAD_AUTH"}, "not of the form user:password"),
        ({"auth": "env:UNSET"}, "UNSET, which is not set"),
        ({"finality": {"tag": "finalized"}}, "does not exist on Bitcoin"),
        ({"finality": {"confirmations": 0}}, "from 1 to 1000"),
        ({"finalty": {}}, "did you mean 'finality'"),
        ({"block_time_ms": {"fast": 9, "slow": 1}}, "more than 'slow'"),
        ({"fee": {"max_sat_vb": 5, "fallback_sat_vb": 6}}, "between 'min_sat_vb'"),
        ({"fee": {"max_sat_vb": 1.5}}, "must be an integer"),
        ({"fee": {}}, "'max_sat_vb' is missing"),
        ({"coins": {"max_inputs": 51}}, "from 1 to 50"),
        ({"genesis": "0x12"}, "does not have the form"),
        ({"proof": "maybe"}, "must be one of required, wanted, none"),
        ({"proof": True}, "must be a text"),
    ],
)
def test_a_wrong_table_is_refused_with_what_would_be_right(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TableError) as error:
        read(**changes)
    assert message in str(error.value)
    assert "secret" not in str(error.value)


# ------------------------------------------------------------ actions


SIGNERS = {
    name: LocalBitcoinSigner(hashlib.sha256(name.encode()).digest())
    for name in ("treasury", "cold")
}
TREASURY = own_address(SIGNERS["treasury"].public_key, NETWORKS["regtest"])
NOBODY = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
PAYEE = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
ASSET = AssetFacts("BTC", 8, None, native=True)


def amount(value: str = "0.5", asset: str = "BTC") -> dict[str, str]:
    return {"asset": asset, "value": value}


def resolve(action: str, *, after_pivot: bool = False, **params: Any) -> Any:
    spec = StepSpec("s", "bitcoin", action, params, after_pivot=after_pivot)
    return ActionResolver(read(), SIGNERS, ASSET).resolve(spec)


def hold(**changes: Any) -> dict[str, Any]:
    return {"amount": amount(), "payee": PAYEE, "refund_after_blocks": 10} | changes


@pytest.mark.parametrize(
    ("action", "params", "message"),
    [
        ("mint", {}, "Bitcoin has no action 'mint'"),
        ("transfer", {"amount": amount(), "to": NOBODY}, "must name a Bitcoin signer of ours"),
        ("transfer", {"amount": amount(), "to": "treasury"}, "the wallet that pays"),
        ("transfer", {"amount": amount(), "to": "cold", "from": "x"}, "must name a Bitcoin signer"),
        ("transfer", {"amount": amount(), "to": "cold", "tp": 1}, "unknown key 'tp'"),
        ("transfer", {"to": "cold"}, "'amount' is missing"),
        ("transfer", {"amount": amount("0.00005"), "to": "cold"}, "what an undo returns"),
        ("transfer", {"amount": amount("-1"), "to": "cold"}, "not a plain decimal amount"),
        ("transfer", {"amount": amount("1e-3"), "to": "cold"}, "not a plain decimal amount"),
        ("transfer", {"amount": amount("0.000000001"), "to": "cold"}, "has 9 decimals"),
        ("transfer", {"amount": amount("21000001"), "to": "cold"}, "at most 21 million"),
        ("transfer", {"amount": amount(asset="ALZ"), "to": "cold"}, "must be BTC"),
        ("pay", {"amount": amount("0.00000293"), "to": NOBODY}, "below the 294"),
        ("pay", {"amount": amount(), "to": TREASURY}, "is an address of our own"),
        ("pay", {"amount": amount(), "to": "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"}, "mainnet"),
        ("hold", hold(payee="04" + "00" * 32), "does not have the form"),
        ("hold", hold(payee="02" + "ff" * 32), "no point of secp256k1"),
        ("hold", hold(refund_after_blocks=0), "from 1 to"),
        ("hold", hold(deliver="calldata"), "must be one of secret, file"),
        ("hold", hold(amount=amount("0.00006")), "what a refund returns"),
        ("split", {"amount": amount(), "count": 1}, "from 2 to 100"),
        ("consolidate", {"amount": amount()}, "unknown key 'amount'"),
    ],
)
def test_a_step_that_can_not_run_is_refused_with_the_reason(
    action: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(Rejected) as error:
        resolve(action, **params)
    assert message in str(error.value)


@pytest.mark.parametrize("action", ["hold", "split", "consolidate"])
def test_what_can_fail_for_good_can_not_stand_after_the_pivot(action: str) -> None:
    with pytest.raises(Rejected, match="can not stand after the pivot"):
        resolve(action, after_pivot=True)


def test_a_transfer_is_undoable_a_payment_a_pivot_and_a_hold_waits() -> None:
    transfer = resolve("transfer", amount=amount(), to="cold")
    pay = resolve("pay", amount=amount(), to=NOBODY)
    held = resolve("hold", **hold())
    assert (transfer.effect_class, transfer.undo, transfer.unique_by) == (
        "undoable", True, "parent",
    )  # fmt: skip
    assert (pay.effect_class, pay.undo, pay.unique_by) == ("pivot", False, "claim")
    assert (held.effect_class, held.confirm, held.undo, held.reveals) == ("hold", True, True, True)
    assert held.expiry == {"blocks": 10}
    for resolved in (transfer, pay, held):
        assert resolved.kill == ("burn",)
        ((account, asset, reserved),) = resolved.reserve
        assert (account, asset) == (TREASURY, "BTC")
        assert reserved == 50_000_000 + resolved.fees["burn"]


def test_a_forward_cap_is_the_burn_cap_minus_the_incremental_relay_fee() -> None:
    resolved = resolve("pay", amount=amount(), to=NOBODY)
    burn_vsize = 10 + 68 * 5 + 32
    assert 0 < resolved.fees["burn"] - resolved.fees["forward"] <= burn_vsize


def test_after_the_pivot_a_transfer_and_a_payment_are_retriable() -> None:
    for resolved in (
        resolve("transfer", amount=amount(), to="cold", after_pivot=True),
        resolve("pay", amount=amount(), to=NOBODY, after_pivot=True),
    ):
        assert (resolved.effect_class, resolved.confirm, resolved.undo) == (
            "retriable", True, False,
        )  # fmt: skip
        assert "confirm" in resolved.fees


def test_the_same_step_resolves_to_the_same_action() -> None:
    first, second = (resolve("hold", **hold()) for _ in range(2))
    assert first == second
