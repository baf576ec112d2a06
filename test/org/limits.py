"""The allowance of API calls and the other limits that an org answers for."""

import threading

from errors import ApiError
from wire import Response


class Limits:
    """Counts calls. The window is not modelled: a test sets what is used."""

    def __init__(self, maximum):
        self.max = maximum
        self.used = 0
        self.bulk_query_jobs = 10000        # that remain
        self.app_usage = None               # text behind per-app-api-usage=
        self._lock = threading.Lock()

    def charge(self, calls=1):
        """Take calls off the allowance; refuses when there are none left."""
        with self._lock:
            if self.used >= self.max:
                raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
            self.used += calls

    def header(self):
        text = "api-usage=%d/%d" % (self.used, self.max)
        if self.app_usage:
            text += "; per-app-api-usage=" + self.app_usage
        return text

    def take_query_job(self):
        with self._lock:
            if self.bulk_query_jobs <= 0:
                raise ApiError(400, "LIMIT_EXCEEDED",
                               "Max bulk v2 query jobs (10000) per 24 hrs has been reached")
            self.bulk_query_jobs -= 1

    def to_json(self):
        return {"max": self.max, "used": self.used, "bulk_query_jobs": self.bulk_query_jobs,
                "app_usage": self.app_usage}


def limits(call):
    """GET /limits"""
    mine = call.org.limits
    fixed = {
        "ConcurrentAsyncGetReportInstances": (200, 200),
        "ConcurrentSyncReportRuns": (20, 20),
        "DailyAsyncApexExecutions": (250000, 250000),
        "DailyBulkApiBatches": (15000, 15000),
        "DailyBulkV2QueryFileStorageMB": (976562, 976562),
        "DailyDeliveredPlatformEvents": (50000, 50000),
        "DailyStandardVolumePlatformEvents": (25000, 25000),
        "DailyStreamingApiEvents": (1000000, 1000000),
        "DataStorageMB": (10240, 10112),
        "FileStorageMB": (10240, 10240),
        "HourlyTimeBasedWorkflow": (1000, 1000),
        "MassEmail": (5000, 5000),
        "SingleEmail": (5000, 5000),
        "StreamingApiConcurrentClients": (2000, 2000),
    }
    out = {name: {"Max": top, "Remaining": left} for name, (top, left) in fixed.items()}
    # an entry may have entries of its own
    out["PermissionSets"] = {"Max": 1500, "Remaining": 1499,
                             "CreateCustom": {"Max": 1000, "Remaining": 999}}
    out["DailyApiRequests"] = {"Max": mine.max, "Remaining": max(0, mine.max - mine.used)}
    out["DailyBulkV2QueryJobs"] = {"Max": 10000, "Remaining": mine.bulk_query_jobs}
    return Response(200, dict(sorted(out.items())))


def record_count(call):
    """GET /limits/recordCount: approximate by definition, here it is exact."""
    names = [name.strip() for name in call.request.args.get("sObjects", "").split(",")]
    objects = [call.org.schema.object(name) for name in names if name]
    if not objects:
        objects = call.org.schema.objects
    counts = []
    for obj in objects:
        if obj is None or call.user.hidden_objects[obj.name]:
            continue
        where = ' WHERE "IsDeleted" = 0' if obj.field("IsDeleted") else ""
        row = call.org.store.reader.execute('SELECT count(*) FROM "%s"%s' % (obj.name, where))
        count = row.fetchone()[0]
        if count or names[0]:
            counts.append({"count": count, "name": obj.name})
    return Response(200, {"sObjects": [entry for entry in counts if entry["count"]]})
