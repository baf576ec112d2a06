"""Names in SOQL: what a dotted path or a function means over the tables.

A path to a parent becomes a join; a field that has no column becomes the SQL
that computes it; a field that the user cannot see is not found.
"""

import re

import soql_parse
from schema import NUMBERS, Field
from soql_parse import fail


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


def visible(user, obj, field=None):
    """May the user see the object, or a field of it?"""
    if user is None:
        return True
    if obj.name in user.hidden_objects:
        return False
    return field is None or (obj.name, field.name) not in user.hidden


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


class Names:
    """What is known of the names in one query, or in a sub-query of it."""

    def __init__(self, query, schema, user, now):
        self.query = query
        self.schema = schema
        self.user = user
        self.now = now
        self.text = query.text
        self.root = None                # the node of the object itself
        self.joins = []
        self.nodes = {}

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
