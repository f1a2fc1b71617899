"""
Shapes

What is asked of a hop, as text of the command line:

    C:W[@BYTES][/FORM]         C callers, W requests in flight in all, closed loop; bodies of 128
                               bytes unless said: 64:64, 4:16@64KiB. FORM of the header: json;
                               rocketmq; bare, in JSON with nothing but the topic, so that the
                               daemon finds the broker and completes the message
    open:RATE[:C]              RATE requests a second of C callers (16), open loop
    idle:N                     memory of N idle callers each, and 64:64 with and without them
    start                      from exec to the first answer
    memory                     resident memory of 64:64 over a million requests
"""

import dataclasses
import re

DEFAULT = (
    "1:1 1:16 1:64 1:256 16:16 64:64 256:256 1:64@1KiB 64:64@1KiB 4:16@64KiB 4:8@1MiB "
    "1:64/rocketmq 64:64/rocketmq 64:64/bare open:2000 open:20000 idle:10000 start memory"
).split()

UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20}


@dataclasses.dataclass(frozen=True)
class Shape:
    """kind is "closed", "open", "idle", "start" or "memory"."""

    text: str
    kind: str
    callers: int = 64
    in_flight: int = 64
    body: int = 128
    form: str = "json"
    rate: int = 0
    idle: int = 0

    def load_arguments(self):
        """What bench_load is told."""
        arguments = ["--callers", self.callers, "--body", self.body]
        arguments += ["--bare"] if self.form == "bare" else ["--form", self.form]
        if self.kind == "open":
            return [*arguments, "--rate", self.rate]
        return [*arguments, "--in-flight", self.in_flight]


def parse(text):
    """The Shape; ValueError with what is accepted."""
    match = re.fullmatch(r"(\d+):(\d+)(?:@(\d+)(B|KiB|MiB|))?(?:/(json|rocketmq|bare))?", text)
    if match:
        callers, in_flight, size, unit, form = match.groups()
        body = int(size) * UNITS[unit] if size else 128
        if int(callers) == 0 or int(in_flight) % int(callers) or int(in_flight) == 0 or body < 16:
            raise ValueError(f"{text}: W is a multiple of C, and a body has at least 16 bytes")
        return Shape(
            text, "closed", int(callers), int(in_flight), body=body, form=form or "json"
        )
    match = re.fullmatch(r"open:(\d+)(?::(\d+))?", text)
    if match and int(match.group(1)):
        return Shape(text, "open", callers=int(match.group(2) or 16), rate=int(match.group(1)))
    match = re.fullmatch(r"idle:(\d+)", text)
    if match:
        return Shape(text, "idle", idle=int(match.group(1)))
    if text in ("start", "memory"):
        return Shape(text, text)
    raise ValueError(
        f"{text}: accepted are C:W[@BYTES][/FORM], open:RATE[:C], idle:N, start, memory"
    )
