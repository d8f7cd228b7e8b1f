"""The command line. Importing this package loads nothing; `main` loads what its command needs."""

__all__ = ["main"]


def main() -> None:
    """Run ``coordinator`` with the process's arguments and end the process."""
    import sys

    try:
        from coordinator.cli.entry import run

        run()
    except KeyboardInterrupt:
        # Ctrl-C while modules load: nothing was begun.
        sys.stderr.write("interrupted; nothing was sent\n")
        sys.exit(130)
