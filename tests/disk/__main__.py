"""Run one case again: ``python -m tests.disk KIND …``, as a failing test says.

power PLAN N · resume PLAN N · fault PLAN WAY LASTING N · create WAY N · gate PLAN LATER N ·
flip FILE BYTE BIT [log] · full PLAN POINT GROWING
"""

import sys

from tests.disk import cases, flips, full_disk


def main(arguments: list[str]) -> str:
    """Run the case and say how it went."""
    match arguments:
        case ["power", plan, number]:
            with cases.folder() as place:
                operations = cases.record(plan, place / "run")
                cut, variant, _seed = cases.draw(operations, int(number))
                found = cases.power_case(operations, int(number), place)
            return "\n".join([f"power lost after operation {cut}, kept: {variant}", *found])
        case ["resume", plan, number]:
            return f"{cases.resume_case(plan, int(number))} cuts met"
        case ["fault", plan, way, lasting, number]:
            return str(cases.fault_case(plan, way, int(number), lasting=lasting == "1"))
        case ["create", way, number]:
            return str(cases.create_case(way, int(number)))
        case ["gate", plan, later, number]:
            return f"power failed: {cases.gate_case(plan, int(number), int(later))}"
        case ["flip", file, byte, bit, *log]:
            return flips.one(flips.Bit(file, int(byte), int(bit), in_log=log == ["log"]))
        case ["full", plan, point, growing]:
            return str(full_disk.full_disk_case(plan, point, full=growing == "1"))
        case _:
            return str(__doc__)


if __name__ == "__main__":
    print(main(sys.argv[1:]))
