"""Admission: the rows that wait for a slot, within bounds, and whose turn it is. Runs no model."""

import threading
from itertools import islice

from nextword.decoding.job import Job
from nextword.decoding.row import Row
from nextword.decoding.shares import Shares


class QueueFull(RuntimeError):  # noqa: N818 - a state, as queue.Full is
    """More rows or tokens would wait than may. seconds: after which it is worth asking again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Admission:
    """Jobs whose rows wait for slots.

    The next row is one of the job of the lowest priority number, of those of the client that has been served the fewest
    tokens, of those of the job that came first. Clients whose names agree up to a slash are one client to all others,
    and share among each other what it gets. A job gets one slot at a time: many rows starve nobody.

    rows, tokens: how many may wait at most, None for any number; beyond, only if nobody waits. lock: held by who
    changes what other threads see.
    """

    def __init__(self, rows: int | None, tokens: int | None) -> None:
        self.most_rows, self.most_tokens = rows, tokens
        self.rows = self.tokens = 0  # that wait, those of jobs on their way to the thread among them
        self.rejected = 0
        self.works = 0  # that have not ended, and generate nothing
        self.lock = threading.Lock()
        self._jobs: dict[Job, int] = {}  # and the next row of each
        self._queues: dict[tuple[int, str], dict[Job, int]] = {}  # by priority and client: jobs, how many came before
        self._came = 0
        self._clients, self._groups = Shares(), Shares()

    def __len__(self) -> int:
        """Jobs with rows that wait."""
        return len(self._jobs)

    def reserve(self, job: Job, free: int, rate: float) -> None:
        """Count a job's rows as waiting, from any thread. free: slots that are; rate: tokens served a second.

        Raises QueueFull.
        """
        rows, tokens = len(job.rows), job.tokens
        with self.lock:
            full = self.most_rows is not None and self.rows + rows > self.most_rows + free
            full |= self.most_tokens is not None and self.tokens + tokens > self.most_tokens
            if full and self.rows:
                self.rejected += 1
                seconds = self.tokens / rate if rate else 1.0
                raise QueueFull(f"engine: its queue takes {self.most_rows} rows and "
                                f"{'any number of' if self.most_tokens is None else self.most_tokens} tokens, and "
                                f"{self.rows} rows of {self.tokens} tokens wait; ask again in {seconds:.1f} s", seconds)
            self.rows += rows
            self.tokens += tokens

    def reserve_work(self) -> None:
        """Count work that is no job, from any thread. Raises QueueFull where as much is there as rows may wait."""
        with self.lock:
            if self.most_rows is not None and self.works >= self.most_rows:
                self.rejected += 1
                raise QueueFull(f"engine: {self.works} pieces of work wait, as many as may; ask again in 1 s", 1.0)
            self.works += 1

    def release_work(self) -> None:
        """Work has ended, whoever ended it."""
        with self.lock:
            self.works -= 1

    def add(self, job: Job) -> None:
        """A job that was reserved takes its place in the queue."""
        group, rows = _group(job.client), len(job.rows)
        self._groups.come(group, rows, self._groups.least(self._groups.there))
        sharing = (one for one in self._clients.there if _group(one) == group)
        self._clients.come(job.client, rows, self._clients.least(sharing, self._groups.served[group]))
        self._jobs[job] = 0
        self._queues.setdefault((job.priority, job.client), {})[job] = self._came
        self._came += 1

    def next(self) -> tuple[Job, int]:
        """The row whose turn it is, by job and number; it waits no longer. Its prompt counts as served."""
        clients, groups = self._clients.served, self._groups.served
        _, job = min(((priority, groups[_group(client)], clients[client], came), job)
                     for (priority, client), queue in self._queues.items() for job, came in islice(queue.items(), 1))
        number = self._jobs[job]
        if number + 1 == len(job.rows):
            self._forget(job)
        else:
            self._jobs[job] = number + 1
        self._less(job.rows[number : number + 1])
        self.served(job.client, len(job.rows[number].prompt))
        return job, number

    def release(self, job: Job) -> None:
        """A job that was reserved does not come."""
        self._less(job.rows)

    def jobs(self) -> list[Job]:
        """Those with rows that wait."""
        return list(self._jobs)

    def drop(self, job: Job) -> None:
        """A job's rows wait no longer."""
        if job in self._jobs:
            number = self._forget(job)
            self._less(job.rows[number:])
            self.left(job.client, len(job.rows) - number)

    def served(self, client: str, tokens: int) -> None:
        """A client got so many tokens."""
        self._clients.add(client, tokens)
        self._groups.add(_group(client), tokens)

    def left(self, client: str, rows: int) -> None:
        """So many of a client's rows have ended."""
        self._clients.leave(client, rows)
        self._groups.leave(_group(client), rows)

    def _forget(self, job: Job) -> int:
        """None of a job's rows wait any longer; the number of the first that does by now."""
        queue = self._queues[job.priority, job.client]
        del queue[job]
        if not queue:
            del self._queues[job.priority, job.client]
        return self._jobs.pop(job)

    def _less(self, rows: list[Row]) -> None:
        with self.lock:
            self.rows -= len(rows)
            self.tokens -= sum(len(row) + row.remaining for row in rows)


def _group(client: str) -> str:
    """Whom a client shares with."""
    return client.partition("/")[0]
