"""The chains: one protocol, one package per chain, and the development nodes that tests run on.

Importing this package imports nothing else, so that set-up can run ``python -m adapters.devbin``
before any dependency is installed.
"""
