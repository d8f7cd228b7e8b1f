"""The coordinator: one plan over several chains, executed completely or taken back completely."""

__version__ = "0.1.0"
