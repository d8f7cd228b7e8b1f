"""The simulated world: chains, faults and a checker that shares no code with the coordinator.

`chain` and `ledger` are the chains themselves, `adapter` puts them behind the adapter protocol,
`faults` breaks single calls by name, `world` runs the real engine on all of it in virtual time,
and `checker` reads the chains and the raw journal afterwards and says what was broken.
"""
