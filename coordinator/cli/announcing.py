"""What happens while sagas are driven reaches whoever watches, and the operator's command.

The alarm comes first: a terminal that is gone, or a full disk under a log, must keep nobody asleep.
Neither of them is a reason to stop a saga, whose journal is well.
"""

from coordinator.alarm import Alarm, Notice
from coordinator.cli.output import Output
from coordinator.cli.progress import Progress
from coordinator.journal.base import Record
from coordinator.saga import SagaState

__all__ = ["Announcer"]


class Announcer:
    """Shows records and rings alarms of one call.

    Args:
        out: where talk goes.
        alarm: the operator's command.
        progress: shows records.
    """

    def __init__(self, out: Output, alarm: Alarm, progress: Progress) -> None:
        self._out = out
        self._alarm = alarm
        self._progress = progress
        self._unshown = False

    def observe(self, state: SagaState, record: Record) -> None:
        """Show a record that is durable; one that asks for a person rings."""
        if record.kind == "stuck":
            self._alarm.ring(state.saga, state.state, record.data)
        try:
            self._progress.saw(state, record)
            self._unshown = False
        except OSError as error:
            self._tell_unshown(error)
        if record.kind == "stuck":
            self._out.warn(
                f"STUCK {state.saga}: {record.data['reason']}; {record.data['question']}"
            )

    def bark(self, notice: Notice) -> None:
        """Tell of something that is no record of a live saga; from any thread."""
        self._alarm.tell(notice)
        self._out.warn(f"{notice.reason} ({notice.question})")

    def _tell_unshown(self, error: OSError) -> None:
        """Say once that whoever reads stdout misses records, which the journal has."""
        if self._unshown:
            return
        self._unshown = True
        self.bark(
            Notice(
                "output",
                "running",
                f"what happens can not be written to stdout: {error.strerror or error}. Sagas go "
                "on, and the journal has every record",
                "is its disk full? What was missed: coordinator audit show SAGA",
            )
        )
