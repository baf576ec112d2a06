"""sObject Collections: up to 200 records in a request, each with its own result."""

import dml
import ids
import rows
from errors import ApiError, RecordError
from records import pop_key
from wire import Response

MAX_RECORDS, MAX_CHUNKS, MAX_READ = 200, 10, 2000


def records_of(call):
    """allOrNone and the records of a request's body."""
    data = call.json()
    records = data.get("records")
    if not isinstance(records, list) or not all(isinstance(item, dict) for item in records):
        raise ApiError(400, "JSON_PARSER_ERROR", "records must be a list of sObjects")
    if not records:
        raise ApiError(400, "MISSING_ARGUMENT", "records not specified")
    if len(records) > MAX_RECORDS:
        raise ApiError(400, "INVALID_BATCH_SIZE", "record batch size exceeded: the limit is %d"
                       % MAX_RECORDS)
    return bool(data.get("allOrNone", False)), records


def type_of(call, record):
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    if not name:
        raise ApiError(400, "INVALID_TYPE", "The type attribute of a record is missing")
    return dml.visible_object(call.org.schema, call.user, name, "INVALID_TYPE")


def typed(call, records):
    """(object, record) pairs. Runs of the same type are the chunks that the API counts."""
    pairs = [(type_of(call, record), record) for record in records]
    chunks = 1 + sum(a[0] is not b[0] for a, b in zip(pairs, pairs[1:]))
    if chunks > MAX_CHUNKS:
        raise ApiError(400, "TOO_MANY_CHUNKS", "the request has %d chunks of record types, the "
                       "limit is %d" % (chunks, MAX_CHUNKS))
    return pairs


def answer(call, work, items, all_or_none):
    results, _ = dml.run(call.org, call.user, dml.options_of(call.request.headers), work, items,
                         all_or_none)
    return Response(200, results)


def create(call):
    all_or_none, records = records_of(call)
    return answer(call, lambda change: lambda item: {"id": change.insert(item[0], item[1])},
                  typed(call, records), all_or_none)


def update(call):
    all_or_none, records = records_of(call)

    def work(change):
        def one(item):
            obj, record = item
            record = dict(record)
            record_id = pop_key(record, "Id")
            if not record_id:
                raise RecordError("MISSING_ARGUMENT", "Id not specified in an update call", ["Id"])
            return {"id": change.update(obj, record_id, record)}
        return one
    return answer(call, work, typed(call, records), all_or_none)


def upsert(call, name, key_name):
    all_or_none, records = records_of(call)
    obj = dml.visible_object(call.org.schema, call.user, name)
    for kind, _ in typed(call, records):
        if kind is not obj:
            raise ApiError(400, "INVALID_TYPE", "all records must be of type %s" % obj.name)
    key = obj.field(key_name)
    seen = {}
    for record in records:
        value = pop_key(dict(record), key.name if key else key_name)
        if value is not None:
            seen[str(value).lower()] = seen.get(str(value).lower(), 0) + 1

    def work(change):
        def one(record):
            value = pop_key(dict(record), key.name if key else key_name)
            if value is not None and seen[str(value).lower()] > 1:
                raise RecordError("DUPLICATE_VALUE", "Duplicate external id specified: %s" % value,
                                  [key.name])
            record_id, created = change.upsert(obj, key_name, record)
            return {"id": record_id, "created": created}
        return one
    return answer(call, work, records, all_or_none)


def delete(call):
    wanted = [part.strip() for part in call.request.args.get("ids", "").split(",") if part.strip()]
    if not wanted:
        raise ApiError(400, "MISSING_ARGUMENT", "ids not specified")
    if len(wanted) > MAX_RECORDS:
        raise ApiError(400, "INVALID_BATCH_SIZE", "record batch size exceeded: the limit is %d"
                       % MAX_RECORDS)
    all_or_none = call.request.args.get("allOrNone", "false").lower() == "true"

    def work(change):
        def one(record_id):
            if not ids.well_formed(record_id):
                raise RecordError("MALFORMED_ID", "malformed id %s" % record_id)
            obj = call.org.schema.object_of_id(record_id)
            if obj is None or call.user.hidden_objects[obj.name]:
                raise RecordError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
            return {"id": change.delete(obj, record_id)}
        return one
    return answer(call, work, wanted, all_or_none)


def read(call, name):
    """GET with ids and fields in the URL, or POST with them in the body. Unknown ids give null."""
    obj = dml.visible_object(call.org.schema, call.user, name)
    if call.request.method == "POST":
        data = call.json()
        wanted, names = data.get("ids") or [], data.get("fields") or []
    else:
        args = call.request.args
        wanted = [part for part in args.get("ids", "").split(",") if part]
        names = [part for part in args.get("fields", "").split(",") if part]
    if not wanted or not names:
        raise ApiError(400, "MISSING_ARGUMENT", "ids and fields are needed")
    if len(wanted) > MAX_READ:
        raise ApiError(400, "INVALID_BATCH_SIZE", "the limit is %d ids" % MAX_READ)
    for name in names:
        rows.check_field(call.user, obj, name)
    out = []
    for record_id in wanted:
        good = ids.well_formed(record_id)
        record_id = ids.long_form(record_id) if good else record_id
        out.append(rows.record_json(call, obj, record_id, names)
                   if good and not rows.is_deleted(call, obj, record_id) else None)
    return Response(200, out)
