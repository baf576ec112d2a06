"""Describe, query, and who am I."""

import hashlib
import json
import re
import secrets
import threading

import clock
import dml
import ids
import soql
from errors import ApiError
from soql_names import visible
from soql_rows import Shaper
from wire import Response

ID_LENGTH = 18
SEASONS = ("Winter", "Spring", "Summer")


def version_label(version):
    """55.0 is Summer '22, and every year has three."""
    number = int(float(version)) - 55 + 2
    return "%s '%02d" % (SEASONS[number % 3], 22 + (number // 3))


def resources(call):
    names = ("sobjects", "query", "queryAll", "limits", "composite", "jobs")
    return Response(200, {name: call.base + "/" + name for name in names})


def identity(org, request, path):
    """What the `id` URL of a token answer leads to, and userinfo."""
    session = org.oauth.session(request.headers.get("authorization"))
    if session is None:
        return Response(403, body=b"Bad_OAuth_Token", content_type="text/html;charset=UTF-8")
    user = session.user
    if path.startswith("/id/") and path.split("/")[2:] != [org.id, user.id]:
        return Response(404, body=b"Bad_Id", content_type="text/html;charset=UTF-8")
    data = {"id": org.identity(user), "user_id": user.id, "organization_id": org.id,
            "username": user.username, "display_name": user.username.split("@")[0].title(),
            "email": user.username, "active": user.active, "user_type": "STANDARD",
            "urls": {"rest": org.instance_url + "/services/data/v{version}/",
                     "sobjects": org.instance_url + "/services/data/v{version}/sobjects/",
                     "query": org.instance_url + "/services/data/v{version}/query/"}}
    if path.endswith("userinfo"):
        data.update(sub=data["id"], preferred_username=user.username)
    return Response(200, data)


# -- describe ----------------------------------------------------------------------------------

def not_modified(call, modified, tag):
    """Headers of a cacheable answer, and whether the client's copy will do."""
    headers = {"Last-Modified": clock.to_http(modified), "ETag": '"%s"' % tag}
    since = call.request.headers.get("if-modified-since")
    if since is None:
        return headers, False
    moment = clock.from_http(since)
    if moment is None:
        raise ApiError(400, "INVALID_HTTP_HEADER", "Invalid header value: If-Modified-Since")
    return headers, int(modified) <= moment


def tag_of(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def describe_global(call):
    schema = call.org.schema
    modified = schema.modified.timestamp()
    headers, same = not_modified(call, modified, tag_of("global", modified))
    if same:
        return Response(304, headers=headers)
    entries = [global_entry(call, obj) for obj in schema.objects
               if not call.user.hidden_objects[obj.name]]
    return Response(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": entries},
                    headers=headers)


def limited(call, obj, entry):
    """The flags as far as the user's rights go."""
    if call.user.read_only_objects[obj.name]:
        entry.update(createable=False, updateable=False, deletable=False, undeletable=False)
    return entry


def global_entry(call, obj):
    return limited(call, obj, obj.global_entry(call.version))


def basic_info(call, name):
    obj = dml.visible_object(call.org.schema, call.user, name)
    return Response(200, {"objectDescribe": global_entry(call, obj), "recentItems": []})


def describe(call, name):
    obj = dml.visible_object(call.org.schema, call.user, name)
    modified = obj.modified.timestamp()
    # metadata only: a change of the user's field rights does not make it newer
    headers, same = not_modified(call, modified, tag_of(obj.name, modified))
    if same:
        return Response(304, headers=headers)
    user = call.user
    data = obj.describe(user.hidden, call.version, user.read_only, user.hidden_objects,
                        call.org.instance_url)
    return Response(200, limited(call, obj, data), headers=headers)


# -- query -------------------------------------------------------------------------------------

class Cursor:
    """What a query has found, and how to read it."""

    def __init__(self, user, compiled, record_ids, page, made):
        self.user = user
        self.compiled = compiled
        self.ids = "".join(record_ids)      # one text: there can be millions
        self.page = page
        self.made = made

    def __len__(self):
        return len(self.ids) // ID_LENGTH

    def part(self, first, size):
        end = min(len(self), first + size)
        return [self.ids[at * ID_LENGTH:(at + 1) * ID_LENGTH] for at in range(first, end)]


class Cursors:
    """Result sets of queries: a snapshot of ids; values are read when a page is fetched."""

    def __init__(self, org):
        self.org = org
        self._cursors = {}
        self._count = secrets.randbelow(100000)
        self._lock = threading.Lock()

    def keep(self, user, compiled, record_ids, page):
        with self._lock:
            self._count += 1
            name = ids.make("01g", self._count)
            self._cursors[name] = Cursor(user, compiled, record_ids, page, self.org.clock.now())
            return name

    def find(self, name, user):
        cursor = self._cursors.get(name)
        if cursor is None or cursor.user is not user or \
                self.org.clock.now() - cursor.made > self.org.config["cursor_seconds"]:
            raise bad_locator()
        return cursor

    def expire(self):
        with self._lock:
            self._cursors.clear()


def bad_locator():
    return ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")


def batch_size(call, compiled=None):
    """Rows of a page: the header is a hint between 200 and 2000, and wide rows give fewer."""
    size = 2000
    for part in (call.request.headers.get("sforce-query-options") or "").split(","):
        name, _, number = part.partition("=")
        if name.strip().lower() == "batchsize":
            if not number.strip().isdigit():
                raise ApiError(400, "INVALID_QUERY_OPTIONS", "batchSize is not a number")
            size = min(2000, max(200, int(number)))
    if compiled is not None and any(column.field.long_text for column in compiled.columns):
        size = max(200, size // 2)
    size = min(size, int(call.org.config["page_size"]))
    action = call.fault_action
    if call.parent is not None and "page_size" not in action:
        action = call.parent.fault_action
    return int(action.get("page_size", size))


def query(call):
    return run_query(call, False)


def query_all(call):
    return run_query(call, True)


# Of the objects of metadata only this question is known.
FIELD_DEFINITIONS = re.compile(
    r"\s*SELECT\s+QualifiedApiName\s*,\s*DurableId\s+FROM\s+FieldDefinition\s+"
    r"WHERE\s+EntityDefinition\.QualifiedApiName\s*=\s*'(\w+)'\s*", re.IGNORECASE)


def field_definitions(call, name):
    obj = dml.visible_object(call.org.schema, call.user, name)
    records = [{"attributes": {"type": "FieldDefinition"}, "QualifiedApiName": field.name,
                "DurableId": "%s.%s" % (obj.name, field.durable)}
               for field in obj.fields if visible(call.user, obj, field)]
    return Response(200, {"totalSize": len(records), "done": True, "records": records})


def run_query(call, all_rows):
    text = call.request.args.get("q")
    if not text:
        raise ApiError(400, "MALFORMED_QUERY", "SOQL statements cannot be empty or null")
    definitions = FIELD_DEFINITIONS.fullmatch(text)
    if definitions:
        return field_definitions(call, definitions.group(1))
    org = call.org
    compiled = compile_query(org, call.user, text, all_rows)
    reader = org.store.reader
    if compiled.count_only:
        total = reader.execute(compiled.sql, compiled.params).fetchone()[0]
        return Response(200, {"totalSize": total, "done": True, "records": []})
    if compiled.aggregate:
        rows = reader.execute(compiled.sql, compiled.params).fetchall()
        records = Shaper(compiled, org.schema, call.version).records(reader, rows)
        return Response(200, {"totalSize": len(records), "done": True, "records": records})
    size = batch_size(call, compiled)
    cursor = reader.execute(compiled.sql, compiled.params)
    rows = cursor.fetchmany(size + 1)
    if len(rows) <= size:
        records = shaper_of(call, compiled, size).records(reader, rows)
        return Response(200, {"totalSize": len(records), "done": True, "records": records})
    cursor.close()
    found = [row[0] for row in reader.execute(compiled.id_sql, compiled.params)]
    name = org.cursors.keep(call.user, compiled, found, size)
    return page_of(call, name, org.cursors.find(name, call.user), 0)


def shaper_of(call, compiled, size):
    """What makes records of rows; the children of each come by pages, too."""
    def keep(inner, record_ids, page):
        return call.org.cursors.keep(call.user, inner, record_ids, page)
    return Shaper(compiled, call.org.schema, call.version, size, keep)


def compile_query(org, user, text, all_rows):
    try:
        return soql.compile(soql.parse(text), org.schema, user, all_rows=all_rows,
                            now=org.clock.datetime())
    except soql.SoqlError as error:
        raise ApiError(400, error.code, error.message) from None


def query_more(call, locator):
    name, _, offset = locator.rpartition("-")
    if not offset.isdigit():
        raise bad_locator()
    if len(name) == 15 and ids.well_formed(name):
        name = ids.long_form(name)
    cursor = call.org.cursors.find(name, call.user)
    offset = int(offset)
    if not 0 <= offset < len(cursor):
        raise bad_locator()
    return page_of(call, name, cursor, offset)


def page_of(call, name, cursor, offset):
    org, size = call.org, batch_size(call) if "page_size" in call.fault_action else cursor.page
    chosen = cursor.part(offset, size)
    reader = org.store.reader
    rows = reader.execute(cursor.compiled.by_ids_sql, [json.dumps(chosen)]).fetchall()
    records = shaper_of(call, cursor.compiled, size).records(reader, rows)
    end = offset + len(chosen)
    data = {"totalSize": len(cursor), "done": end >= len(cursor)}
    if not data["done"]:
        data["nextRecordsUrl"] = "%s/query/%s-%d" % (call.base, name, end)
    data["records"] = records
    return Response(200, data)
