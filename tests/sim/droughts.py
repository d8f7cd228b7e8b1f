"""The account that pays on one chain is emptied, and filled again."""

from tests.sim.world import World

__all__ = ["drain", "refill"]


def drain(world: World) -> None:
    """Take all that pays for transactions on ``eth``, in the next block."""
    chain = world.chains["eth"]
    chain.grant("ops", "bank", "ETH", chain.ledger.balances["ops", "ETH"])


def refill(world: World) -> None:
    """Give that account what a saga needs and more, in the next block."""
    world.chains["eth"].grant("bank", "ops", "ETH", 50_000)
