"""What a model has answered in an evaluation, durably, by question. Knows no evaluation."""

import sqlite3

from blip_serve.jobs.record import Record


class Answers(Record):
    """The answers of one model to one data set. Use it in a `with`.

    They are in SQLite, and not in a bulk run's parts: they are looked up by question, are of several kinds, and what
    is asked may depend on answers before it. All methods raise `OSError` where the file cannot be read or written.
    """

    file = "answers.db"
    schema = "CREATE TABLE IF NOT EXISTS answer (question TEXT PRIMARY KEY, answer BLOB NOT NULL);"
    other = "another --out; or, to begin anew, delete {named}"

    def find(self, question: str) -> bytes | None:
        """The answer that was kept, if there is one."""
        found = next(self._rows("SELECT answer FROM answer WHERE question = ?", question), None)
        return None if found is None else bytes(found[0])

    def keep(self, question: str, answer: bytes) -> None:
        """Keeps an answer. Returns when it is on disk. Only one thread at a time may call it."""
        with self._writing() as database:
            database.execute("INSERT INTO answer VALUES (?, ?)", [question, sqlite3.Binary(answer)])
