"""What the development nodes of every chain share: their binaries, their process, a blocking RPC.

Standard library only: set-up runs ``python -m adapters.devnode`` before anything is installed.
"""
