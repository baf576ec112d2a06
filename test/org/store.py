"""The org's database: many readers, one writer, and transactions that are held open.

A held transaction is a journal. Each of its steps runs in a real transaction of its own, on top of
what the journal holds so far, and is rolled back after its statements have been added to the
journal; committing replays them all. So its rows carry the stamps of when they were written, are
seen by nobody before the commit, and do not keep others from writing other rows meanwhile.
"""

import contextlib
import json
import os
import sqlite3
import threading

import ids
import soql
from clock import to_stored

TABLES = """
CREATE TABLE IF NOT EXISTS "sys_meta" (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS "sys_deleted" (object TEXT, id TEXT, deleted TEXT, root TEXT,
    PRIMARY KEY (object, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS "sys_deleted.root" ON "sys_deleted" (root);
CREATE TABLE IF NOT EXISTS "sys_cleared" (root TEXT, object TEXT, id TEXT, field TEXT, value TEXT,
    PRIMARY KEY (root, object, id, field)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS "sys_undeleted" (object TEXT, id TEXT, deleted TEXT,
    PRIMARY KEY (object, id, deleted)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS "sys_deleted.deleted" ON "sys_deleted" (object, deleted);
"""


class RowLocked(Exception):
    """Another transaction has changed this row and is still open."""

    def __init__(self, record_id):
        super().__init__(record_id)
        self.record_id = record_id


class Held:
    """A transaction of another user that takes its time."""

    def __init__(self, name, started):
        self.name = name
        self.started = started      # seconds, of the org's clock
        self.journal = []           # (sql, parameters, many)
        self.rows = set()           # ids that it has changed
        self.unique = set()         # (object, field, value) that it has taken


class Writer:
    """What a change may do to the database while it has the write lock."""

    def __init__(self, store, connection, held):
        self.store = store
        self.connection = connection
        self.held = held
        self.journal = []
        self.rows = set()
        self.unique = set()

    def query(self, sql, params=()):
        return self.connection.execute(sql, params)

    def lock(self, record_id):
        """Take the row lock of a record; fails where a held transaction has it."""
        owner = self.store.row_locks.get(record_id)
        if owner is not None and owner is not self.held:
            raise RowLocked(record_id)
        self.rows.add(record_id)

    def execute(self, sql, params=()):
        cursor = self.connection.execute(sql, params)
        self.journal.append((sql, params, False))
        return cursor

    def execute_many(self, sql, rows):
        self.connection.executemany(sql, rows)
        self.journal.append((sql, rows, True))

    @contextlib.contextmanager
    def savepoint(self):
        """Undo what is done inside when it raises."""
        mark, rows = len(self.journal), set(self.rows)
        self.connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK TO part")
            del self.journal[mark:]
            self.rows = rows
            raise
        finally:
            self.connection.execute("RELEASE part")


class Store:
    def __init__(self, path, schema, clock):
        self.path = path
        self.schema = schema
        self.clock = clock
        self.version = 0                # grows with every commit
        self.row_locks = {}             # id -> Held
        self.held = {}                  # name -> Held
        self._held_count = 0
        self._lock = threading.RLock()
        self._local = threading.local()
        self._next_id = {}
        self.is_new = not os.path.exists(path)
        self._writer = self.connect()
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.executescript(TABLES)

    def connect(self):
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False,
                                     timeout=60)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA mmap_size = 4294967296")
        connection.execute("PRAGMA temp_store = MEMORY")
        soql.prepare(connection)
        return connection

    @property
    def reader(self):
        """This thread's own connection: it sees what is committed, and what it is writing."""
        writer = getattr(self._local, "writer", None)
        if writer is not None:
            return writer.connection
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self.connect()
        return connection

    # -- tables ------------------------------------------------------------------------------

    def create_tables(self):
        with self._lock:
            for obj in self.schema.objects:
                self._writer.execute(
                    obj.create_table().replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))

    def create_indexes(self):
        with self._lock:
            for obj in self.schema.objects:
                for statement in obj.create_indexes():
                    self._writer.execute(statement)
                # a delete looks for what refers to the record within its own object too
                for field in obj.stored_fields:
                    if obj.name in field.reference_to and field.updateable:
                        self._writer.execute('CREATE INDEX IF NOT EXISTS "%s.%s" ON "%s" ("%s")'
                                             % (obj.name, field.name, obj.name, field.name))
            self._writer.execute("PRAGMA analysis_limit = 1000")
            self._writer.execute("ANALYZE")

    def writer_for_seed(self):
        """The bare connection, for filling tables before anybody reads them."""
        return self._writer

    def note_deleted(self):
        """Enter the rows that came deleted into the log of deletes."""
        with self._lock:
            for obj in self.schema.objects:
                if obj.field("IsDeleted") and obj.field("SystemModstamp"):
                    self._writer.execute(
                        'INSERT OR IGNORE INTO sys_deleted SELECT ?, "Id", "SystemModstamp", "Id" '
                        'FROM "%s" WHERE "IsDeleted" = 1' % obj.name, (obj.name,))

    def add_table(self, obj):
        with self._lock:
            self._writer.execute(obj.create_table())
            for statement in obj.create_indexes():
                self._writer.execute(statement)
            self.version += 1

    def add_column(self, obj, field):
        """A column for a new field. One that was dropped and comes again starts empty."""
        with self._lock:
            if field.stored:
                have = [row[1] for row in
                        self._writer.execute('PRAGMA table_info("%s")' % obj.name)]
                if field.name in have:
                    self._writer.execute('UPDATE "%s" SET "%s" = NULL' % (obj.name, field.name))
                else:
                    self._writer.execute('ALTER TABLE "%s" ADD COLUMN "%s" %s'
                                         % (obj.name, field.name, field.sqlite_type))
                for statement in obj.create_indexes():
                    self._writer.execute(statement)
            self.version += 1

    def rename_column(self, obj, old, new):
        with self._lock:
            have = [row[1] for row in self._writer.execute('PRAGMA table_info("%s")' % obj.name)]
            if new in have:
                self._writer.execute('DROP INDEX IF EXISTS "%s.%s"' % (obj.name, new))
                self._writer.execute('ALTER TABLE "%s" DROP COLUMN "%s"' % (obj.name, new))
            self._writer.execute('ALTER TABLE "%s" RENAME COLUMN "%s" TO "%s"'
                                 % (obj.name, old, new))
            self.version += 1

    # -- small things that outlive a restart ---------------------------------------------------

    def get_meta(self, name, default=None):
        row = self.reader.execute("SELECT value FROM sys_meta WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else default

    def set_meta(self, name, value):
        with self._lock:
            self._writer.execute("INSERT OR REPLACE INTO sys_meta VALUES (?, ?)",
                                 (name, json.dumps(value)))

    def new_id(self, obj):
        """An id that was never given before. Numbers that roll back are lost, as sequences' are."""
        with self._lock:
            if obj.name not in self._next_id:
                row = self._writer.execute('SELECT max("Id") FROM "%s"' % obj.name).fetchone()
                gone = self._writer.execute("SELECT max(id) FROM sys_deleted WHERE object = ?",
                                            (obj.name,)).fetchone()
                self._next_id[obj.name] = max(
                    self.get_meta("last_id." + obj.name, 0),
                    _number_of(row[0], obj.key_prefix), _number_of(gone[0], obj.key_prefix))
            self._next_id[obj.name] += 1
            return ids.make(obj.key_prefix, self._next_id[obj.name])

    # -- writing -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def write(self, tx=None):
        """One transaction, or one step of a held one. Inside another one it is a part of that."""
        outer = getattr(self._local, "writer", None)
        if outer is not None:
            with outer.savepoint():
                yield outer
            return
        with self._lock:
            held = self.held_named(tx) if tx else None
            connection = self._writer
            writer = Writer(self, connection, held)
            connection.execute("BEGIN IMMEDIATE")
            self._local.writer = writer
            try:
                if held:
                    replay(connection, held.journal)
                yield writer
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            finally:
                self._local.writer = None
            if held:
                connection.execute("ROLLBACK")
                held.journal += writer.journal
                held.rows |= writer.rows
                held.unique |= writer.unique
                for record_id in writer.rows:
                    self.row_locks[record_id] = held
            else:
                connection.execute("COMMIT")
                self.version += 1

    def held_named(self, name):
        if name not in self.held:
            raise KeyError("no open transaction %s" % name)
        return self.held[name]

    def begin(self):
        with self._lock:
            self._held_count += 1
            held = Held("tx%d" % self._held_count, self.clock.now())
            self.held[held.name] = held
            return held

    def commit(self, name):
        with self._lock:
            held = self.held_named(name)
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                replay(self._writer, held.journal)
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")
            self._forget(held)
            self.version += 1
            return held

    def rollback(self, name):
        with self._lock:
            self._forget(self.held_named(name))

    def _forget(self, held):
        del self.held[held.name]
        for record_id in held.rows:
            self.row_locks.pop(record_id, None)

    def oldest_open(self):
        """When the oldest transaction that is still open began, or None."""
        with self._lock:
            return min((held.started for held in self.held.values()), default=None)

    def close(self):
        with self._lock:
            for name, number in self._next_id.items():
                self.set_meta("last_id." + name, number)
            self._writer.close()

    # -- deletes -------------------------------------------------------------------------------

    def deleted_between(self, obj, start, end):
        return self.reader.execute(
            "SELECT id, deleted FROM (SELECT object, id, deleted FROM sys_deleted "
            "UNION SELECT object, id, deleted FROM sys_undeleted) "
            "WHERE object = ? AND deleted >= ? AND deleted <= ? ORDER BY deleted, id",
            (obj.name, to_stored(start), to_stored(end))).fetchall()

    def empty_bin(self, before):
        """Purge what has lain in the recycle bin since before a stamp. The log keeps it."""
        with self.write() as writer:
            for obj in self.schema.objects:
                if obj.field("IsDeleted"):
                    writer.execute(
                        'DELETE FROM "%s" WHERE "IsDeleted" = 1 AND "Id" IN (SELECT id FROM '
                        'sys_deleted WHERE object = ? AND deleted < ?)' % obj.name,
                        (obj.name, before))


def replay(connection, journal):
    for sql, params, many in journal:
        if many:
            connection.executemany(sql, params)
        else:
            connection.execute(sql, params)


def _number_of(record_id, prefix):
    """The running number in an id of ours."""
    if not record_id or not record_id.startswith((prefix or "") + ids.POD):
        return 0
    number = 0
    for char in record_id[6:15]:
        number = number * 62 + ids.BASE62.index(char)
    return number
