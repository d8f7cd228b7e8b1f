# pragma version 0.4.3
"""
@title Registry: for tests only, a contract of somebody else with an effect and its undo
@license Apache-2.0
@notice `clear` undoes `set`. A test that wants `set` to need more gas than it did when a plan
        was accepted raises `weight`, which is storage slot 0, by writing to that slot.
"""

event Set:
    key: indexed(bytes32)
    number: uint256

event Clear:
    key: indexed(bytes32)

# Declared first, so that it lies in slot 0. About 96 gas per unit.
weight: public(uint256)
values: public(HashMap[bytes32, uint256])


@external
def set(key: bytes32, number: uint256):
    digest: bytes32 = key
    for _: uint256 in range(self.weight, bound=1_000_000):
        digest = keccak256(digest)
    assert digest != empty(bytes32), "no digest"
    self.values[key] = number
    log Set(key=key, number=number)


@external
def clear(key: bytes32):
    assert self.values[key] != 0, "not set"
    self.values[key] = 0
    log Clear(key=key)
