"""getUpdated and getDeleted: which records changed in a window of whole minutes."""

import clock
import dml
from errors import ApiError
from wire import Response

MINUTE, DAY = 60, 86400
MAX_IDS = 600000


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
    return Response(200, {"ids": found, "latestDateCovered": clock.rest(latest)})


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
        "earliestDateAvailable": clock.rest(earliest),
        "latestDateCovered": clock.rest(latest)})
