"""WHERE and HAVING: conditions to SQL.

Nulls follow SOQL: a null is unequal to every value and in no list, and NOT
turns what does not hold, for whatever reason, into what does.
"""

import datetime

import ids
import soql_dates
import soql_parse
from schema import IDS, NUMBERS, TEXT
from soql_names import Names


def fold(text):
    return None if text is None else str(text).casefold()


def lower_bound(tree):
    """The least SystemModstamp that a condition can hold for, or None."""
    if isinstance(tree, soql_parse.Junction):
        bounds = [lower_bound(term) for term in tree.terms]
        if tree.op == "OR":
            return None if None in bounds else min(bounds)
        return max((b for b in bounds if b is not None), default=None)
    if (isinstance(tree, soql_parse.Compare) and tree.op in (">", ">=", "=")
            and isinstance(tree.field, soql_parse.Path)
            and tree.field.parts[-1].lower() == "systemmodstamp"
            and len(tree.field.parts) == 1
            and tree.value.kind == "datetime"):
        return soql_dates.stored_datetime(tree.value.value)
    return None


class Conditions(Names):
    """Makes SQL of conditions; their values go to self.params in order."""

    def __init__(self, query, schema, user, now):
        super().__init__(query, schema, user, now)
        self.params = []

    def condition(self, tree):
        if isinstance(tree, soql_parse.Junction):
            parts = [self.condition(term) for term in tree.terms]
            sql = "(%s)" % (" %s " % tree.op).join(parts)
            return sql if tree.op == "AND" else self.with_bound(tree, sql)
        if isinstance(tree, soql_parse.Not):
            return "(NOT ifnull(%s, 0))" % self.condition(tree.term)
        if isinstance(tree, soql_parse.Compare):
            return self.compare(tree)
        if isinstance(tree, soql_parse.Within):
            return self.within(tree)
        return self.includes(tree)

    def with_bound(self, tree, sql):
        """Add the bound on SystemModstamp that every arm of an OR implies.

        stamp > T OR (stamp = T AND Id > x) means stamp >= T, which lets
        SQLite walk the index on (SystemModstamp, Id) from T on instead of
        gathering both arms and sorting.
        """
        bound = lower_bound(tree)
        if bound is None or self.root.object.field("SystemModstamp") is None:
            return sql
        self.params.append(bound)
        return '(%s AND %s."SystemModstamp" >= ?)' % (sql, self.root.alias)

    def filterable(self, operand, pos):
        if not operand.field.filterable or operand.field.compound:
            self.fail("INVALID_FIELD", pos,
                      "field '%s' can not be filtered in a query call"
                      % operand.field.name)

    def bad_operator(self, tree, operand):
        self.fail("INVALID_QUERY_FILTER_OPERATOR", operand.pos,
                  "invalid operator on %s field"
                  % {"reference": "id", "boolean": "boolean"}.get(
                      operand.field.type, operand.field.type))

    def compare(self, tree):
        operand = self.operand(tree.field)
        self.filterable(operand, operand.pos)
        kind = operand.field.type
        op, value = tree.op, tree.value
        if op == "LIKE":
            return self.like(tree, operand)
        if op not in ("=", "!=") and kind in ("boolean", "multipicklist"):
            self.bad_operator(tree, operand)
        if value.kind == "literal":
            return self.in_span(operand, op, value)
        stored = self.stored(operand, value)
        if stored is None:
            return self.compare_null(operand, op, tree)
        expr = operand.expr
        collate = ""
        if kind in TEXT:
            if stored.isascii():
                collate = " COLLATE NOCASE"
            else:
                expr = "sf_fold(%s)" % expr
                stored = fold(stored)
        self.params.append(stored)
        if op == "!=":
            sql = "%s <> ?%s" % (expr, collate)
            # A null is unequal to every value.
            if operand.field.nillable or not operand.root:
                sql = "(%s OR %s IS NULL)" % (sql, operand.expr)
            return sql
        return "%s %s ?%s" % (expr, op, collate)

    def compare_null(self, operand, op, tree):
        if op not in ("=", "!="):
            if operand.field.type in IDS and tree.value.kind == "string":
                self.bad_id(operand, "")
            return "0"
        if operand.field.type == "boolean" and operand.root:
            return "0" if op == "=" else "1"
        return "%s IS %sNULL" % (operand.expr, "NOT " if op == "!=" else "")

    def like(self, tree, operand):
        kind = operand.field.type
        if kind not in TEXT or kind == "multipicklist":
            self.bad_operator(tree, operand)
        pattern = self.stored(operand, tree.value)
        if pattern is None:
            return "%s IS NULL" % operand.expr
        expr = operand.expr
        if not pattern.isascii():
            expr = "sf_fold(%s)" % expr
            pattern = fold(pattern)
        # The parser has left just those escapes that SQLite needs.
        self.params.append(pattern)
        return "%s LIKE ? ESCAPE '\\'" % expr

    def in_span(self, operand, op, value):
        kind = operand.field.type
        if kind not in ("date", "datetime"):
            self.wrong_type(operand, kind)
        first, last = soql_dates.span(value.value, value.n or 0,
                                      self.now.date())
        write = (soql_dates.midnight if kind == "datetime"
                 else datetime.date.isoformat)
        low, high = write(first), write(last)
        if op == "<":
            self.params.append(low)
            return "%s < ?" % operand.expr
        if op == ">":
            self.params.append(high)
            return "%s >= ?" % operand.expr
        if op == "<=":
            self.params.append(high)
            return "%s < ?" % operand.expr
        if op == ">=":
            self.params.append(low)
            return "%s >= ?" % operand.expr
        self.params += [low, high]
        sql = "(%s >= ? AND %s < ?)" % (operand.expr, operand.expr)
        return sql if op == "=" else "(NOT ifnull(%s, 0))" % sql

    def within(self, tree):
        operand = self.operand(tree.field)
        self.filterable(operand, operand.pos)
        expr = operand.expr
        if isinstance(tree.values, soql_parse.SubQuery):
            sql = "%s IN (%s)" % (expr, self.semi_join(operand, tree.values))
            has_null = False
        else:
            sql, has_null = self.in_list(operand, tree.values)
        if tree.negated:
            # As for !=, a null is in no list, unless the list names it.
            return "(NOT ifnull(%s, %d))" % (sql, has_null)
        return "(%s OR %s IS NULL)" % (sql, expr) if has_null else sql

    def in_list(self, operand, values):
        kind = operand.field.type
        if any(v.kind == "literal" for v in values):
            sql = " OR ".join(self.in_span(operand, "=", v) for v in values)
            return "(%s)" % sql, False
        stored = [self.stored(operand, v) for v in values]
        has_null = None in stored
        stored = [v for v in stored if v is not None]
        if not stored:
            return "0", has_null
        expr = operand.expr
        if kind in TEXT:
            if all(v.isascii() for v in stored):
                expr += " COLLATE NOCASE"
            else:
                expr = "sf_fold(%s)" % expr
                stored = [fold(v) for v in stored]
        self.params += stored
        return "%s IN (%s)" % (expr, ", ".join("?" * len(stored))), has_null

    def semi_join(self, operand, sub):
        if operand.field.type not in IDS:
            self.fail("INVALID_QUERY_FILTER_OPERATOR", operand.pos,
                      "The left operand field in the where expression must "
                      "be an id or a reference for a semi-join")
        inner = type(self)(sub.query, self.schema, self.user, False, self.now)
        if len(sub.query.fields) != 1 or not isinstance(
                sub.query.fields[0], soql_parse.Path):
            self.fail("MALFORMED_QUERY", sub.pos,
                      "The inner select field of a semi-join must be one "
                      "id or reference field")
        target = inner.resolve(sub.query.fields[0])
        if target.field.type not in IDS:
            self.fail("MALFORMED_QUERY", sub.query.fields[0].pos,
                      "The inner select field '%s' cannot have more than "
                      "one level of relationships and must be an id"
                      % target.field.name)
        where = inner.where_sql()
        self.params += inner.params
        return "SELECT %s %s WHERE %s IS NOT NULL%s" % (
            target.expr, inner.from_sql(), target.expr,
            " AND " + where if where else "")

    def includes(self, tree):
        operand = self.operand(tree.field)
        if operand.field.type != "multipicklist":
            self.fail("INVALID_QUERY_FILTER_OPERATOR", operand.pos,
                      "includes and excludes are only for multi-select "
                      "picklist fields")
        arms = []
        for value in tree.values:
            text = self.stored(operand, value)
            if text is None:
                arms.append("%s IS NULL" % operand.expr)
                continue
            each = []
            # 'A;B' asks for both; instr() on ;value; finds whole values.
            for part in text.split(";"):
                self.params.append(";%s;" % fold(part))
                each.append("instr(sf_fold(';' || %s || ';'), ?) > 0"
                            % operand.expr)
            arms.append("(%s)" % " AND ".join(each))
        sql = "(%s)" % " OR ".join(arms)
        return "(NOT ifnull(%s, 0))" % sql if tree.negated else sql

    # Values -----------------------------------------------------------------

    def wrong_type(self, operand, kind):
        quotes = ("be enclosed in quotes"
                  if kind in TEXT + IDS else "not be enclosed in quotes")
        name = {"datetime": "dateTime", "reference": "ID", "id": "ID"}.get(
            kind, "string" if kind in TEXT else kind)
        self.fail("INVALID_FIELD", operand.pos,
                  "value of filter criterion for field '%s' must be of type "
                  "%s and should %s" % (operand.field.name, name, quotes))

    def bad_id(self, operand, text):
        self.fail("INVALID_QUERY_FILTER_OPERATOR", operand.pos,
                  "invalid ID field: %s" % text)

    def stored(self, operand, value):
        """A literal as the store would hold it; None for null."""
        kind = operand.field.type
        if value.kind == "null":
            return None
        if kind in TEXT or kind == "anyType":
            if value.kind != "string":
                self.wrong_type(operand, kind)
            return value.value or None
        if kind in IDS:
            if value.kind != "string":
                self.wrong_type(operand, kind)
            if not value.value:
                return None
            if not ids.well_formed(value.value):
                self.bad_id(operand, value.value)
            return ids.long_form(value.value)
        if kind == "boolean":
            if value.kind != "boolean":
                self.wrong_type(operand, kind)
            return int(value.value)
        if kind in NUMBERS:
            if value.kind != "number":
                self.wrong_type(operand, kind)
            try:
                return int(value.value)
            except ValueError:
                return float(value.value)
        return self.stored_moment(operand, value, kind)

    def stored_moment(self, operand, value, kind):
        if value.kind != kind:
            self.wrong_type(operand, kind)
        if kind == "time":
            return value.value[:8] + ".000Z"
        write = (soql_dates.stored_date if kind == "date"
                 else soql_dates.stored_datetime)
        stored = write(value.value)
        if stored is None:
            self.fail("MALFORMED_QUERY", value.pos,
                      "line 1:%d no viable alternative at input '%s'"
                      % (value.pos + 1, value.value))
        return stored
