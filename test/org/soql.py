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

import soql_parse
from schema import TEXT
from soql_names import NO_OBJECT, NO_RELATIONSHIP, Node, visible
from soql_parse import SoqlError, parse, parse_condition  # noqa: F401
from soql_where import Conditions, fold

MAX_OFFSET = 2000
MAX_FIELDS_LIMIT = 200


def prepare(connection):
    """Add to a connection what compiled queries call."""
    connection.create_function("sf_fold", 1, fold, deterministic=True)


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
        # As few digits as tell the value, which SQLite itself does not see to:
        # some versions write 15, others 17.
        return ("CASE WHEN {0} IS NULL THEN '' "
                "WHEN CAST(printf('%!.15g', {0}) AS REAL) = {0} "
                "THEN printf('%!.15g', {0}) ELSE printf('%!.17g', {0}) END"
                .format(expr))
    if kind in TEXT or kind == "anyType":
        return "ifnull(replace(%s, '\"', '\"\"'), '')" % expr
    return "ifnull(%s, '')" % expr


class Compiler(Conditions):
    """Makes the SQL of one query, or of a sub-query in it."""

    def __init__(self, query, schema, user, all_rows, now, parent=None):
        super().__init__(query, schema, user, now)
        self.all_rows = all_rows
        self.parent = parent            # ChildRelationship of a sub-query
        self.hidden = []                # expressions behind the columns
        obj = parent.child if parent else self.find_object()
        self.out = Compiled(query, obj)
        self.root = Node(obj, "t")

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
