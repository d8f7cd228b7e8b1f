import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.signers import HoldSecrets, Secret

SEED = bytes(range(32))
SAGA = "01K7Q3ZV00000000000000000A"


def test_the_preimage_is_the_documented_function_of_the_seed() -> None:
    # Written out by hand: whoever has seed and journal can compute it without this program.
    text = b'{"generation":1,"hold":1,"saga":"01K7Q3ZV00000000000000000A","step":"unlock"}'
    expected = hmac.new(SEED, text, hashlib.sha256).digest()

    holds = HoldSecrets(Secret(SEED))

    assert holds.preimage(saga=SAGA, step="unlock", generation=1).reveal() == expected
    assert holds.preimage(saga=SAGA, step="unlock", generation=1).reveal().hex() == VECTOR


#: Computed once and fixed: a change would lose the preimages of holds that are open today.
VECTOR = "a028c2a7e8be0e067acb5849c9a4e7a6d9d4f58c86458f3e4dbd6a0a74be57bf"


@given(
    st.lists(
        st.tuples(st.text(max_size=4), st.text(max_size=4), st.integers(1, 9)),
        min_size=2,
        max_size=8,
        unique=True,
    )
)
def test_no_two_holds_share_a_preimage(names: list[tuple[str, str, int]]) -> None:
    holds = HoldSecrets(Secret(SEED))

    hashlocks = {
        holds.hashlock(saga=saga, step=step, generation=generation)
        for saga, step, generation in names
    }

    assert len(hashlocks) == len(names)


def test_the_hashlock_is_the_sha256_of_the_preimage() -> None:
    holds = HoldSecrets(Secret(SEED))
    preimage = holds.preimage(saga=SAGA, step="unlock", generation=2)

    hashlock = holds.hashlock(saga=SAGA, step="unlock", generation=2)

    assert hashlock == hashlib.sha256(preimage.reveal()).hexdigest()
    assert len(preimage.reveal()) == 32


def test_the_fingerprint_tells_seeds_apart_and_is_all_that_is_printed() -> None:
    holds, other = HoldSecrets(Secret(SEED)), HoldSecrets(Secret(SEED[::-1]))

    assert holds.fingerprint != other.fingerprint
    assert repr(holds) == f"HoldSecrets(fingerprint={holds.fingerprint})"


@pytest.mark.parametrize("seed", [SEED, SEED[::-1]])
def test_another_seed_gives_other_preimages(seed: bytes) -> None:
    ours = HoldSecrets(Secret(seed)).hashlock(saga=SAGA, step="a", generation=1)
    theirs = HoldSecrets(Secret(seed[1:] + b"x")).hashlock(saga=SAGA, step="a", generation=1)

    assert ours != theirs
