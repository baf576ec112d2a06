"""Rows of a compiled query to the records of a JSON answer."""

import json

from schema import ADDRESS_PARTS

def _number(value):
    return None if value is None else float(value)


def _whole(value):
    return None if value is None else int(value)


def _datetime(value):
    # Stored ...000Z; the REST API writes +0000, without a colon.
    return None if value is None else value[:-1] + "+0000"


def _same(value):
    return value


CONVERT = {"boolean": bool, "datetime": _datetime, "int": _whole,
           "long": _whole}
CONVERT.update(dict.fromkeys(("double", "currency", "percent"), _number))


def converter(field):
    return CONVERT.get(field.type, _same)


def address(column, row):
    """A compound address: ten keys in fixed order, or null."""
    out = dict.fromkeys(
        ("city", "country", "countryCode", "geocodeAccuracy", "latitude",
         "longitude", "postalCode", "state", "stateCode", "street"))
    for name, index in column.parts:
        for part in ADDRESS_PARTS:
            if name.endswith(part):
                out[part[0].lower() + part[1:]] = row[index]
    return out if any(v is not None for v in out.values()) else None


def location(column, row):
    values = {}
    for name, index in column.parts:
        key = "latitude" if "atitude" in name else "longitude"
        values[key] = row[index]
    if any(v is None for v in values.values()) or len(values) < 2:
        return None
    return {"latitude": values["latitude"], "longitude": values["longitude"]}


class Shaper:
    """Builds the records of one compiled query for one API version.

    A record's children fill at most one page; of more, keep(compiled, ids,
    page) takes the whole list and answers the name of a query locator.
    """

    def __init__(self, compiled, schema, api_version, page=2000, keep=None):
        self.compiled = compiled
        self.page = page
        self.keep = keep
        self.schema = schema
        self.base = "/services/data/v%s/sobjects/" % api_version
        self.api_version = api_version
        self.type = compiled.object.name
        self.plain = [(c.path[0], c.index, self.value(c))
                      for c in compiled.columns]
        self.nested = any(len(c.path) > 1 for c in compiled.columns) or (
            compiled.children or compiled.typeof)

    def value(self, column):
        """A function of the row that gives the column's JSON value."""
        kind = column.field.type
        if kind == "address":
            return lambda row: address(column, row)
        if kind == "location":
            return lambda row: location(column, row)
        if kind == "base64":
            return lambda row: row[column.index] and self.url(
                row[column.id_index]) + "/" + column.field.name or None
        convert, index = converter(column.field), column.index
        if convert is _same:
            return lambda row: row[index]
        return lambda row: convert(row[index])

    def url(self, record_id):
        obj = self.schema.object_of_id(record_id)
        return "%s%s/%s" % (self.base, obj.name if obj else self.type,
                            record_id)

    def attributes(self, record_id):
        return {"type": self.type,
                "url": "%s%s/%s" % (self.base, self.type, record_id)}

    def record(self, row, children=None):
        """One row; children maps relationship names to their results."""
        compiled = self.compiled
        if compiled.aggregate:
            out = {"attributes": {"type": "AggregateResult"}}
        else:
            out = {"attributes": self.attributes(row[compiled.id_index])}
        if not self.nested:
            for name, _, value in self.plain:
                out[name] = value(row)
            return out
        for path in compiled.order:         # keys in the order asked for
            out[path[0]] = None
        for path, relation in compiled.relations.items():
            self.put_parent(out, path, relation, row)
        for (_, _, value), column in zip(self.plain, compiled.columns):
            self.put(out, column, value, row)
        for child in compiled.children:
            out[child.name] = (children or {}).get(child.name)
        return out

    def put_parent(self, out, path, relation, row):
        """The parent's object with its attributes, or null."""
        for name in path[:-1]:
            out = out.get(name)
            if out is None:
                return
        record_id = row[relation.id_index]
        obj = record_id and self.schema.object_of_id(record_id)
        if not obj or (relation.typeof is not None
                       and obj.name not in relation.typeof):
            out[path[-1]] = None
            return
        kind = obj.name
        if relation.polymorphic and relation.typeof is None:
            kind = "Name"
        out[path[-1]] = {"attributes": {"type": kind,
                                        "url": self.url(record_id)}}

    def put(self, out, column, value, row):
        for name in column.path[:-1]:
            out = out.get(name)
            if out is None:
                return
        if column.type_name is not None and (
                out["attributes"]["type"] != column.type_name):
            return
        out[column.path[-1]] = value(row)

    def records(self, connection, rows):
        """Many rows, with the results of their sub-queries."""
        rows = list(rows)
        children = self.children_of(connection, rows)
        index = self.compiled.id_index
        return [self.record(row, children.get(row[index])
                            if children else None) for row in rows]

    def children_of(self, connection, rows):
        """{parent id: {relationship: result}}"""
        out = {}
        parents = [row[self.compiled.id_index]
                   for row in rows] if self.compiled.children else []
        for child in self.compiled.children:
            inner = child.compiled
            shaper = Shaper(inner, self.schema, self.api_version)
            params = [json.dumps(parents)] + list(inner.params)
            found = {}
            for row in connection.execute(inner.sql, params):
                found.setdefault(row[inner.parent_index], []).append(row)
            for parent, theirs in found.items():
                start = inner.offset or 0
                stop = None if inner.limit is None else start + inner.limit
                theirs = theirs[start:stop]
                if theirs:
                    out.setdefault(parent, {})[child.name] = (
                        self.result_of(shaper, theirs))
        return out

    def result_of(self, shaper, rows):
        """The result of a sub-query for one record, or its first page."""
        inner = shaper.compiled
        out = {"totalSize": len(rows), "done": True}
        if self.keep is not None and len(rows) > self.page:
            name = self.keep(inner, [row[inner.id_index] for row in rows],
                             self.page)
            out["done"] = False
            out["nextRecordsUrl"] = "/services/data/v%s/query/%s-%d" % (
                self.api_version, name, self.page)
            rows = rows[:self.page]
        out["records"] = [shaper.record(row) for row in rows]
        return out
