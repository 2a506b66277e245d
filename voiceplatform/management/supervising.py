"""Several programs run as one: they start together and end together.

Each program leads a process group of its own, so Ctrl-C reaches only the supervisor
and nothing a program has started can stay behind. The first program to end, ends all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from . import reaping

#: What a program gets to end by itself. Jobs are rows with checkpoints: a worker cut
#: off in the middle of one loses seconds of work, not the work.
GRACE_S = 8.0


@dataclass(frozen=True)
class Program:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    niceness: int = 0


@dataclass(frozen=True)
class _Running:
    program: Program
    process: asyncio.subprocess.Process
    relay: asyncio.Task[None]

    def signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


async def supervise(
    programs: Sequence[Program],
    *,
    say: Callable[[str], None],
    ready: Callable[[], str | None] = lambda: None,
    grace_s: float = GRACE_S,
) -> int:
    """Run all until a signal (returns 0) or until one of them ends (returns 1).

    `say` gets every line the programs print, under their names. `ready` is asked until
    it returns a line to say: that what was started can be used.
    """
    asked = asyncio.Queue[signal.Signals]()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked.put_nowait, number)
    width = max(len(program.name) for program in programs)
    reaper = await asyncio.create_subprocess_exec(
        sys.executable,
        reaping.__file__,
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    running: list[_Running] = []
    announcing = asyncio.create_task(_announce(ready, say))
    try:
        for program in programs:
            running.append(await _start(program, say, width))
            assert reaper.stdin is not None
            reaper.stdin.write(f"{running[-1].process.pid}\n".encode())
            await reaper.stdin.drain()
        stop = asyncio.ensure_future(asked.get())
        ends = {asyncio.create_task(one.process.wait()): one for one in running}
        done, _ = await asyncio.wait({stop, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if stop in done:
            say("Stopping. Unfinished work goes on at the next start.")
            return 0
        for task in done:
            say(f"{ends[task].program.name} {_how(task.result())}: stopping the rest.")
        return 1
    finally:
        announcing.cancel()
        await _stop(running, asked, grace_s)
        reaper.kill()
        await reaper.wait()


async def _start(program: Program, say: Callable[[str], None], width: int) -> _Running:
    process = await asyncio.create_subprocess_exec(
        *program.command,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **program.environment},
        cwd=Path(__file__).resolve().parents[2],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=partial(os.nice, program.niceness) if program.niceness else None,
    )
    assert process.stdout is not None
    prefix = f"{program.name:<{width}} | "
    relay = asyncio.create_task(_relay(process.stdout, lambda line: say(prefix + line)))
    return _Running(program, process, relay)


async def _relay(stream: asyncio.StreamReader, say: Callable[[str], None]) -> None:
    rest = b""
    while block := await stream.read(65_536):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            say(line.decode(errors="replace").rstrip("\r"))
    if rest:
        say(rest.decode(errors="replace"))


async def _announce(
    ready: Callable[[], str | None], say: Callable[[str], None]
) -> None:
    while not (line := await asyncio.to_thread(ready)):
        await asyncio.sleep(0.2)
    say(line)


async def _stop(
    running: Sequence[_Running], asked: asyncio.Queue[signal.Signals], grace_s: float
) -> None:
    """Ask each leader to end, wait, then kill whatever is left of every group."""
    for one in running:
        with contextlib.suppress(ProcessLookupError):
            one.process.send_signal(signal.SIGTERM)
    ended = asyncio.gather(*(one.process.wait() for one in running))
    impatient = asyncio.ensure_future(asked.get())  # a second Ctrl-C
    both: set[asyncio.Future[Any]] = {ended, impatient}
    await asyncio.wait(both, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
    impatient.cancel()
    for one in running:
        one.signal_group(signal.SIGKILL)
    await ended
    await asyncio.gather(*(one.relay for one in running))


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
