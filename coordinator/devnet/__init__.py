"""A development network for users: two anvils, a bitcoind, contracts, keys, money and a payee.

Everything lives in one git-ignored folder and listens on loopback. Its keys are public knowledge.
"""
