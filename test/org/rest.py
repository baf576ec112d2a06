"""The REST API but for Composite: describe, query, rows, getUpdated and getDeleted."""

import base64
import hashlib
import json
import secrets
import threading

import clock
import dml
import ids
import soql
import values
from dml import Ambiguous, Change
from errors import ApiError, not_found
from soql_rows import Shaper
from wire import Response

SEASONS = ("Winter", "Spring", "Summer")
MINUTE, DAY = 60, 86400
MAX_IDS = 600000


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
        entry.update(createable=False, updateable=False, deletable=False)
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
    def __init__(self, user, compiled, record_ids, page, made):
        self.user = user
        self.compiled = compiled
        self.ids = record_ids
        self.page = page
        self.made = made


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


def run_query(call, all_rows):
    text = call.request.args.get("q")
    if not text:
        raise ApiError(400, "MALFORMED_QUERY", "SOQL statements cannot be empty or null")
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
        records = Shaper(compiled, org.schema, call.version).records(reader, rows)
        return Response(200, {"totalSize": len(records), "done": True, "records": records})
    cursor.close()
    found = [row[0] for row in reader.execute(compiled.id_sql, compiled.params)]
    name = org.cursors.keep(call.user, compiled, found, size)
    return page_of(call, name, org.cursors.find(name, call.user), 0)


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
    if not 0 <= offset < len(cursor.ids):
        raise bad_locator()
    return page_of(call, name, cursor, offset)


def page_of(call, name, cursor, offset):
    org, size = call.org, batch_size(call) if "page_size" in call.fault_action else cursor.page
    chosen = cursor.ids[offset:offset + size]
    reader = org.store.reader
    rows = reader.execute(cursor.compiled.by_ids_sql, [json.dumps(chosen)]).fetchall()
    records = Shaper(cursor.compiled, org.schema, call.version).records(reader, rows)
    end = offset + len(chosen)
    data = {"totalSize": len(cursor.ids), "done": end >= len(cursor.ids)}
    if not data["done"]:
        data["nextRecordsUrl"] = "%s/query/%s-%d" % (call.base, name, end)
    data["records"] = records
    return Response(200, data)


# -- rows --------------------------------------------------------------------------------------

def record_json(call, obj, record_id, names=None):
    """One record as the API shows it, or None when it is not there."""
    user = call.user
    if names is None:
        names = [field.name for field in obj.fields if not user.hidden[(obj.name, field.name)]]
    text = "SELECT %s FROM %s WHERE Id = '%s'" % (", ".join(names or ["Id"]), obj.name, record_id)
    compiled = compile_query(call.org, user, text, True)
    reader = call.org.store.reader
    rows = reader.execute(compiled.sql, compiled.params).fetchall()
    records = Shaper(compiled, call.org.schema, call.version).records(reader, rows)
    return records[0] if records else None


def fields_argument(call, obj):
    names = call.request.args.get("fields")
    if not names:
        return None
    names = [name.strip() for name in names.split(",") if name.strip()]
    for name in names:
        check_field(call.user, obj, name)
    return names


def check_field(user, obj, name):
    field = obj.field(name.split(".")[0])
    relation = obj.relationship(name.split(".")[0]) if "." in name else None
    if relation is None and (field is None or user.hidden[(obj.name, field.name)]):
        raise ApiError(400, "INVALID_FIELD", "No such column '%s' on sobject of type %s"
                       % (name, obj.name))


def is_deleted(call, obj, record_id):
    reader = call.org.store.reader
    if obj.field("IsDeleted"):
        row = reader.execute('SELECT "IsDeleted" FROM "%s" WHERE "Id" = ?' % obj.name,
                             (record_id,)).fetchone()
        if row:
            return bool(row[0])
    return bool(reader.execute("SELECT 1 FROM sys_deleted WHERE object = ? AND id = ?",
                               (obj.name, record_id)).fetchone())


def find_row(call, name, text):
    """Object and id of /sobjects/X/id; 404 when there is no such record."""
    obj = dml.visible_object(call.org.schema, call.user, name)
    if not ids.well_formed(text):
        if len(text) in (15, 18) and text.isalnum():
            raise ApiError(400, "MALFORMED_ID", "malformed id %s" % text)
        raise not_found("Provided external ID field does not exist or is not accessible: " + text)
    return obj, ids.long_form(text)


def check_there(call, obj, record_id):
    if is_deleted(call, obj, record_id):
        raise ApiError(404, "ENTITY_IS_DELETED", "entity is deleted", [])
    if not call.org.store.reader.execute('SELECT 1 FROM "%s" WHERE "Id" = ?' % obj.name,
                                         (record_id,)).fetchone():
        raise not_found()


def read(call, name, record_id):
    obj, record_id = find_row(call, name, record_id)
    return answer_row(call, obj, record_id)


def answer_row(call, obj, record_id):
    names = fields_argument(call, obj)
    check_there(call, obj, record_id)
    stamps = row_stamps(call, obj, record_id)
    headers = {}
    if obj.name == "Account":
        headers["ETag"] = '"%s"' % account_tag(record_id, stamps)
    if stamps:
        headers["Last-Modified"] = clock.to_http(clock.from_stored(stamps))
    if reading_is_moot(call, obj, record_id, stamps):
        return Response(304, headers=headers)
    return Response(200, record_json(call, obj, record_id, names), headers=headers)


def row_stamps(call, obj, record_id):
    """LastModifiedDate, or the next best, of a record; what the conditions compare with."""
    column = next((field for field in ("LastModifiedDate", "SystemModstamp", "CreatedDate")
                   if obj.field(field)), None)
    if column is None:
        return None
    row = call.org.store.reader.execute('SELECT "%s" FROM "%s" WHERE "Id" = ?'
                                        % (column, obj.name), (record_id,)).fetchone()
    return row[0] if row else None


def account_tag(record_id, stamp):
    digest = hashlib.sha256(("%s %s" % (record_id, stamp)).encode()).digest()[:20]
    return base64.b64encode(digest).decode() + "-gzip"


def tags(text):
    return [part.strip().strip('"') for part in text.split(",")]


def header_date(call, name):
    """The moment of a condition header; an invalid one is the client's mistake."""
    text = call.request.headers.get(name)
    if text is None:
        return None
    moment = clock.from_http(text)
    if moment is None:
        raise ApiError(400, "INVALID_HTTP_HEADER", "Invalid header value for %s: %s"
                       % (name, text))
    return moment


def reading_is_moot(call, obj, record_id, stamp):
    """Whether a GET is answered by 304."""
    headers = call.request.headers
    if obj.name == "Account":
        tag = account_tag(record_id, stamp)
        if headers.get("if-match") and not {tag, "*"} & set(tags(headers.get("if-match"))):
            raise precondition_failed()
        if headers.get("if-none-match"):
            return bool({tag, "*"} & set(tags(headers.get("if-none-match"))))
    since = header_date(call, "if-modified-since")
    unmodified = header_date(call, "if-unmodified-since")
    if stamp and unmodified is not None and clock.from_stored(stamp) > unmodified:
        raise precondition_failed()
    return bool(stamp) and since is not None and clock.from_stored(stamp) <= since


def precondition_failed():
    return ApiError(412, "ENTITY_FAILED_IFLASTMODIFIED_ON_UPDATE",
                    "The record was modified since the given date, or its ETag does not match.")


def write_guard(call, obj):
    """The conditions of a PATCH, to be tried on the row under its lock."""
    unmodified = header_date(call, "if-unmodified-since")
    modified = header_date(call, "if-modified-since")
    headers = call.request.headers

    def guard(row):
        stamp = row.get("LastModifiedDate") or row.get("SystemModstamp")
        if stamp and unmodified is not None and clock.from_stored(stamp) > unmodified:
            raise precondition_failed()
        if stamp and modified is not None and clock.from_stored(stamp) <= modified:
            raise precondition_failed()
        if obj.name == "Account":
            tag = account_tag(row["Id"], stamp)
            if headers.get("if-match") and not {tag, "*"} & set(tags(headers.get("if-match"))):
                raise precondition_failed()
            if headers.get("if-none-match") and \
                    {tag, "*"} & set(tags(headers.get("if-none-match"))):
                raise precondition_failed()
    return guard


def change_row(call, work):
    """One transaction for one row; errors leave nothing behind."""
    with call.org.store.write() as writer:
        return work(Change(call.org, writer, call.user, dml.options_of(call.request.headers)))


def created(call, obj, record_id, extra=None):
    data = {"id": record_id, "success": True, "errors": []}
    data.update(extra or {})
    return Response(201, data, headers={
        "Location": "%s/sobjects/%s/%s" % (call.base, obj.name, record_id)})


def create(call, name):
    obj = dml.visible_object(call.org.schema, call.user, name)
    record = call.json()
    for header in ("if-modified-since", "if-unmodified-since"):
        header_date(call, header)
    return created(call, obj, change_row(call, lambda change: change.insert(obj, record)))


def update(call, name, record_id):
    obj, record_id = find_row(call, name, record_id)
    record = call.json()
    if dml.pop_key(dict(record), "Id") is not None:
        raise ApiError(400, "INVALID_FIELD", "The Id field should not be specified in the sobject "
                       "data.", ["Id"])
    check_there(call, obj, record_id)
    guard = write_guard(call, obj)
    change_row(call, lambda change: change.update(obj, record_id, record, guard))
    return Response(204)


def delete(call, name, record_id):
    obj, record_id = find_row(call, name, record_id)
    check_there(call, obj, record_id)
    change_row(call, lambda change: change.delete(obj, record_id))
    return Response(204)


def find_key(call, name, key_name):
    obj = dml.visible_object(call.org.schema, call.user, name)
    key = obj.field(key_name)
    if key is None or call.user.hidden[(obj.name, key.name)] or \
            not (key.external_id or key.id_lookup or key.type == "id"):
        raise not_found("Provided external ID field does not exist or is not accessible: "
                        + key_name)
    return obj, key


def find_by_key(call, obj, key, value):
    """Ids of the live records with that external id."""
    stored = values.convert(key, value)
    live = ' AND "IsDeleted" = 0' if obj.field("IsDeleted") else ""
    return [row[0] for row in call.org.store.reader.execute(
        'SELECT "Id" FROM "%s" WHERE "%s" = ? COLLATE NOCASE%s LIMIT 20'
        % (obj.name, key.name, live), (stored,))]


def several(call, obj, found):
    """300: the records that have the same external id."""
    return Response(300, ["%s/sobjects/%s/%s" % (call.base, obj.name, record_id)
                          for record_id in found])


def read_by_key(call, name, key_name, value):
    """GET /sobjects/X/Ext__c/value, or the content of a base64 field."""
    obj = dml.visible_object(call.org.schema, call.user, name)
    field = obj.field(value)
    if ids.well_formed(key_name) and field is not None and field.type == "base64":
        return blob(call, obj, ids.long_form(key_name), field)
    obj, key = find_key(call, name, key_name)
    found = find_by_key(call, obj, key, value)
    if not found:
        raise not_found()
    if len(found) > 1:
        return several(call, obj, found)
    return answer_row(call, obj, found[0])


def blob(call, obj, record_id, field):
    check_there(call, obj, record_id)
    row = call.org.store.reader.execute('SELECT "%s" FROM "%s" WHERE "Id" = ?'
                                        % (field.name, obj.name), (record_id,)).fetchone()
    return Response(200, body=row[0] or b"", content_type="application/octetstream")


def upsert(call, name, key_name, value):
    obj, key = find_key(call, name, key_name)
    record = call.json()
    if key.type != "id" and dml.pop_key(dict(record), key.name) is not None:
        raise ApiError(400, "INVALID_FIELD", "The %s field should not be specified in the sobject "
                       "data." % key.name, [key.name])
    try:
        record_id, is_new = change_row(
            call, lambda change: change.upsert(obj, key.name, record, value))
    except Ambiguous as error:
        return several(call, obj, error.found)
    if is_new:
        return created(call, obj, record_id, {"created": True})
    if float(call.version) < 46:
        return Response(204)
    return Response(200, {"id": record_id, "success": True, "errors": [], "created": False})


def upsert_new(call, name, key_name):
    """POST /sobjects/X/Id: the upsert that always creates."""
    obj, key = find_key(call, name, key_name)
    if key.type != "id":
        raise not_found()
    record = call.json()
    record_id = change_row(call, lambda change: change.insert(obj, record))
    return created(call, obj, record_id, {"created": True})


def delete_by_key(call, name, key_name, value):
    obj, key = find_key(call, name, key_name)
    found = find_by_key(call, obj, key, value)
    if not found:
        raise not_found()
    if len(found) > 1:
        return several(call, obj, found)
    change_row(call, lambda change: change.delete(obj, found[0]))
    return Response(204)


# -- getUpdated, getDeleted --------------------------------------------------------------------

def replication(call, name, days):
    """Object and window of a replication request: whole minutes, seconds are cut off."""
    org = call.org
    if call.is_sub and not org.config["updated_in_composite"]:
        raise ApiError(400, "INVALID_REQUEST", "The resource is not supported in composite "
                       "requests")
    obj = dml.visible_object(org.schema, call.user, name)
    if not obj.replicateable:
        raise ApiError(400, "INVALID_TYPE_FOR_OPERATION",
                       "object type %s is not replicateable" % obj.name)
    window = []
    for argument in ("start", "end"):
        moment = clock.parse_iso(call.request.args.get(argument, ""))
        if moment is None:
            raise ApiError(400, "INVALID_REPLICATION_DATE", "%s is missing or not a valid date "
                           "time: %s" % (argument, call.request.args.get(argument)))
        window.append(moment // MINUTE * MINUTE)
    start, end = window
    if end - start < MINUTE:
        raise ApiError(400, "INVALID_REPLICATION_DATE",
                       "startDate must be at least one minute before endDate")
    if start < org.clock.now() - days * DAY:
        raise ApiError(400, "INVALID_REPLICATION_DATE",
                       "startDate cannot be more than %d days ago" % days)
    if start > org.clock.now():
        raise ApiError(400, "INVALID_REPLICATION_DATE", "startDate is after the current time")
    return obj, start, end


def covered(org, end):
    """Up to when an answer is complete: not beyond the start of a transaction that is open."""
    latest = min(end, org.clock.now())
    held = org.store.oldest_open()
    if held is not None:
        latest = min(latest, held)
    latest -= 60 * org.config["extra_minutes_uncovered"]
    return latest // MINUTE * MINUTE


def check_count(found):
    if len(found) > MAX_IDS:
        raise ApiError(400, "EXCEEDED_ID_LIMIT", "too many ids: the limit is %d, use a smaller "
                       "window" % MAX_IDS)


def rest_date(moment):
    return clock.to_rest(clock.to_stored(moment))


def get_updated(call, name):
    obj, start, end = replication(call, name, 30)
    org = call.org
    latest = covered(org, end)
    column = "SystemModstamp" if obj.field("SystemModstamp") else "CreatedDate"
    live = ' AND "IsDeleted" = 0' if obj.field("IsDeleted") else ""
    found = [row[0] for row in org.store.reader.execute(
        'SELECT "Id" FROM "%s" WHERE "%s" >= ? AND "%s" <= ?%s ORDER BY "%s", "Id" LIMIT %d'
        % (obj.name, column, column, live, column, MAX_IDS + 1),
        (clock.to_stored(start), clock.to_stored(end)))]
    check_count(found)
    return Response(200, {"ids": found, "latestDateCovered": rest_date(latest)})


def get_deleted(call, name):
    org = call.org
    days = float(org.config["deleted_log_days"])
    obj, start, end = replication(call, name, 15)
    earliest = (org.clock.now() - days * DAY) // MINUTE * MINUTE
    latest = covered(org, end)
    found = org.store.deleted_between(obj, max(start, earliest), end)
    check_count(found)
    return Response(200, {
        "deletedRecords": [{"id": record_id, "deletedDate": clock.to_rest(deleted)}
                           for record_id, deleted in found],
        "earliestDateAvailable": rest_date(earliest),
        "latestDateCovered": rest_date(latest)})
