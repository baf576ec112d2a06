"""SOQL text to a tree.

The grammar is Salesforce's, with its narrow places: AND and OR do not mix
without parentheses, NOT begins a condition or stands in parentheses, a
backslash is followed by one of a few characters, datetimes are not quoted.
"""

import re
from dataclasses import dataclass, field as slot
from typing import Any, List, Optional

MAX_LENGTH = 100000


class SoqlError(Exception):
    """What Salesforce answers to a query it does not accept (HTTP 400)."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.message = message


def fail(code, text, pos, message):
    """Raise a SoqlError in Salesforce's frame: fragment, caret, place."""
    row = text.count("\n", 0, pos) + 1
    start = text.rfind("\n", 0, pos) + 1
    end = text.find("\n", pos)
    end = len(text) if end < 0 else end
    column = pos - start + 1
    # A long line is shown in part.
    first = start if pos - start <= 60 else pos - 40
    fragment = text[first:min(end, pos + 60)]
    raise SoqlError(code, "\n%s\n%s^\nERROR at Row:%d:Column:%d\n%s" % (
        fragment, " " * (pos - first), row, column, message))


@dataclass
class Path:
    parts: List[str]
    pos: int
    alias: Optional[str] = None

    @property
    def text(self):
        return ".".join(self.parts)


@dataclass
class Call:
    name: str                           # upper case
    argument: Any                       # Path, Call or None
    pos: int
    alias: Optional[str] = None


@dataclass
class FieldsOf:
    kind: str                           # ALL, STANDARD, CUSTOM
    pos: int


@dataclass
class TypeOf:
    relation: Path
    whens: list                         # (type name, pos, [Path])
    otherwise: Optional[list]
    pos: int


@dataclass
class SubQuery:
    query: Any
    pos: int


@dataclass
class Value:
    kind: str       # string number boolean null date datetime time literal
    value: Any
    pos: int
    n: Optional[int] = None             # of LAST_N_DAYS:n


@dataclass
class Compare:
    field: Any
    op: str
    value: Value
    pos: int


@dataclass
class Within:
    """field [NOT] IN (values or a query)"""
    field: Any
    negated: bool
    values: Any                         # [Value] or SubQuery
    pos: int


@dataclass
class Includes:
    field: Any
    negated: bool
    values: list
    pos: int


@dataclass
class Junction:
    op: str                             # AND, OR
    terms: list


@dataclass
class Not:
    term: Any


@dataclass
class Order:
    field: Any
    descending: bool
    nulls_first: Optional[bool]


@dataclass
class Query:
    text: str
    fields: list
    object: str
    object_pos: int
    alias: Optional[str] = None
    where: Any = None
    group_by: list = slot(default_factory=list)
    having: Any = None
    order_by: List[Order] = slot(default_factory=list)
    limit: Optional[int] = None
    offset: Optional[int] = None
    limit_pos: int = 0
    offset_pos: int = 0
    usage: Optional[str] = None         # VIEW, REFERENCE

    @property
    def count_only(self):
        """SELECT count() FROM: a bare number, not a record."""
        return (len(self.fields) == 1 and isinstance(self.fields[0], Call)
                and self.fields[0].name == "COUNT"
                and self.fields[0].argument is None)


TOKEN = re.compile(r"""
    (?P<space>[ \t\r\n\f]+)
  | (?P<string>'(?:[^'\\]|\\.)*')
  | (?P<datetime>\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(?::\d\d(?:\.\d+)?)?
        (?:[Zz]|[+-]\d\d:?\d\d)?)
  | (?P<date>\d{4}-\d\d-\d\d)
  | (?P<time>\d\d:\d\d:\d\d(?:\.\d+)?[Zz]?)
  | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<mark><=|>=|!=|<>|[=<>(),.:])
""", re.VERBOSE | re.DOTALL)

ESCAPES = {"n": "\n", "N": "\n", "r": "\r", "R": "\r", "t": "\t", "T": "\t",
           "b": "\b", "B": "\b", "f": "\f", "F": "\f", '"': '"', "'": "'",
           "\\": "\\"}

AGGREGATES = ("COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX")
DATE_FUNCTIONS = ("CALENDAR_YEAR", "CALENDAR_QUARTER", "CALENDAR_MONTH",
                  "DAY_IN_MONTH", "DAY_IN_WEEK", "DAY_IN_YEAR", "DAY_ONLY",
                  "HOUR_IN_DAY", "WEEK_IN_YEAR", "FISCAL_YEAR",
                  "FISCAL_QUARTER", "FISCAL_MONTH")
OTHER_FUNCTIONS = ("TOLABEL", "FORMAT")
CLAUSES = ("WHERE", "WITH", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET",
           "FOR", "USING", "UPDATE", "ALL")
LITERALS = frozenset(
    ["YESTERDAY", "TODAY", "TOMORROW", "LAST_90_DAYS", "NEXT_90_DAYS"]
    + ["%s_%s%s" % (side, fiscal, unit)
       for side in ("LAST", "THIS", "NEXT")
       for unit, fiscals in (("WEEK", ("",)), ("MONTH", ("",)),
                             ("QUARTER", ("", "FISCAL_")),
                             ("YEAR", ("", "FISCAL_")))
       for fiscal in fiscals])
N_LITERALS = frozenset(
    form % (fiscal + unit)
    for form in ("LAST_N_%sS", "NEXT_N_%sS", "N_%sS_AGO")
    for unit, fiscals in (("DAY", ("",)), ("WEEK", ("",)), ("MONTH", ("",)),
                          ("QUARTER", ("", "FISCAL_")),
                          ("YEAR", ("", "FISCAL_")))
    for fiscal in fiscals)


@dataclass
class Token:
    kind: str
    text: str
    pos: int

    @property
    def upper(self):
        return self.text.upper() if self.kind == "word" else self.text


def tokens(text):
    out = []
    pos = 0
    while pos < len(text):
        match = TOKEN.match(text, pos)
        if match is None:
            if text[pos] == "'":
                fail("MALFORMED_QUERY", text, pos,
                     "line 1:%d mismatched character '<EOF>' expecting '''"
                     % (pos + 1))
            fail("MALFORMED_QUERY", text, pos,
                 "unexpected token: '%s'" % text[pos])
        if match.lastgroup != "space":
            out.append(Token(match.lastgroup, match.group(), pos))
        pos = match.end()
    out.append(Token("end", "<EOF>", len(text)))
    return out


def unescape(text, token, like):
    """The value of a string literal.

    For LIKE the result keeps a backslash before characters that are meant
    literally: a percent sign, an underscore, a backslash.
    """
    out = []
    body = token.text[1:-1]
    at = 0
    while at < len(body):
        char = body[at]
        at += 1
        if char != "\\":
            out.append(char)
            continue
        char = body[at]
        at += 1
        if char == "u" and re.match(r"[0-9A-Fa-f]{4}", body[at:]):
            out.append(chr(int(body[at:at + 4], 16)))
            at += 4
        elif char in ESCAPES:
            out.append("\\\\" if like and char == "\\" else ESCAPES[char])
        elif like and char in "_%":
            out.append("\\" + char)
        else:
            fail("MALFORMED_QUERY", text, token.pos,
                 "Invalid string literal '%s'. Illegal character sequence "
                 "'\\%s' in string literal." % (body, char))
    # \ud83d\ude00 is one character.
    joined = "".join(out)
    return joined.encode("utf-16", "surrogatepass").decode("utf-16",
                                                           "replace")


class Parser:
    def __init__(self, text):
        self.text = text
        self.tokens = tokens(text)
        self.at = 0

    # Tokens ---------------------------------------------------------------

    @property
    def token(self):
        return self.tokens[self.at]

    def ahead(self, n=1):
        return self.tokens[min(self.at + n, len(self.tokens) - 1)]

    def next(self):
        token = self.token
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def unexpected(self, token=None):
        token = token or self.token
        if token.kind == "end":
            fail("MALFORMED_QUERY", self.text, token.pos,
                 "unexpected token: '<EOF>'")
        fail("MALFORMED_QUERY", self.text, token.pos,
             "unexpected token: '%s'" % token.text.strip("'"))

    def is_word(self, *words):
        return self.token.kind == "word" and self.token.upper in words

    def is_mark(self, mark):
        return self.token.kind == "mark" and self.token.text == mark

    def word(self, word):
        if not self.is_word(word):
            self.unexpected()
        return self.next()

    def mark(self, mark):
        if not self.is_mark(mark):
            self.unexpected()
        return self.next()

    def take_word(self, *words):
        if self.is_word(*words):
            return self.next()
        return None

    def take_mark(self, mark):
        if self.is_mark(mark):
            return self.next()
        return None

    def name(self):
        if self.token.kind != "word":
            self.unexpected()
        return self.next()

    # The query ------------------------------------------------------------

    def query(self, inner=False):
        self.word("SELECT")
        fields = [self.select_item(inner)]
        while self.take_mark(","):
            fields.append(self.select_item(inner))
        self.word("FROM")
        name = self.path()
        query = Query(self.text, fields, name.text, name.pos)
        query.alias = self.alias()
        self.clauses(query)
        return query

    def alias(self):
        if self.token.kind == "word" and self.token.upper not in CLAUSES:
            return self.next().text
        return None

    def clauses(self, query):
        if self.take_word("USING"):
            self.word("SCOPE")
            self.name()
        if self.take_word("WHERE"):
            query.where = self.condition()
        if self.take_word("WITH"):
            self.name()                 # SECURITY_ENFORCED, USER_MODE
        if self.take_word("GROUP"):
            self.word("BY")
            query.group_by = self.comma_list(self.operand)
        if self.take_word("HAVING"):
            query.having = self.condition()
        if self.take_word("ORDER"):
            self.word("BY")
            query.order_by = self.comma_list(self.order)
        if self.is_word("LIMIT"):
            query.limit_pos = self.next().pos
            query.limit = self.whole_number()
        if self.is_word("OFFSET"):
            query.offset_pos = self.next().pos
            query.offset = self.whole_number()
        while self.take_word("FOR"):
            if not self.is_word("VIEW", "REFERENCE"):
                self.unexpected()
            query.usage = self.next().upper

    def comma_list(self, item):
        out = [item()]
        while self.take_mark(","):
            out.append(item())
        return out

    def whole_number(self):
        token = self.next()
        if token.kind != "number" or not token.text.isdigit():
            self.unexpected(token)
        return int(token.text)

    def select_item(self, inner):
        if self.is_mark("("):
            pos = self.next().pos
            if inner:
                self.unexpected()
            query = self.query(inner=True)
            self.mark(")")
            return SubQuery(query, pos)
        if self.is_word("TYPEOF"):
            return self.typeof()
        if (self.is_word("FIELDS") and self.ahead().text == "("
                and self.ahead(2).upper in ("ALL", "STANDARD", "CUSTOM")):
            pos = self.next().pos
            self.next()
            kind = self.next().upper
            self.mark(")")
            return FieldsOf(kind, pos)
        item = self.operand()
        if self.token.kind == "word" and not self.is_word("FROM"):
            item.alias = self.next().text
        return item

    def typeof(self):
        pos = self.next().pos
        out = TypeOf(self.path(), [], None, pos)
        while self.take_word("WHEN"):
            name = self.name()
            self.word("THEN")
            out.whens.append((name.text, name.pos,
                              self.comma_list(self.path)))
        if not out.whens:
            self.unexpected()
        if self.take_word("ELSE"):
            out.otherwise = self.comma_list(self.path)
        self.word("END")
        return out

    def path(self):
        first = self.name()
        parts = [first.text]
        while self.take_mark("."):
            parts.append(self.name().text)
        return Path(parts, first.pos)

    def operand(self):
        """A field, or a function of one."""
        if self.token.kind == "word" and self.ahead().text == "(":
            return self.call()
        return self.path()

    def call(self):
        token = self.next()
        name = token.upper
        if name not in AGGREGATES + DATE_FUNCTIONS + OTHER_FUNCTIONS:
            fail("MALFORMED_QUERY", self.text, token.pos,
                 "Unknown function: %s" % token.text)
        self.mark("(")
        argument = None
        if not (name == "COUNT" and self.is_mark(")")):
            argument = self.operand()
        self.mark(")")
        return Call(name, argument, token.pos)

    def order(self):
        field = self.operand()
        descending = False
        nulls_first = None
        if self.is_word("ASC", "DESC"):
            descending = self.next().upper == "DESC"
        if self.take_word("NULLS"):
            if not self.is_word("FIRST", "LAST"):
                self.unexpected()
            nulls_first = self.next().upper == "FIRST"
        return Order(field, descending, nulls_first)

    # Conditions -----------------------------------------------------------

    def condition(self):
        if self.take_word("NOT"):
            return Not(self.term())
        terms = [self.term()]
        if not self.is_word("AND", "OR"):
            return terms[0]
        op = self.token.upper
        while self.is_word("AND", "OR"):
            if self.token.upper != op:
                self.unexpected()       # no mixing without parentheses
            self.next()
            terms.append(self.term())
        return Junction(op, terms)

    def term(self):
        if self.is_mark("("):
            self.next()
            inner = self.condition()
            self.mark(")")
            return inner
        if self.is_word("NOT"):
            self.unexpected()
        return self.comparison()

    def comparison(self):
        field = self.operand()
        token = self.next()
        op = token.upper
        if token.kind == "mark" and op in ("=", "!=", "<>", "<", "<=", ">",
                                           ">="):
            op = "!=" if op == "<>" else op
            return Compare(field, op, self.value(), token.pos)
        if op == "LIKE":
            return Compare(field, op, self.value(like=True), token.pos)
        negated = op == "NOT"
        if negated:
            token = self.next()
            op = token.upper
            if op != "IN":
                self.unexpected(token)
        if op == "IN":
            return Within(field, negated, self.members(), token.pos)
        if op in ("INCLUDES", "EXCLUDES"):
            return Includes(field, op == "EXCLUDES", self.values(),
                            token.pos)
        self.unexpected(token)

    def members(self):
        if self.is_mark("(") and self.ahead().upper == "SELECT":
            pos = self.next().pos
            query = self.query(inner=True)
            self.mark(")")
            return SubQuery(query, pos)
        return self.values()

    def values(self):
        self.mark("(")
        out = self.comma_list(self.value)
        self.mark(")")
        return out

    def value(self, like=False):
        token = self.next()
        if token.kind == "string":
            return Value("string", unescape(self.text, token, like),
                         token.pos)
        if token.kind == "number":
            return Value("number", token.text, token.pos)
        if token.kind in ("date", "datetime", "time"):
            return Value(token.kind, token.text, token.pos)
        if token.kind != "word":
            self.unexpected(token)
        word = token.upper
        if word in ("TRUE", "FALSE"):
            return Value("boolean", word == "TRUE", token.pos)
        if word == "NULL":
            return Value("null", None, token.pos)
        if word in LITERALS:
            return Value("literal", word, token.pos)
        if word in N_LITERALS:
            self.mark(":")
            return Value("literal", word, token.pos, self.whole_number())
        self.unexpected(token)


def parse(text):
    """The tree of a SOQL query, or a SoqlError."""
    if len(text) > MAX_LENGTH:
        raise SoqlError("MALFORMED_QUERY", "SOQL statements cannot be longer "
                        "than %d characters." % MAX_LENGTH)
    if not text.strip():
        raise SoqlError("MALFORMED_QUERY", "unexpected token: '<EOF>'")
    parser = Parser(text)
    query = parser.query()
    if parser.token.kind != "end":
        parser.unexpected()
    return query


def parse_condition(text):
    """The tree of a WHERE clause's condition alone."""
    parser = Parser(text)
    condition = parser.condition()
    if parser.token.kind != "end":
        parser.unexpected()
    return condition
