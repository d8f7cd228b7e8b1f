"""Rules of the end: what has to be true of a saga that says it is over, and what may follow."""

from proofs.errors import Refused
from proofs.saga_form import Line
from proofs.saga_plan import Step
from proofs.saga_state import ENDS, Course

__all__ = ["AfterEnd", "Closing", "Fees", "Proofs", "still_true"]

#: What a chain may still show after the end, and what burns a claim that was left open.
_AFTER: frozenset[str] = frozenset(
    {"reopened", "taken_over", "intent", "included", "orphaned", "done", "not_done", "withdrawn"}
)


class Closing:
    """Committed: every effect and confirm is done. Rolled back: nothing stands any more."""

    name = "closing"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind == "closed":
            why = _open(course, line.data["state"])
            if why is not None:
                raise _refused(line, why)


def still_true(course: Course) -> str | None:
    """Tell why a saga that has ended is not what its closing record says any more, if so."""
    return _open(course, course.state)


def _open(course: Course, end: str) -> str | None:
    for step in course.steps:
        if course.decision == "commit":
            why = _uncommitted(course, step, end)
        else:
            why = _standing(course, step, end)
        if why is not None:
            return f"{why} of step {step.id}"
    return None


def _uncommitted(course: Course, step: Step, end: str) -> str | None:
    given_up = {"done", "written_off"} if end == "closed_by_operator" else {"done"}
    forward, confirm, undo = (
        course.effort(step.id, way).phase for way in ("forward", "confirm", "undo")
    )
    if step.forward and forward not in given_up:
        return f"it ends {end}: {forward} is the forward effect"
    if undo == "done" and end != "closed_by_operator":
        return f"it ends {end}: done is the undo"
    if step.confirm and confirm not in given_up and undo != "done":
        return f"it ends {end}: {confirm} is the confirm"
    return None


def _standing(course: Course, step: Step, end: str) -> str | None:
    if not step.forward:
        return None
    forward, undo = (course.effort(step.id, way).phase for way in ("forward", "undo"))
    gone = {"idle", "not_done"}
    if end == "closed_by_operator":
        gone.add("written_off")
    if forward in gone:
        return None
    if forward != "done":
        return f"it ends {end}: {forward} is the forward effect"
    if undo != "done" and not (end == "closed_by_operator" and undo == "written_off"):
        return f"it ends {end}: {undo} is the undo"
    return None


class AfterEnd:
    """After its closing record a saga changes nothing; at most a claim left open is burnt."""

    name = "after-end"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if course.state in ENDS and line.kind not in _AFTER:
            raise _refused(line, f"the saga had ended as {course.state}")


class Fees:
    """The closing record counts exactly the fees of the outcomes that are final."""

    name = "fees"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind != "closed":
            return
        paid = {asset: str(amount) for asset, amount in course.fees.items() if amount}
        said = {asset: amount for asset, amount in line.data["fees"].items() if amount != "0"}
        if paid != said:
            raise _refused(line, "the fees are not the sum of those in the outcomes")


class Proofs:
    """Where the plan requires evidence, pivot and commit waited for it."""

    name = "proofs"

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind in {"proved", "unproved"}:
            step = course.by_name[line.data["step"]]
            if step.proof == "none":
                raise _refused(line, f"the plan asks for no evidence on {step.chain}")
            return
        pivot = course.pivot
        if line.kind == "decided" and line.data["decision"] == "commit" and pivot is None:
            self._all_proved(course, line)
        elif line.kind == "intent" and pivot is not None and line.data["step"] == pivot.id:
            first = not course.effort(pivot.id, "forward").attempts
            if line.data["dir"] == "forward" and first:
                self._all_proved(course, line)

    def _all_proved(self, course: Course, line: Line) -> None:
        for step in course.steps:
            asked = step.proof == "required" and step.forward and not step.pivot
            if asked and course.effort(step.id, "forward").proof != "proved":
                raise _refused(line, f"step {step.id} requires evidence and has none")


def _refused(line: Line, why: str) -> Refused:
    return Refused("rule", f"record {line.seq} ({line.kind}): {why}")
