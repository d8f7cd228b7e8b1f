import copy
import json
import pickle
from collections.abc import Callable

import pytest

from coordinator.signers import Secret
from coordinator.signers.kinds import Opened, PublicFace

PLAIN = b"correct horse battery staple"


def test_every_printed_form_of_a_secret_is_three_stars() -> None:
    secret = Secret(PLAIN)

    forms = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret:>3}",
        f"{secret}",
    ]

    assert set(forms) == {"***"}
    assert "***" in repr(Opened(PublicFace("seed"), secret))


def test_reveal_is_the_way_out_and_wipe_closes_it() -> None:
    secret = Secret(PLAIN)

    assert secret.reveal() == PLAIN
    secret.wipe()
    secret.wipe()

    with pytest.raises(RuntimeError, match="wiped"):
        secret.reveal()


def test_wiping_overwrites_the_bytes_that_the_secret_held() -> None:
    secret = Secret(PLAIN)
    with memoryview(secret._value) as held:
        # An exported buffer can not shrink, so the wipe stops after overwriting: that is the part
        # under test.
        with pytest.raises(BufferError):
            secret.wipe()
        assert bytes(held) == bytes(len(PLAIN))


WAYS_OUT: dict[str, Callable[[object], object]] = {
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "json": json.dumps,
    "hash": hash,
    "vars": vars,
}


@pytest.mark.parametrize("way_out", WAYS_OUT.values(), ids=WAYS_OUT)
def test_a_secret_can_not_be_pickled_copied_hashed_or_listed(
    way_out: Callable[[object], object],
) -> None:
    with pytest.raises(TypeError) as caught:
        way_out(Secret(PLAIN))
    assert "horse" not in str(caught.value)


def test_secrets_compare_by_value_and_only_with_secrets() -> None:
    assert Secret(PLAIN) == Secret(bytearray(PLAIN))
    assert Secret(PLAIN) != Secret(PLAIN + b"!")
    assert Secret(PLAIN) != PLAIN
