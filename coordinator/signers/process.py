"""What a process that holds keys does to itself before it opens them."""

import resource

__all__ = ["forbid_core_dumps"]


def forbid_core_dumps() -> None:
    """Forbid core dumps, for ever and for child processes too: a dump would hold opened keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
