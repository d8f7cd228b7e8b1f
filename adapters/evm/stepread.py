"""Reads the ``with`` table of a step: names become addresses, amounts become base units."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.assets import AmountError, AssetFacts, parse_amount
from adapters.errors import Rejected
from adapters.evm.abi import Event, decode, encode, find_event, find_function, hash_of
from adapters.evm.actions import COIN
from adapters.evm.nodes import Nodes
from adapters.evm.settings import ContractSettings, EvmSettings
from adapters.evm.values import AbiError, address_problem, checksum, normal_value
from adapters.rpc import RpcError
from adapters.tables import Table

__all__ = ["StepReader"]

_DELIVER: Final = ("calldata", "file", "secret")
#: Longest hold; beyond it a time is more likely a mistake than a wish.
_HOLD_MAX_S: Final = 10 * 365 * 86400
_VARIABLE_LENGTH: Final = re.compile(r"string|bytes|.*\].*|\(.*")


class StepReader:
    """One step's parameters against what the chain's table names.

    Every method raises `Rejected` or `TableError` with what the plan's author should write.
    """

    def __init__(
        self,
        chain: str,
        settings: EvmSettings,
        nodes: Nodes,
        signers: Mapping[str, str],
        assets: Mapping[str, AssetFacts],
        table: Table,
    ) -> None:
        self._chain = chain
        self._settings = settings
        self._nodes = nodes
        self._signers = signers
        self._assets = assets
        self._table = table

    def sub(self, table: Table) -> "StepReader":
        """Return a reader of another table of the same step."""
        return StepReader(
            self._chain, self._settings, self._nodes, self._signers, self._assets, table
        )

    # ----------------------------------------------------------------------- accounts, addresses

    def account(self) -> str:
        """Return the account that acts: ``from``, else the chain's default signer."""
        return self._signer("from", self._table.text("from", self._settings.signer))

    def own_signer(self, key: str) -> str:
        """Return the account of the signer named by ``key``."""
        return self._signer(key, self._table.text(key))

    def address(self, key: str) -> str:
        """Return an address that is written out, with its checksum."""
        return self._address(key, self._table.text(key))

    def address_or_signer(self, key: str, default: str | None) -> str:
        """Return an address, written out or as the name of a signer of ours."""
        text = self._table.text(key, None) if default else self._table.text(key)
        if text is None:
            assert default is not None
            return default
        return self._signers.get(text) or self._address(key, text)

    def contract_or_address(self, key: str) -> str:
        """Return an address, written out or as the name of a configured contract."""
        text = self._table.text(key)
        if text in self._settings.contracts:
            return self._right(f"contract {text}", self._settings.contracts[text].address)
        return self._address(key, text)

    def _signer(self, key: str, name: str) -> str:
        if name not in self._signers:
            known = ", ".join(sorted(self._signers)) or "none"
            raise self._table.error(key, f"names no signer of {self._chain}; known: {known}")
        return self._signers[name]

    def _address(self, key: str, text: str) -> str:
        if problem := address_problem(text):
            raise self._table.error(key, problem)
        if text == COIN:
            raise self._table.error(key, "is the zero address; what goes there is lost")
        return text

    def _right(self, what: str, address: str) -> str:
        """Return an address of chains.toml, refused like one of a plan."""
        if problem := address_problem(address):
            raise Rejected(f"{what} in chains.toml: {address} {problem}")
        return address

    # ------------------------------------------------------------------------------------ amounts

    def amount(self, key: str, *, zero: bool = False) -> tuple[AssetFacts, int]:
        """Return an asset of this chain and an amount of it in base units."""
        return self._amount(key, self._table.raw(key), zero=zero)

    def _amount(self, key: str, raw: Any, *, zero: bool = False) -> tuple[AssetFacts, int]:
        if not isinstance(raw, Mapping) or set(raw) != {"asset", "value"}:
            raise self._table.error(key, 'must be an amount: { asset = "ALZ", value = "100" }')
        asset = self._assets.get(raw["asset"]) if isinstance(raw["asset"], str) else None
        if asset is None:
            known = ", ".join(sorted(self._assets))
            raise self._table.error(key, f"names no asset of {self._chain}; known: {known}")
        try:
            amount = parse_amount(raw["value"], asset.decimals)
        except AmountError as error:
            raise self._table.error(key, str(error)) from None
        if amount == 0 and not zero:
            raise self._table.error(key, "is zero; a step needs an effect")
        return asset, amount

    async def value(self, asset: AssetFacts, amount: int) -> dict[str, Any]:
        """Return the part of an action that says what moves; pins the code of a token."""
        token, code = None, {}
        if asset.contract is not None:
            token = self._right(f"asset {asset.name}", asset.contract)
            code[token] = f"0x{hash_of(await self._code(f'asset {asset.name}', token)).hex()}"
        return {"asset": asset.name, "token": token, "amount": str(amount), "code": code}

    async def allowance(self, token: str, owner: str, spender: str) -> int:
        """Return what ``spender`` may take now."""
        data = encode("allowance(address,address)", ("address", "address"), (owner, spender))
        try:
            (allowed,) = decode(("uint256",), await self._read(token, data))
        except AbiError:
            raise Rejected(f"{token} does not answer like an ERC-20 token") from None
        return int(allowed)

    # ---------------------------------------------------------------------------------- contracts

    async def contract(self, key: str) -> ContractSettings:
        """Return the configured contract named by ``key``, its code compared with the pin."""
        name = self._table.text(key)
        found = self._settings.contracts.get(name)
        if found is None:
            known = ", ".join(sorted(self._settings.contracts)) or "none"
            raise self._table.error(key, f"names no contract of {self._chain}; known: {known}")
        self._right(f"contract {name}", found.address)
        code = await self._code(f"contract {name}", found.address)
        if f"0x{hash_of(code).hex()}" != found.code_hash:
            raise Rejected(
                f"contract {name} at {found.address} has code with hash 0x{hash_of(code).hex()}, "
                f"chains.toml pins {found.code_hash}"
            )
        return found

    async def own_contract(self, key: str, artifact: str) -> ContractSettings:
        """Return a configured contract that is one of ours."""
        found = await self.contract(key)
        if found.artifact != artifact:
            raise self._table.error(key, f'needs a contract with artifact = "{artifact}"')
        return found

    async def operation(self, contract: ContractSettings, account: str) -> dict[str, Any]:
        """Return the part of an action that says where operation ids of ``account`` are kept."""
        data = encode("group_of(address)", ("address",), (account,))
        try:
            (group,) = decode(("address",), await self._read(contract.address, data))
        except AbiError:
            raise Rejected(f"{contract.name} does not answer like one of our contracts") from None
        return {"contract": contract.address, "group": checksum(group)}

    def declared_call(
        self, contract: ContractSettings, effect: Mapping[str, Any] | None, *, what: str
    ) -> dict[str, Any]:
        """Return a call in JSON form: function, arguments, coins, and the event that it causes."""
        try:
            function = find_function(contract.abi, self._table.text("function"))
            args = self._table.raw("args", [])
            if not isinstance(args, list) or len(args) != len(function.types):
                raise self._table.error("args", f"must be a list of {len(function.types)} values")
            values = [
                self._value(f"args[{at}]", kind, value)
                for at, (kind, value) in enumerate(zip(function.types, args, strict=True))
            ]
            event = None if effect is None else self._event(contract, effect, what)
        except AbiError as error:
            raise Rejected(f"{contract.name}: {error}") from None
        coins = self._table.raw("value", None)
        asset, amount = (None, 0) if coins is None else self._amount("value", coins)
        if asset is not None and not asset.native:
            raise self._table.error("value", "is what is sent along in the chain's own coin")
        if amount and not function.payable:
            raise self._table.error("value", f"must be left out: {function.signature} takes none")
        return {
            "function": function.signature,
            "types": list(function.types),
            "args": values,
            "value": str(amount),
            "event": event,
        }

    def _event(
        self, contract: ContractSettings, effect: Mapping[str, Any], what: str
    ) -> dict[str, Any]:
        if not isinstance(effect, Mapping):
            raise Rejected(f"the effect of this {what} must be a table with 'event' and 'where'")
        table = Table(f"{what}.effect", effect)
        event = find_event(contract.abi, table.text("event"))
        where_table = table.table("where", {})
        where = {
            str(at): self._parameter(event, at, where_table.raw(str(at)))
            for at in range(len(event.types))
            if str(at) in where_table
        }
        table.finish()
        return {
            "signature": event.signature,
            "types": list(event.types),
            "indexed": list(event.indexed),
            "where": where,
        }

    def _parameter(self, event: Event, at: int, value: Any) -> Any:
        kind = event.types[at]
        if event.indexed[at] and _VARIABLE_LENGTH.fullmatch(kind):
            raise Rejected(f"parameter {at} of {event.signature} is only in the log as a hash")
        return self._value(f"where.{at}", kind, value)

    def _value(self, key: str, kind: str, value: Any) -> Any:
        """Return a value in JSON form; amounts, signers and contracts may be named."""

        def special(part: str, item: Any) -> Any:
            if isinstance(item, Mapping) and part.startswith(("uint", "int")):
                return str(self._amount(key, item, zero=True)[1])
            if part == "address" and isinstance(item, str):
                named = self._settings.contracts.get(item)
                return named.address if named else self._signers.get(item, item)
            return item

        try:
            return normal_value(kind, value, special)
        except AbiError as error:
            raise self._table.error(key, f"does not fit {kind}: {error}") from None

    # -------------------------------------------------------------------------------------- holds

    def hold_terms(self) -> tuple[int, str]:
        """Return after how many seconds a hold can be refunded, and the preimage's channel."""
        refund_after_s = self._table.integer("refund_after_s", minimum=1, maximum=_HOLD_MAX_S)
        deliver = self._table.text("deliver", "secret")
        if deliver not in _DELIVER:
            raise self._table.error("deliver", f"must be one of {', '.join(_DELIVER)}")
        return refund_after_s, deliver

    # -------------------------------------------------------------------------------------- reads

    async def _code(self, what: str, address: str) -> bytes:
        answer = await self._one("eth_getCode", (address, "latest"))
        code = bytes.fromhex(str(answer).removeprefix("0x"))
        if not code:
            raise Rejected(f"{what}: there is no contract at {address} on {self._chain}")
        return code

    async def _read(self, address: str, data: bytes) -> bytes:
        call = {"to": address, "data": f"0x{data.hex()}"}
        answer = await self._one("eth_call", (call, "latest"))
        return bytes.fromhex(str(answer).removeprefix("0x"))

    async def _one(self, method: str, params: Sequence[Any]) -> Any:
        (answer,) = await self._nodes.batch([(method, params)])
        if isinstance(answer, RpcError):
            raise Rejected(f"a read of the chain was refused: {answer}")
        return answer
