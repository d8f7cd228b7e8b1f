"""Rules of order: forward step by step, one decision, reveals after it, undos in reverse."""

from proofs.errors import Refused
from proofs.saga_form import Line
from proofs.saga_plan import Step
from proofs.saga_state import Course

__all__ = ["Decision", "ForwardOrder", "Operator", "Reveals", "UndoOrder", "UndoRecords"]

_UNDO_WORDS = {"reason": "atomicity_failure", "result": "undone"}


class ForwardOrder:
    """A step begins when those before it are in a block; the pivot when all others are final."""

    name = "forward-order"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind != "intent" or line.data["purpose"] != "effect":
            return
        step, direction = course.by_name[line.data["step"]], line.data["dir"]
        if direction == "forward" and not step.forward:
            raise _refused(line, f"step {step.id} acts after the decision only")
        if direction == "confirm" and not step.confirm:
            raise _refused(line, f"step {step.id} has no confirm")
        if direction != "forward" or course.state != "running":
            return
        if line.at_ms // 1000 > course.started["deadline_s"]:
            raise _refused(line, "the deadline had passed")
        if course.effort(step.id, "forward").attempts:
            return
        for earlier in course.steps[: step.index]:
            phase = course.effort(earlier.id, "forward").phase
            wanted = {"done"} if step.pivot or earlier.wait_final else {"included", "done"}
            if phase not in wanted:
                raise _refused(line, f"step {earlier.id}, which comes before it, is {phase}")


class Decision:
    """Decided once: to commit only what is final, to roll back only what can still be taken back.

    A pivot that landed decides by itself; what its forerunners lost meanwhile is made again.
    """

    name = "decision"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind != "decided":
            return
        if course.decision:
            raise _refused(line, f"decided to {course.decision} before")
        pivot = course.pivot
        if line.data["decision"] == "rollback":
            self._rollback(course, line, pivot)
            return
        beyond = pivot is not None and course.effort(pivot.id, "forward").phase == "done"
        if not beyond and line.at_ms // 1000 > course.started["deadline_s"]:
            raise _refused(line, "the deadline had passed")
        for step in course.steps:
            effort = course.effort(step.id, "forward")
            if not step.forward or effort.phase == "done" or (beyond and effort.was_done):
                continue
            raise _refused(line, f"step {step.id} is {effort.phase}, not final")

    def _rollback(self, course: Course, line: Line, pivot: Step | None) -> None:
        if pivot is None:
            return
        effort = course.effort(pivot.id, "forward")
        if effort.phase not in {"idle", "not_done", "written_off"}:
            raise _refused(line, f"the pivot, step {pivot.id}, is {effort.phase}: it may stand")


class Reveals:
    """A preimage goes out after the commit, once, for the hashlock that its hold was made with."""

    name = "reveals"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind == "reveal":
            self._reveal(course, line)
        elif line.kind == "intent" and line.data["dir"] == "confirm":
            step = course.by_name[line.data["step"]]
            if step.reveals and not course.effort(step.id, "confirm").revealed:
                raise _refused(line, "the preimage's reveal is not durable before it")

    def _reveal(self, course: Course, line: Line) -> None:
        step = course.by_name[line.data["step"]]
        if not step.reveals:
            raise _refused(line, f"step {step.id} has no preimage")
        if line.data["deliver"] != step.deliver:
            raise _refused(line, f"the plan delivers it by {step.deliver}")
        if line.data["hashlock"] != course.effort(step.id, "forward").hashlock:
            raise _refused(line, "the hold was made with another hashlock")


class UndoOrder:
    """Undone in exactly reverse order, each after the undo before it is done.

    While confirming, only a hold that two persons ruled to reclaim may be refunded.
    """

    name = "undo-order"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind != "intent" or line.data["dir"] != "undo":
            return
        step = course.by_name[line.data["step"]]
        if not step.undo:
            raise _refused(line, f"step {step.id} has no undo")
        if course.state == "confirming":
            if not course.has_verdict("reclaim", step.id):
                raise _refused(line, "after a commit nothing is taken back without a verdict")
            return
        phase = course.effort(step.id, "forward").phase
        if phase != "done":
            raise _refused(line, f"the effect that it takes back is {phase}")
        for later in course.steps[step.index + 1 :]:
            if later.forward and not _taken_back(course, later):
                raise _refused(line, f"step {later.id}, which came after it, is not taken back")


def _taken_back(course: Course, step: Step) -> bool:
    """Whether nothing of a step stands."""
    if course.effort(step.id, "forward").phase in {"idle", "not_done", "written_off"}:
        return True
    done = course.effort(step.id, "forward").phase == "done"
    return done and course.effort(step.id, "undo").phase in {"done", "written_off"}


class UndoRecords:
    """An undo's record says when the effect was made, when it was taken back, why, and so what."""

    name = "undo-records"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        data = line.data
        if line.kind != "done" or data["dir"] != "undo":
            return
        for word, wanted in _UNDO_WORDS.items():
            if data.get(word) != wanted:
                raise _refused(line, f"its {word} is not {wanted!r}")
        times = data.get("executed_ms"), data.get("undone_ms")
        if any(type(time) is not int or time < 0 for time in times):
            raise _refused(line, "it lacks executed_ms or undone_ms")
        if times[0] != course.effort(data["step"], "forward").executed_ms:
            raise _refused(line, "executed_ms is not when the effect was first seen in a block")
        if data.get("cause") != course.cause or not data["cause"]:
            raise _refused(line, "its cause is not that of the decision")


class Operator:
    """Value is given up by two different persons only, and then the end is the operator's."""

    name = "operator"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind == "verdict" and line.data["verdict"] in {"reclaim", "write_off"}:
            persons = {by.strip().casefold() for by in line.data["by"] if by.strip()}
            if len(persons) < 2:
                raise _refused(line, "it gives value up by the word of one person")
            step = course.by_name[line.data["step"]]
            if line.data["verdict"] == "reclaim" and not step.reveals:
                raise _refused(line, f"step {step.id} has no preimage that was revealed")
        if line.kind == "closed" and (line.data["state"] == "closed_by_operator") != (
            course.given_up
        ):
            told = "a person gave value up" if course.given_up else "nobody gave value up"
            raise _refused(line, f"{told}, it ends as {line.data['state']}")


def _refused(line: Line, why: str) -> Refused:
    return Refused("rule", f"record {line.seq} ({line.kind}): {why}")
