"""Broken: what is read from a chain, what leaves for it and at what price (§3, §7, R1 to R3)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, broken

__all__ = ["CHAINS"]

_EVM: Final = "tests/unit/test_evm_outcome.py"
_COINS: Final = "tests/unit/test_bitcoin_coins.py"
_FEES: Final = "tests/unit/test_evm_fees.py"
_HEADS: Final = "tests/unit/test_heads.py"
_SCENES: Final = "tests/sim/test_scenarios.py"

CHAINS: Final[tuple[Mutant, ...]] = (
    broken(
        "release by a stranger not seen",
        "§3 outcomes",
        f"{_EVM}::test_an_effect_counts_whoever_caused_it",
        "assert None is not None",
        "adapters.evm.outcome",
        "found = _operation(index, effect, final_height)",
        "found = _operation(index, effect, final_height) if attempts else None",
    ),
    broken(
        "effect matched by amount only",
        "§3 outcomes",
        f"{_EVM}::test_an_event_that_differs_in_anything_is_not_the_effect",
        "assert Found.* is None",
        "adapters.evm.effects",
        "and operation.params_hash == self.params_hash",
        "",
    ),
    broken(
        "another group's operation counts",
        "§3 outcomes",
        f"{_EVM}::test_an_event_that_differs_in_anything_is_not_the_effect",
        "assert Found.* is None",
        "adapters.evm.effects",
        "and operation.group == self.group",
        "",
    ),
    broken(
        "a status is an effect",
        "§3 outcomes",
        f"{_EVM}::test_coins_moved_only_with_the_right_value_to_the_right_account",
        r"assert \(Found\(.* is not None\) is False",
        "adapters.evm.effects",
        "and landed.value_wei == self.value_wei",
        "",
    ),
    broken(
        "final one block early",
        "§3.7",
        f"{_EVM}::test_an_effect_is_final_at_its_height_and_not_below",
        r"where True = Found\(.*\)\.final",
        "adapters.evm.outcome",
        "            final = header.height <= final_height\n            return Found(operation",
        "            final = header.height <= final_height + 1\n            return Found(operation",
    ),
    broken(
        "a dead generation speaks for the living one",
        "R2",
        f"{_EVM}::test_an_older_generations_claim_says_nothing_about_the_present_one",
        "assert Consumed",
        "adapters.evm.outcome",
        'present = [item for item in attempts if item.facts.get("gen", 1) == task.generation]',
        "present = attempts",
    ),
    broken(
        "a tombstone closes a claim that is open",
        "§3 outcomes",
        f"{_EVM}::test_a_tombstone_leaves_the_claim_open_until_that_is_final_too",
        r"assert \('tombstone', False\) == \('tombstone', True\)",
        "adapters.evm.outcome",
        "claim_open=bool(attempts))",
        "claim_open=False)",
    ),
    broken(
        "an equal payment elsewhere is ours",
        "§3 outcomes",
        "tests/conformance/test_adapters.py::"
        "test_an_equal_effect_under_another_claim_is_not_ours[anvil]",
        r"assert \(Found\(.*, None\) == \(None, None\)",
        "adapters.evm.outcome",
        "    for account, nonce in _claims(attempts):\n"
        "        landed = index.landed(account, nonce)\n"
        "        if landed is not None and effect",
        "    for account, nonce in ((a, m) for a, n in _claims(attempts) for m in range(n + 9)):\n"
        "        landed = index.landed(account, nonce)\n"
        "        if landed is not None and effect",
    ),
    broken(
        "unconfirmed input",
        "R3",
        f"{_COINS}::test_coins_count_when_they_are_deep_enough_and_coinbases_when_they_are_mature",
        r"assert \{1, 2, 4\} == \{2, 4\}",
        "adapters.bitcoin.coins",
        "if coin.coinbase else confirmations)",
        "if coin.coinbase else 0)",
    ),
    broken(
        "coins that a reorganisation took back",
        "§3.7",
        f"{_COINS}::"
        "test_a_coin_of_a_block_that_was_taken_back_does_not_return_with_the_blocks_after_it",
        r"assert \[400, 500, 1000\] == \[1000\]",
        "adapters.bitcoin.coins",
        "touched.add(self._coins.pop(outpoint).address)",
        "touched.add(self._coins[outpoint].address)",
    ),
    broken(
        "a coin that goes while it is tried refuses the step",
        "§3 outcomes",
        "tests/e2e/test_many_bitcoin_transfers_at_once.py::"
        "test_a_coin_that_goes_while_it_is_tried_refuses_nothing",
        "the node would refuse it",
        "adapters.bitcoin.adapter",
        "if not lost or not trial.others:",
        "if True:",
    ),
    broken(
        "a coin is asked about before it is taken",
        "R3",
        "tests/e2e/test_many_bitcoin_transfers_at_once.py::"
        "test_transfers_that_begin_together_take_a_coin_each_and_ask_little",
        # Which of the two shows first is the event loop's choice.
        r"where [0-9]+ = .*Counted object .*\.refused|assert [0-9]+ <= \(3 \* 40\)",
        "adapters.bitcoin.wallet",
        "lost = {outpoint for outpoint in fresh if not book.take(outpoint)}",
        "lost = {o for o in fresh if not await self.nodes.holdings.unspent(o) or not book.take(o)}",
    ),
    broken(
        "fee below the replacement rule",
        "§7 fees",
        f"{_COINS}::test_a_replacement_satisfies_bip_125",
        r"assert 101 >= \(100 \+ 10\)",
        "adapters.bitcoin.fees",
        "absolute = beaten.fee_sat + fee_at(incremental_sat_kvb, vsize)",
        "absolute = beaten.fee_sat + 1",
    ),
    broken(
        "a replacement by less than a tenth",
        "§7 fees",
        f"{_FEES}::test_beyond_the_cap_nothing_is_built",
        "DID NOT RAISE .*Rejected",
        "adapters.evm.fees",
        "least = max(-(-highest * 11 // 10), highest + 1)",
        "least = highest + 1",
    ),
    broken(
        "forward cap above burn cap",
        "§7 fees",
        f"{_FEES}::test_a_burn_always_beats_a_forward_attempt_at_its_caps",
        "Rejected: a replacement needs max_fee_wei of",
        "adapters.evm.fees",
        "return Price(full.max_fee_wei * 10 // 11, full.tip_wei * 10 // 11)",
        "return full",
    ),
    broken(
        "a forward cap that a Bitcoin burn can not beat",
        "§7 fees",
        "tests/unit/test_bitcoin_settings.py::"
        "test_a_forward_cap_is_the_burn_cap_minus_the_incremental_relay_fee",
        r"assert [0-9]+ < \([0-9]+ - [0-9]+\)",
        "adapters.bitcoin.actions",
        "return effect_cap + incremental_sat_vb * vsize",
        "return effect_cap",
    ),
    broken(
        "a tombstone cancels an effect that stands",
        "§3 outcomes",
        f"{_HEADS}::test_a_tombstone_never_cancels_an_effect_that_stands",
        r"where True = sendable\(",
        "coordinator.heads",
        'return effort.phase == "not_done" or "done" in later',
        "return True",
    ),
    broken(
        "what only its claim binds is sent again",
        "§3 outcomes",
        f"{_HEADS}::test_a_done_effect_is_sent_again_only_if_an_operation_id_binds_it",
        r"where True = sendable\(",
        "coordinator.heads",
        'if state.step(owner.step).unique_by != "operation":',
        "if False:",
    ),
    broken(
        "gaps are not filled",
        "R3",
        f"{_SCENES}::test_a_nonce_that_nobody_made_durable_does_not_block_the_later_ones",
        r"assert not \['01SM",
        "coordinator.gaps",
        "    async def look(self) -> None:\n",
        "    async def look(self) -> None:\n        return\n\n    async def _look(self) -> None:\n",
    ),
    broken(
        "secret in a simulation",
        "R9",
        "sim plan=holds,fail=none",
        "I9 .* the preimage of gift was handed out",
        "coordinator.tasks",
        'if step.reveals and direction == "confirm" and confirm.revealed',
        "if step.reveals",
    ),
    broken(
        "a drafted reveal lets the preimage out",
        "R9",
        "tests/unit/test_tasks.py::test_a_preimage_is_let_out_by_a_durable_reveal_and_by_no_draft",
        "assert '(07)+' is None",
        "coordinator.tasks",
        'confirm = durable.effort(step.id, "confirm")',
        'confirm = state.effort(step.id, "confirm")',
    ),
    broken(
        "what was durable before the deadline is not sent",
        "R1",
        "sim plan=reference,fail=none,fault=append intent:lock.forward#1/crash_after",
        r"ended \{'rolled_back'\}, wanted \{'committed'\}",
        "coordinator.saga.pursuit",
        "    plan.commands.append(Send(step, direction, kill=kill))\n",
        "",
    ),
    broken(
        "an attempt whose deadline passed while it was signed",
        "§3 waiting",
        "tests/unit/test_turn.py::"
        "test_an_attempt_whose_deadline_passed_while_it_was_prepared_never_becomes_durable",
        r"assert \[\('one', 'for.* == \[\('one'",
        "coordinator.turn",
        "return act in decide(self._state, now).commands",
        "return True",
    ),
    broken(
        "what fell due while a turn was busy is forgotten",
        "§3 waiting",
        "tests/unit/test_turn.py::"
        "test_a_deadline_that_passes_while_a_send_gets_no_answer_is_acted_on_at_once",
        "AssertionError: it sleeps for more than 5 s",
        "coordinator.calling",
        "before, then, acted = decided or (None, now, Decision())",
        "before, then, acted = None, now, decide(state, now)",
    ),
    broken(
        "a height that was reached while a turn was busy is waited for",
        "§3 waiting",
        "tests/unit/test_turn.py::"
        "test_a_height_that_is_reached_while_a_look_takes_its_time_is_not_waited_for",
        "AssertionError: it sleeps for more than 5 s",
        "coordinator.calling",
        "if self._has_come(wait.chain, wait.height, now):",
        "if False:",
    ),
    broken(
        "a lost race keeps its nonce",
        "R3",
        "tests/unit/test_claims.py::"
        "test_what_a_scope_held_is_free_again_when_nothing_became_durable",
        r"where 2 = take_next\('a', 0\)",
        "coordinator.claims",
        "self._claims.settle(self._held, ())",
        "self._claims.settle(self._held, self._held)",
    ),
    broken(
        "adopt blind",
        "§3 verdicts",
        "tests/sim/test_adopting.py::test_a_transaction_without_the_effect_is_adopted_by_nobody",
        "DID NOT RAISE PreflightError",
        "coordinator.adoption",
        "    if seen.found is None:\n        raise",
        "    if seen.found is None:\n        return\n        raise",
    ),
)
