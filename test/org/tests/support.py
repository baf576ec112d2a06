"""What several tests of the simulated org share."""

import datetime
import os
import sqlite3
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ORG = os.path.dirname(HERE)
if ORG not in sys.path:
    sys.path.insert(0, ORG)

import schema                           # noqa: E402
import seed                             # noqa: E402
import soql                             # noqa: E402
from soql_rows import Shaper            # noqa: E402

NOW = datetime.datetime(2026, 3, 1, 12, 30, 15, tzinfo=datetime.timezone.utc)
YEAR = datetime.timedelta(days=365)


class Viewer:
    """A user as soql sees one."""

    def __init__(self, hidden=(), hidden_objects=()):
        self.hidden = set(hidden)
        self.hidden_objects = set(hidden_objects)


class Tables:
    """An org's tables in memory, and queries over them."""

    def __init__(self, person_accounts=False):
        self.schema = schema.Schema.default(person_accounts)
        self.open()

    def open(self):
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        soql.prepare(self.connection)
        for obj in self.schema.objects:
            self.connection.execute(obj.create_table())

    def index(self):
        for obj in self.schema.objects:
            for statement in obj.create_indexes():
                self.connection.execute(statement)

    def fill(self, leads=500, number=7, **counts):
        return seed.populate(self.connection, self.schema, number,
                             seed.default_counts(leads, **counts),
                             NOW - YEAR, NOW)

    def add(self, object_name, **values):
        obj = self.schema.object(object_name)
        for field in obj.stored_fields:
            if field.type == "boolean":
                values.setdefault(field.name, 0)
        self.connection.execute('INSERT INTO "%s" (%s) VALUES (%s)' % (
            obj.name, ", ".join('"%s"' % name for name in values),
            ", ".join("?" * len(values))), list(values.values()))

    def compile(self, text, user=None, **options):
        options.setdefault("now", NOW)
        return soql.compile(soql.parse(text), self.schema, user, **options)

    def rows(self, text, user=None, **options):
        compiled = self.compile(text, user, **options)
        return self.connection.execute(compiled.sql, compiled.params)

    def records(self, text, user=None, **options):
        compiled = self.compile(text, user, **options)
        rows = self.connection.execute(compiled.sql, compiled.params)
        return Shaper(compiled, self.schema, "62.0").records(
            self.connection, rows)

    def value(self, text, *params):
        return self.connection.execute(text, params).fetchone()[0]
