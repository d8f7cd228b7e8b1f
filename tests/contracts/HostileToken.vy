# pragma version 0.4.3
"""
@title HostileToken: for tests only, a token and payee that misbehaves as it is told
@license Apache-2.0
@notice It can keep a fee, refuse by returning False, and call any contract while it moves
        tokens or receives coins. Everybody owns whatever they ask for.
"""

balanceOf: public(HashMap[address, uint256])
fee: public(uint256)
refusing: public(bool)
target: address
payload: Bytes[1024]
# What became of the last call into `target`: 0 none made, 1 succeeded, 2 reverted.
callback: public(uint256)


@external
@payable
def __default__():
    self._call_back()


@external
def issue(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount


@external
def misbehave(fee: uint256, refusing: bool, target: address, payload: Bytes[1024]):
    self.fee = fee
    self.refusing = refusing
    self.target = target
    self.payload = payload


@external
@payable
def run(target: address, payload: Bytes[1024]):
    """
    @notice Call `target` as this contract, with the coins sent along.
    """
    raw_call(target, payload, value=msg.value)


@external
def transfer(receiver: address, amount: uint256) -> bool:
    return self._move(msg.sender, receiver, amount)


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    return self._move(sender, receiver, amount)


@internal
def _move(sender: address, receiver: address, amount: uint256) -> bool:
    if self.refusing:
        return False
    self._call_back()
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount - self.fee
    return True


@internal
def _call_back():
    if self.target != empty(address):
        self.callback = 1 if raw_call(self.target, self.payload, revert_on_failure=False) else 2
