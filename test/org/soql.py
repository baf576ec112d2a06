"""SOQL to SQL: what a query tree means over the store's SQLite tables.

    query = soql.parse(text)
    compiled = soql.compile(query, schema, user)
    for row in connection.execute(compiled.sql, compiled.params): ...

A row holds the values of compiled.columns in their order, then the hidden
ones that soql_rows needs to build JSON.  compiled.count_sql, id_sql and
by_ids_sql serve paging, csv_sql() Bulk results.  prepare() readies a
connection.

Fields that the user cannot see do not exist for him; formulas see all.
"""

import datetime
import re

import ids
import soql_dates
import soql_parse
from schema import COMPOUND, IDS, NUMBERS, TEXT, Field
from soql_parse import SoqlError, fail, parse, parse_condition  # noqa: F401

MAX_OFFSET = 2000
MAX_FIELDS_LIMIT = 200

# What can be asked of a polymorphic parent without TYPEOF: the fields of the
# object Name, which stands for all that could be there.
NAME_FIELDS = frozenset(("alias", "email", "firstname", "id", "isactive",
                         "lastname", "name", "phone", "profileid", "title",
                         "type", "username", "userroleid"))

NO_COLUMN = ("No such column '%s' on entity '%s'. If you are attempting to "
             "use a custom field, be sure to append the '__c' after the "
             "custom field name. Please reference your WSDL or the describe "
             "call for the appropriate names.")
NO_RELATIONSHIP = ("Didn't understand relationship '%s' in %s. If you are "
                   "attempting to use a custom relationship, be sure to "
                   "append the '__r' after the custom relationship name. "
                   "Please reference your WSDL or the describe call for the "
                   "appropriate names.")
NO_OBJECT = ("sObject type '%s' is not supported. If you are attempting to "
             "use a custom object, be sure to append the '__c' after the "
             "entity name. Please reference your WSDL or the describe call "
             "for the appropriate names.")


def prepare(connection):
    """Add to a connection what compiled queries call."""
    connection.create_function("sf_fold", 1, _fold, deterministic=True)


def _fold(text):
    return None if text is None else str(text).casefold()


def visible(user, obj, field=None):
    """May the user see the object, or a field of it?"""
    if user is None:
        return True
    if obj.name in user.hidden_objects:
        return False
    return field is None or (obj.name, field.name) not in user.hidden


class Column:
    """One value that the query asks for."""

    def __init__(self, path, field, index, expr):
        self.path = path                # ("Owner", "Name") in proper case
        self.field = field
        self.index = index              # in the row
        self.expr = expr                # SQL
        self.parts = []                 # compound: (field name, row index)
        self.id_index = None            # base64: where its record's id is
        self.type_name = None           # TYPEOF: only where parent is such

    @property
    def name(self):
        """The CSV header."""
        return ".".join(self.path)

    def __repr__(self):
        return "<Column %s>" % self.name


class Relation:
    """A parent that columns are taken from."""

    def __init__(self, path, id_index, polymorphic):
        self.path = path
        self.id_index = id_index        # of the parent's id in the row
        self.polymorphic = polymorphic
        self.typeof = None              # {type name: branch} of a TYPEOF


class Child:
    """A sub-query: the children of each row."""

    def __init__(self, name, compiled, index):
        self.name = name                # of the relationship
        self.compiled = compiled        # its SQL takes a JSON list of ids
        self.index = index              # position among the select items


class Compiled:
    def __init__(self, query, obj):
        self.query = query
        self.object = obj
        self.sql = self.count_sql = self.id_sql = self.by_ids_sql = None
        self.tail = None                # the SQL from FROM on
        self.params = []
        self.columns = []
        self.relations = {}             # path -> Relation
        self.children = []
        self.id_index = None            # of the record's own id in the row
        self.parent_index = None        # sub-query: of the parent's id
        self.count_only = False
        self.aggregate = False
        self.typeof = False
        self.fields_function = False
        self.order = []                 # output paths in select order
        self.limit = query.limit
        self.offset = query.offset

    @property
    def has_compound(self):
        return any(c.field.compound for c in self.columns)

    @property
    def has_base64(self):
        return any(c.field.type == "base64" for c in self.columns)

    def csv_sql(self, delimiter=",", newline="\n"):
        """SQL that gives each row as one finished line of CSV."""
        gap = " || '\"%s\"' || " % delimiter.replace("'", "''")
        line = gap.join(_csv_value(c.expr, c.field.type)
                        for c in self.columns)
        end = "".join("char(%d) || " % ord(c) for c in newline)[:-4]
        return "SELECT '\"' || %s || '\"' || %s %s" % (line, end, self.tail)


def _csv_value(expr, kind):
    if kind == "boolean":
        return "CASE WHEN %s THEN 'true' ELSE 'false' END" % expr
    if kind in ("double", "currency", "percent"):
        # SQLite writes 15 digits; a value that needs more gets them.
        return ("CASE WHEN {0} IS NULL THEN '' WHEN CAST(CAST({0} AS TEXT) "
                "AS REAL) = {0} THEN {0} ELSE printf('%!.17g', {0}) END"
                .format(expr))
    if kind in TEXT or kind == "anyType":
        return "ifnull(replace(%s, '\"', '\"\"'), '')" % expr
    return "ifnull(%s, '')" % expr


class Node:
    """A table in the FROM clause: the object's own, or a parent's."""

    def __init__(self, obj, alias):
        self.object = obj
        self.alias = alias

    def column(self, field):
        return '%s."%s"' % (self.alias, field.name)


class Operand:
    """What a condition, an order or a select item is about."""

    def __init__(self, expr, field, path, pos, root=False):
        self.expr = expr
        self.field = field
        self.path = path
        self.pos = pos
        self.root = root                # a column of the object's own table
        self.nodes = ()
        self.aggregate = False
        self.relation = None            # (out path, polymorphic, id expr)s


class Compiler:
    def __init__(self, query, schema, user, all_rows, now, parent=None):
        self.query = query
        self.schema = schema
        self.user = user
        self.all_rows = all_rows
        self.now = now
        self.parent = parent            # ChildRelationship of a sub-query
        self.text = query.text
        self.joins = []
        self.nodes = {}
        self.params = []
        self.hidden = []                # expressions behind the columns
        obj = parent.child if parent else self.find_object()
        self.out = Compiled(query, obj)
        self.root = Node(obj, "t")

    def fail(self, code, pos, message):
        fail(code, self.text, pos, message)

    def find_object(self):
        name = self.query.object
        obj = self.schema.object(name)
        if obj is None or not visible(self.user, obj):
            self.fail("INVALID_TYPE", self.query.object_pos,
                      NO_OBJECT % name)
        if not obj.queryable:
            self.fail("INVALID_TYPE_FOR_OPERATION", self.query.object_pos,
                      "entity type %s does not support query" % obj.name)
        return obj

    # Names to expressions ---------------------------------------------------

    def follow(self, node, field):
        """The nodes at the other end of a reference."""
        out = []
        for name in field.reference_to:
            target = self.schema.object(name)
            if target is None or not visible(self.user, target):
                continue
            key = (node.alias, field.name, target.name)
            if key not in self.nodes:
                self.nodes[key] = Node(target, "j%d" % (len(self.nodes) + 1))
                self.joins.append('LEFT JOIN "%s" %s ON %s."Id" = %s' % (
                    target.name, self.nodes[key].alias,
                    self.nodes[key].alias, self.field_sql(node, field)))
            out.append(self.nodes[key])
        return out

    def field_sql(self, node, field):
        """SQL for a field of a node, computed where it has no column."""
        if field.expression is None:
            return node.column(field)
        return "(%s)" % re.sub(
            r"\{([\w.]+)\}",
            lambda match: self.formula_part(node, match.group(1)),
            field.expression)

    def formula_part(self, node, path):
        if path == "today":
            return "'%s'" % self.now.date().isoformat()
        parts = path.split(".")
        for part in parts[:-1]:
            target = node.object.relationship(part)
            user, self.user = self.user, None       # formulas see all
            try:
                node = self.follow(node, target)[0]
            finally:
                self.user = user
        return self.field_sql(node, node.object.field(parts[-1]))

    def strip_alias(self, parts):
        if len(parts) > 1 and parts[0].lower() in (
                (self.query.alias or "").lower(),
                self.root.object.name.lower()):
            if not self.root.object.relationship(parts[0]):
                return parts[1:]
        return parts

    def resolve(self, path):
        """A dotted name to an Operand."""
        parts = self.strip_alias(path.parts)
        nodes = [self.root]
        out = []
        relations = []
        polymorphic = False
        for part in parts[:-1]:
            field = self.find_relationship(nodes, part, polymorphic)
            targets = field and self.follow(nodes[0], field)
            if not targets:
                self.fail("INVALID_FIELD", path.pos,
                          NO_RELATIONSHIP % (part, "field path"))
            out.append(field.relationship_name)
            relations.append((tuple(out), field.polymorphic,
                              self.field_sql(nodes[0], field)))
            nodes = targets
            polymorphic = field.polymorphic
        operand = (self.any_of(nodes, parts[-1], path, relations)
                   if polymorphic else
                   self.one_of(nodes[0], parts[-1], path))
        operand.path = tuple(out) + (operand.field.name,)
        operand.relation = relations
        return operand

    def find_relationship(self, nodes, name, polymorphic):
        if polymorphic:
            return None         # nothing can be asked beyond Owner.Name
        field = nodes[0].object.relationship(name)
        if field and visible(self.user, nodes[0].object, field):
            return field
        return None

    def one_of(self, node, name, path):
        field = node.object.field(name)
        if field is None or not visible(self.user, node.object, field):
            self.fail("INVALID_FIELD", path.pos,
                      NO_COLUMN % (name, node.object.name))
        expr = "NULL" if field.compound else self.field_sql(node, field)
        operand = Operand(expr, field, None, path.pos,
                          node is self.root and field.stored)
        operand.nodes = [node]
        return operand

    def any_of(self, nodes, name, path, relations):
        """A field of whichever parent is there."""
        if name.lower() not in NAME_FIELDS:
            self.fail("INVALID_FIELD", path.pos, NO_COLUMN % (name, "Name"))
        if name.lower() == "type":
            cases = " ".join("WHEN '%s' THEN '%s'" % (
                n.object.key_prefix, n.object.name) for n in nodes)
            expr = "CASE substr(%s, 1, 3) %s END" % (relations[-1][2], cases)
            field = Field("Type", "picklist", length=40, nillable=True)
        else:
            found = [(n, n.object.field(name)) for n in nodes
                     if n.object.field(name) and
                     visible(self.user, n.object, n.object.field(name))]
            if not found:
                expr = "NULL"
                field = Field(name, "string", nillable=True)
            else:
                each = [self.field_sql(n, f) for n, f in found]
                expr = (each[0] if len(each) == 1
                        else "coalesce(%s)" % ", ".join(each))
                field = found[0][1]
        operand = Operand(expr, field, None, path.pos)
        operand.nodes = nodes
        return operand

    def operand(self, item):
        if isinstance(item, soql_parse.Path):
            return self.resolve(item)
        return self.call(item)

    def call(self, item):
        if item.name in soql_parse.AGGREGATES:
            return self.aggregate(item)
        inner = self.operand(item.argument)
        if item.name in soql_parse.OTHER_FUNCTIONS:
            return inner
        if inner.field.type not in ("date", "datetime"):
            self.fail("MALFORMED_QUERY", item.pos,
                      "field %s does not support function %s"
                      % (inner.field.name, item.name))
        kind = "date" if item.name == "DAY_ONLY" else "int"
        field = Field(item.name, kind, nillable=True)
        return Operand(DATE_SQL[item.name].format(inner.expr), field,
                       (item.name,), item.pos)

    def aggregate(self, item):
        if item.argument is None:
            operand = Operand("count(*)", Field("expr", "int"), ("expr",),
                              item.pos)
            operand.aggregate = True
            return operand
        inner = self.operand(item.argument)
        kind = inner.field.type
        if not inner.field.aggregatable and item.name != "COUNT" or (
                item.name in ("SUM", "AVG") and kind not in NUMBERS):
            self.fail("MALFORMED_QUERY", item.pos,
                      "field %s does not support aggregate operator %s"
                      % (inner.field.name, item.name))
        if item.name == "COUNT_DISTINCT":
            expr = "count(DISTINCT %s)" % inner.expr
        else:
            expr = "%s(%s)" % (item.name.lower(), inner.expr)
        if item.name.startswith("COUNT"):
            field = Field("expr", "int")
        elif item.name == "AVG":
            field = Field("expr", "double", nillable=True)
        else:
            field = Field("expr", kind, nillable=True)
        operand = Operand(expr, field, ("expr",), item.pos)
        operand.aggregate = True
        return operand

    # Conditions -------------------------------------------------------------

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
                stored = _fold(stored)
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
            pattern = _fold(pattern)
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
                stored = [_fold(v) for v in stored]
        self.params += stored
        return "%s IN (%s)" % (expr, ", ".join("?" * len(stored))), has_null

    def semi_join(self, operand, sub):
        if operand.field.type not in IDS:
            self.fail("INVALID_QUERY_FILTER_OPERATOR", operand.pos,
                      "The left operand field in the where expression must "
                      "be an id or a reference for a semi-join")
        inner = Compiler(sub.query, self.schema, self.user, False, self.now)
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
                self.params.append(";%s;" % _fold(part))
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

    # Clauses ----------------------------------------------------------------

    def from_sql(self):
        return 'FROM "%s" %s%s' % (self.root.object.name, self.root.alias,
                                   "".join(" " + j for j in self.joins))

    def where_sql(self, extra=None):
        """The WHERE clause without the word; fixes self.params' order."""
        parts = []
        if extra:
            parts.append(extra)
        if self.query.where is not None:
            parts.append(self.condition(self.query.where))
        if not self.all_rows:
            for name in ("IsDeleted", "IsArchived"):
                field = self.root.object.field(name)
                if field:
                    parts.append("%s = 0" % self.root.column(field))
        return " AND ".join(parts)

    def order_sql(self):
        parts = []
        for order in self.query.order_by:
            operand = self.operand(order.field)
            if not operand.field.sortable or operand.field.compound:
                self.fail("INVALID_FIELD", operand.pos,
                          "field '%s' can not be sorted in a query call"
                          % operand.field.name)
            expr = operand.expr
            if operand.field.type in TEXT:
                expr += " COLLATE NOCASE"
            nulls_first = order.nulls_first
            if nulls_first is None:
                nulls_first = True
            sql = expr + (" DESC" if order.descending else "")
            # SQLite's own order of nulls needs no words, and with words it
            # would not use an index.
            if operand.field.nillable and nulls_first == order.descending:
                sql += " NULLS %s" % ("FIRST" if nulls_first else "LAST")
            parts.append(sql)
        return " ORDER BY " + ", ".join(parts) if parts else ""

    def limit_sql(self):
        query = self.query
        if query.offset is not None and query.offset > MAX_OFFSET:
            self.fail("NUMBER_OUTSIDE_VALID_RANGE", query.offset_pos,
                      "Maximum SOQL offset allowed is %d" % MAX_OFFSET)
        if query.limit is None and not query.offset:
            return ""
        return " LIMIT %d OFFSET %d" % (
            -1 if query.limit is None else query.limit, query.offset or 0)

    # Select -----------------------------------------------------------------

    def hide(self, expr):
        """A value that is fetched without having been asked for."""
        self.hidden.append(expr)
        return ("hidden", len(self.hidden) - 1)

    def add_column(self, operand, path=None, type_name=None):
        out = self.out
        path = path or operand.path
        if any(c.path == path and c.type_name == type_name
               for c in out.columns):
            self.fail("INVALID_FIELD", operand.pos,
                      "duplicate field selected: %s" % ".".join(path))
        column = Column(path, operand.field, len(out.columns), operand.expr)
        column.type_name = type_name
        node = operand.nodes[0] if operand.nodes else None
        if operand.field.compound:
            column.parts = [(f.name, self.hide(self.field_sql(node, f)))
                            for f in node.object.parts(operand.field)
                            if visible(self.user, node.object, f)]
        if operand.field.type == "base64":
            column.id_index = self.hide('%s."Id"' % node.alias)
            column.expr = "%s IS NOT NULL" % column.expr
        for relation, polymorphic, id_expr in operand.relation or ():
            if relation not in out.relations:
                out.relations[relation] = Relation(
                    relation, self.hide(id_expr), polymorphic)
        out.columns.append(column)
        if path[:1] not in out.order:
            out.order.append(path[:1])

    def select_fields(self, item):
        query = self.query
        if item.kind != "STANDARD" and not (
                query.limit is not None and query.limit <= MAX_FIELDS_LIMIT):
            self.fail("MALFORMED_QUERY", item.pos,
                      "The SOQL FIELDS function must have a LIMIT of at "
                      "most %d" % MAX_FIELDS_LIMIT)
        self.out.fields_function = True
        for field in self.root.object.fields:
            if not visible(self.user, self.root.object, field):
                continue
            if item.kind == "ALL" or field.custom == (item.kind == "CUSTOM"):
                self.add_column(self.resolve(
                    soql_parse.Path([field.name], item.pos)))

    def select_typeof(self, item):
        self.out.typeof = True
        field = self.find_relationship([self.root], item.relation.parts[0],
                                       False)
        if (field is None or not field.polymorphic
                or len(item.relation.parts) > 1):
            self.fail("INVALID_FIELD", item.relation.pos,
                      NO_RELATIONSHIP % (item.relation.text, "field path"))
        path = (field.relationship_name,)
        relation = Relation(path, self.hide(self.field_sql(self.root,
                                                           field)), True)
        relation.typeof = set()
        self.out.relations[path] = relation
        self.out.order.append(path)
        nodes = {n.object.name: n for n in self.follow(self.root, field)}
        for name, pos, paths in item.whens:
            target = self.schema.object(name)
            if target is None or target.name not in field.reference_to:
                self.fail("INVALID_TYPE", pos, NO_OBJECT % name)
            relation.typeof.add(target.name)
            node = nodes.pop(target.name, None)
            if node:
                self.typeof_branch(path, node, paths)
        for node in nodes.values():     # all others: ELSE
            if item.otherwise is not None:
                relation.typeof.add(node.object.name)
                self.typeof_branch(path, node, item.otherwise)

    def typeof_branch(self, path, node, paths):
        for inner in paths:
            operand = self.one_of(node, inner.parts[-1], inner)
            operand.relation = []
            self.add_column(operand, path + (operand.field.name,),
                            node.object.name)

    def select_child(self, item):
        sub = item.query
        relation = self.schema.child(self.root.object, sub.object)
        if relation is None or not visible(self.user, relation.child,
                                           relation.field):
            self.fail("INVALID_TYPE", sub.object_pos, NO_RELATIONSHIP % (
                sub.object, "FROM part of query call"))
        compiler = Compiler(sub, self.schema, self.user, self.all_rows,
                            self.now, relation)
        if self.parent is not None:
            self.fail("MALFORMED_QUERY", item.pos, "only one level of "
                      "parent-to-child relationships is supported")
        self.out.children.append(Child(relation.name, compiler.compile(),
                                       len(self.out.order)))
        self.out.order.append((relation.name,))

    def select(self):
        for item in self.query.fields:
            if isinstance(item, soql_parse.FieldsOf):
                self.select_fields(item)
            elif isinstance(item, soql_parse.TypeOf):
                self.select_typeof(item)
            elif isinstance(item, soql_parse.SubQuery):
                self.select_child(item)
            else:
                if item.alias:
                    self.fail("MALFORMED_QUERY", item.pos,
                              "only aggregate expressions use field aliasing")
                self.add_column(self.operand(item))
        self.out.id_index = self.hide('%s."Id"' % self.root.alias)

    def select_groups(self):
        """The select list of a query with aggregates."""
        groups = {}
        for item in self.query.group_by:
            operand = self.operand(item)
            if not operand.field.groupable:
                self.fail("MALFORMED_QUERY", operand.pos,
                          "field '%s' can not be grouped in a query call"
                          % operand.field.name)
            groups[operand.expr] = operand
        count = 0
        for item in self.query.fields:
            if not isinstance(item, (soql_parse.Path, soql_parse.Call)):
                self.fail("MALFORMED_QUERY", self.query.object_pos,
                          "only fields and functions can be selected with "
                          "aggregates")
            operand = self.operand(item)
            if operand.aggregate or isinstance(item, soql_parse.Call):
                name = item.alias or "expr%d" % count
                count += item.alias is None
            else:
                name = item.alias or operand.field.name
            if not operand.aggregate and operand.expr not in groups:
                self.fail("MALFORMED_QUERY", operand.pos,
                          "Field must be grouped or aggregated: %s"
                          % operand.field.name)
            operand.relation = []
            self.add_column(operand, (name,))
        return list(groups)

    # All together -----------------------------------------------------------

    def place_hidden(self):
        """Hidden values come after the columns: fix their indexes."""
        base = len(self.out.columns)

        def at(slot):
            return base + slot[1]

        for column in self.out.columns:
            column.parts = [(name, at(slot)) for name, slot in column.parts]
            if column.id_index:
                column.id_index = at(column.id_index)
        for relation in self.out.relations.values():
            relation.id_index = at(relation.id_index)
        for name in ("id_index", "parent_index"):
            if getattr(self.out, name):
                setattr(self.out, name, at(getattr(self.out, name)))

    def has_aggregates(self):
        return bool(self.query.group_by) or any(
            isinstance(item, soql_parse.Call)
            and item.name in soql_parse.AGGREGATES
            for item in self.query.fields)

    def compile(self):
        out = self.out
        if self.query.count_only:
            return self.compile_count()
        if self.has_aggregates():
            return self.compile_aggregate()
        self.select()
        extra = None
        if self.parent is not None:
            link = self.field_sql(self.root, self.parent.field)
            out.parent_index = self.hide(link)
            extra = "%s IN (SELECT value FROM json_each(?))" % link
        where = self.where_sql(extra)
        order = self.order_sql()
        limit = self.limit_sql()
        out.params = self.params
        self.place_hidden()
        values = ", ".join([c.expr for c in out.columns] + self.hidden)
        source = self.from_sql()
        tail = "%s%s%s" % (source, " WHERE " + where if where else "", order)
        out.by_ids_sql = (
            'SELECT %s FROM json_each(?) k CROSS JOIN "%s" %s ON %s."Id" = '
            'k.value%s ORDER BY k.key' % (
                values, self.root.object.name, self.root.alias,
                self.root.alias, "".join(" " + j for j in self.joins)))
        if self.parent is not None:
            # The limit is per parent; whoever runs this applies it.
            out.sql = "SELECT %s %s" % (values, tail)
            return out
        out.tail = tail + limit
        out.sql = "SELECT %s %s%s" % (values, tail, limit)
        out.id_sql = 'SELECT %s."Id" %s%s' % (self.root.alias, tail, limit)
        out.count_sql = ("SELECT count(*) FROM (SELECT 1 %s%s%s)" % (
            source, " WHERE " + where if where else "", limit))
        return out

    def compile_count(self):
        out = self.out
        out.count_only = True
        if self.query.order_by or self.query.group_by:
            self.fail("MALFORMED_QUERY", self.query.object_pos,
                      "count() must not be used with ORDER BY or GROUP BY")
        where = self.where_sql()
        out.params = self.params
        out.sql = out.count_sql = "SELECT count(*) FROM (SELECT 1 %s%s%s)" % (
            self.from_sql(), " WHERE " + where if where else "",
            self.limit_sql())
        return out

    def compile_aggregate(self):
        out = self.out
        out.aggregate = True
        groups = self.select_groups()
        where = self.where_sql()
        having = ""
        if self.query.having is not None:
            having = " HAVING " + self.condition(self.query.having)
        order = self.order_sql()
        out.params = self.params
        out.tail = "%s%s%s%s%s%s" % (
            self.from_sql(), " WHERE " + where if where else "",
            " GROUP BY " + ", ".join(groups) if groups else "", having,
            order, self.limit_sql())
        out.sql = "SELECT %s %s" % (
            ", ".join(c.expr for c in out.columns), out.tail)
        out.count_sql = "SELECT count(*) FROM (%s)" % out.sql
        return out


DATE_SQL = {
    "CALENDAR_YEAR": "CAST(strftime('%Y', {0}) AS INTEGER)",
    "CALENDAR_QUARTER": "(CAST(strftime('%m', {0}) AS INTEGER) + 2) / 3",
    "CALENDAR_MONTH": "CAST(strftime('%m', {0}) AS INTEGER)",
    "DAY_IN_MONTH": "CAST(strftime('%d', {0}) AS INTEGER)",
    "DAY_IN_WEEK": "CAST(strftime('%w', {0}) AS INTEGER) + 1",
    "DAY_IN_YEAR": "CAST(strftime('%j', {0}) AS INTEGER)",
    "DAY_ONLY": "substr({0}, 1, 10)",
    "HOUR_IN_DAY": "CAST(strftime('%H', {0}) AS INTEGER)",
    "WEEK_IN_YEAR": "(CAST(strftime('%j', {0}) AS INTEGER) + 6) / 7",
}
for _unit in ("YEAR", "QUARTER", "MONTH"):
    DATE_SQL["FISCAL_" + _unit] = DATE_SQL["CALENDAR_" + _unit]


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


def compile(query, schema, user=None, *, all_rows=False, now=None):
    """The SQL of a query tree, as one user may run it."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    return Compiler(query, schema, user, all_rows, now).compile()


def where_sql(text, schema, obj, user=None, *, all_rows=True, now=None):
    """(SQL, parameters) of a bare condition on an object's rows: for use as
    UPDATE ... WHERE "Id" IN (SQL)."""
    query = soql_parse.Query("SELECT Id FROM %s" % obj.name, [
        soql_parse.Path(["Id"], 7)], obj.name, 15)
    query.text = text
    query.where = parse_condition(text) if text else None
    compiled = compile(query, schema, user, all_rows=all_rows, now=now)
    return compiled.id_sql, compiled.params
