"""sObject rows: one record in a request, with the conditions that may go with it."""

import base64
import hashlib

import clock
import dml
import ids
import values
from dml import Ambiguous, Change
from errors import ApiError, not_found
from records import pop_key
from rest import compile_query
from soql_rows import Shaper
from wire import Response


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
    if pop_key(dict(record), "Id") is not None:
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
    if key.type != "id" and pop_key(dict(record), key.name) is not None:
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
