"""Broken: who is believed, what is held back, what is signed, what is replaced (§7, R11, R12)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, broken

__all__ = ["GATES"]

_NODES: Final = "tests/e2e/test_several_nodes_evm.py"
_ROSTER: Final = "tests/unit/test_nodes_roster.py"
_POLICY: Final = "tests/unit/test_evm_policy.py"
_REPLACING: Final = "tests/unit/test_saga_replacing.py"
_HALTS: Final = "tests/unit/test_saga_halts.py"

GATES: Final[tuple[Mutant, ...]] = (
    broken(
        "no quorum on a missing receipt",
        "§7 quorum",
        f"{_NODES}::test_a_forged_failure_never_becomes_not_done[of two nodes one]",
        "assert not .*Consumed",
        "adapters.evm.observing",
        "final = seen.consumed.final and await self._agreed(task, attempts, seen.consumed)",
        "final = seen.consumed.final",
    ),
    broken(
        "commit on one node's word",
        "§7 quorum",
        f"{_NODES}::test_a_forged_success_never_becomes_done[of two nodes one]",
        "assert not .*Found",
        "adapters.evm.quorum",
        "return [other for _, other in votes].count(vote) >= self._nodes.majority",
        "return vote is Vote.CONFIRMED",
    ),
    broken(
        "a depth on one node's word",
        "§7 quorum",
        "tests/e2e/test_several_nodes_bitcoin.py::"
        "test_a_depth_that_one_of_two_nodes_makes_up_is_no_majority",
        r"where True = Found\(.*\)\.final",
        "adapters.roster",
        "return answers.count(True) >= self.majority",
        "return answers.count(True) >= 1",
    ),
    broken(
        "nodes that are away do not count",
        "§7 quorum",
        f"{_ROSTER}::test_with_too_few_answers_there_is_a_newest_block_but_no_agreement",
        r"assert \(Block\(.*, True\) == \(Block\(.*, False\)",
        "adapters.roster",
        "return len(self.seats) // 2 + 1",
        "return 1",
    ),
    broken(
        "one node's refusal refuses",
        "§7 quorum",
        f"{_ROSTER}::test_a_refusal_is_believed_of_a_majority_only",
        "Rejected: a says no",
        "adapters.roster",
        "if refusals >= self.majority:",
        "if refusals:",
    ),
    broken(
        "one node makes nonces jump",
        "§7 nonces",
        f"{_NODES}::test_one_node_can_not_make_nonces_jump",
        "assert 1000000 == 4",
        "adapters.evm.nodes",
        "self._nonces[account] = found[self.majority - 1]",
        "self._nonces[account] = found[0]",
    ),
    broken(
        "another destination is signed",
        "R11",
        f"{_POLICY}::test_another_destination_value_data_payer_or_chain_is_never_signed",
        "DID NOT RAISE .*Rejected",
        "adapters.evm.policy",
        "    if tx.to != to:\n",
        "    if not to:\n",
    ),
    broken(
        "another amount is signed",
        "R11",
        f"{_POLICY}::test_another_destination_value_data_payer_or_chain_is_never_signed",
        "DID NOT RAISE .*Rejected",
        "adapters.evm.policy",
        "    if tx.value_wei != value_wei:\n",
        "    if value_wei < 0:\n",
    ),
    broken(
        "another chain is signed for",
        "R11",
        f"{_POLICY}::test_a_plan_for_another_chain_is_never_signed",
        "DID NOT RAISE .*Rejected",
        "adapters.evm.policy",
        "if not tx.chain_id == chain_id == planned:",
        "if not tx.chain_id == chain_id:",
    ),
    broken(
        "a burn may move value",
        "R11",
        f"{_POLICY}::test_a_burn_pays_nothing_to_oneself_and_may_cost_anything",
        "DID NOT RAISE .*Rejected",
        "adapters.evm.policy",
        'if (tx.to, tx.value_wei, tx.data) != (sender.lower(), 0, b""):',
        "if tx.to != sender.lower():",
    ),
    broken(
        "a gate holds back confirm and undo",
        "R11",
        f"{_POLICY}::test_no_limit_stands_in_the_way_of_confirm_and_undo",
        "Rejected: the (undo|confirm) of step step is not what",
        "adapters.evm.policy",
        'if task.direction == "forward":\n        _require_within',
        "if task.direction:\n        _require_within",
    ),
    broken(
        "a pause holds back what is out",
        "R11",
        "tests/unit/test_pauses.py::"
        "test_nothing_but_the_first_attempt_of_a_forward_is_ever_held_back",
        "Fenced: step pay of saga:amy may not begin",
        "coordinator.journal.checks",
        "                if begins_a_step(entry.data):\n",
        "                if begins_a_step is not None:\n",
    ),
    broken(
        "who pauses is not bound by it",
        "R11",
        "tests/unit/test_pauses.py::test_who_pauses_is_bound_by_it_as_well",
        "Failed: DID NOT RAISE",
        "coordinator.journal.writing",
        "        self._checks.written(request.stream)\n",
        "",
    ),
    broken(
        "a pause holds back nothing",
        "R11",
        "tests/unit/test_pauses.py::test_a_paused_chain_holds_back_its_own_steps_only",
        r"assert \[\('Act', 'b', 'forward'\)\] == \[\]",
        "coordinator.saga.holding",
        "return own + pauses.on(step.chain, payer_of(state, step))",
        "return own",
    ),
    broken(
        "what a stranger signed with our key stops nothing",
        "R12",
        f"{_HALTS}::test_its_forward_waits_and_says_why",
        r"assert \[\('Act', 'a', 'forward'\)\] == \[\]",
        "coordinator.saga.holding",
        "return now.halts.get((step.chain, payer)) if payer is not None else None",
        "return None",
    ),
    broken(
        "a halt holds back an undo that its id makes unique",
        "R12",
        f"{_HALTS}::test_confirms_and_undos_go_on_where_more_than_a_nonce_makes_them_unique",
        r"assert \(\('Act', 'a', '(undo|confirm)'\) in \[.* is True",
        "coordinator.saga.holding",
        'if (direction != "forward" or state.state != "running") and step.unique_by != "claim":',
        "if False:",
    ),
    broken(
        "silence replaces an attempt",
        "§7 fees",
        f"{_REPLACING}::test_a_chain_that_stands_still_replaces_nothing_however_long_it_stands",
        r"assert \[\('Act', 'a',.* == \[\('Send', 'a', 'forward'\)\]",
        "coordinator.saga.waits",
        "blocks = clock.height - attempts[-1].since",
        "blocks = 9 + clock.height - attempts[-1].since",
    ),
    broken(
        "a replacement stops the attempt before it",
        "R1",
        f"{_REPLACING}::test_an_attempt_is_replaced_when_enough_blocks_passed_it_by",
        "and what is out is sent on: it may land yet",
        "coordinator.saga.pursuit",
        "        plan.commands.append(Act(step, direction, kill=kill, again=True))\n",
        "        plan.commands.append(Act(step, direction, kill=kill, again=True))\n"
        "        return\n",
    ),
    broken(
        "a remote signature is taken unchecked",
        "§1 signers",
        "tests/unit/test_signers_http.py::"
        "test_a_signature_that_is_not_the_pinned_keys_is_thrown_away",
        "DID NOT RAISE Rejected",
        "adapters.evm.signing",
        "        if account != self.address:\n",
        "        if not account:\n",
    ),
    broken(
        "a way back is handed out after the commit",
        "§4 secrets",
        "tests/unit/test_recovery_export.py::"
        "test_nothing_is_written_once_it_would_be_void[tale0-decided to commit]",
        "assert 'decided to commit' in",
        "coordinator.recovery_export",
        'if state.state in ("confirming", "committed") and not reclaimed:',
        "if False:",
    ),
    broken(
        "a hold is begun that could not be confirmed",
        "§3.5",
        "tests/unit/test_saga_decide.py::test_a_hold_too_near_its_expiry_is_not_begun",
        r"where False = isinstance\(Act\(step=Step\(id='h'",
        "coordinator.saga.forward",
        "short = short_margin(state, now, extra_ms, seen=not step.pivot)",
        "short = None",
    ),
)
