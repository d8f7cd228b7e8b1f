import pytest

from coordinator.errors import KeysError
from coordinator.signers import check_env_allowed
from coordinator.signers.environment import PUBLIC_GENESIS, is_loopback

LOCAL = ("http://127.0.0.1:8545", "ws://[::1]:8546", "http://localhost:18443/wallet")
DEV_GENESIS = (
    "0x" + "12" * 32,
    "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",  # regtest
)


def test_a_local_devnet_may_use_the_environment() -> None:
    check_env_allowed(devnet=True, rpc_urls=LOCAL, genesis_hashes=DEV_GENESIS)


def test_without_the_devnet_flag_the_environment_is_refused() -> None:
    with pytest.raises(KeysError, match="devnet = true"):
        check_env_allowed(devnet=False, rpc_urls=LOCAL, genesis_hashes=DEV_GENESIS)


@pytest.mark.parametrize(
    "url",
    [
        "https://rpc.example.org/v3/0123456789abcdef",
        "http://127.0.0.1@rpc.example.org/",
        "http://127.0.0.1.example.org/",
        "http://localhost.example.org/",
        "http://10.0.0.1:8545",
        "http://169.254.169.254/",
        "http://[::ffff:10.0.0.1]:8545",
        "http://0.0.0.0:8545",
        "http://127.1:8545",
        "http://[::1",
        "env:POLYGON_RPC_URL",
        "",
    ],
)
def test_one_node_elsewhere_refuses_the_environment_and_its_path_stays_unsaid(url: str) -> None:
    assert not is_loopback(url)
    with pytest.raises(KeysError, match="loopback") as caught:
        check_env_allowed(devnet=True, rpc_urls=(*LOCAL, url), genesis_hashes=DEV_GENESIS)
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize("genesis", PUBLIC_GENESIS)
@pytest.mark.parametrize("written", ["{}", "0x{}", "0X{}"])
def test_a_public_genesis_behind_loopback_refuses_the_environment(
    genesis: str, written: str
) -> None:
    hashes = (*DEV_GENESIS, written.format(genesis.upper()))

    with pytest.raises(KeysError, match=PUBLIC_GENESIS[genesis]):
        check_env_allowed(devnet=True, rpc_urls=LOCAL, genesis_hashes=hashes)


@pytest.mark.parametrize(("urls", "hashes"), [((), DEV_GENESIS), (LOCAL, ())])
def test_nothing_known_of_the_chains_is_not_a_devnet(
    urls: tuple[str, ...], hashes: tuple[str, ...]
) -> None:
    with pytest.raises(KeysError, match="known"):
        check_env_allowed(devnet=True, rpc_urls=urls, genesis_hashes=hashes)
