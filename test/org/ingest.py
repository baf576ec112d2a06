"""Bulk API 2.0 ingest jobs: a CSV of changes in, results out in an order of their own."""

import csv
import io
import random
import threading
import time

import bulk
import dml
from dml import Change, Options
from errors import ApiError, RecordError, not_found
from records import pop_key
from wire import Response

OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
KEYS = {"object", "operation", "externalIdFieldName", "contentType", "columnDelimiter",
        "lineEnding", "assignmentRuleId"}
MAX_BYTES = 150 * 1024 * 1024
MAX_VALUE, MAX_LONG_VALUE = 32000, 131072
CHUNK = 200
NULL = "#N/A"


class IngestJob(bulk.Job):
    kind = "V2Ingest"

    def __init__(self, org, number, user, version, data):
        super().__init__(org, number, user, version, data)
        self.state = "Open"
        self.key_name = data.get("externalIdFieldName")
        self.rule = data.get("assignmentRuleId")
        self.content = None
        self.columns = []
        self.successes = []         # (id, created, row)
        self.failures = []          # (id, error, row)
        self.unprocessed = []       # rows
        self.busy = 0.0
        self.fail_with = None

    def created_json(self):
        out = self.basics()
        out.update(contentUrl="services/data/v%s/jobs/ingest/%s/batches" % (self.version, self.id),
                   lineEnding=self.line_end, columnDelimiter=self.delimiter)
        if self.key_name:
            out["externalIdFieldName"] = self.key_name
        if self.rule:
            out["assignmentRuleId"] = self.rule
        return out

    def to_json(self):
        out = self.created_json()
        out.update(
            jobType=self.kind, retries=0, totalProcessingTime=int(self.seconds * 1000),
            apiActiveProcessingTime=int(self.busy * 1000), apexProcessingTime=0,
            numberRecordsProcessed=len(self.successes) + len(self.failures),
            numberRecordsFailed=len(self.failures))
        if self.error:
            out["errorMessage"] = self.error
        return out


class Ingest:
    def __init__(self, org):
        self.org = org
        self.jobs = {}

    def find(self, job_id):
        job = self.jobs.get(job_id[:15])
        if job is None:
            raise not_found()
        return job

    # -- running a job -------------------------------------------------------------------------

    def start(self, job):
        threading.Thread(target=self.run, args=(job,), daemon=True).start()

    def run(self, job):
        try:
            if not job.wait_turn():
                return
            if job.fail_with:
                raise Refused(job.fail_with)
            job.set_state("InProgress")
            started = time.monotonic()
            rows = self.read(job)
            self.process(job, rows)
            job.busy = time.monotonic() - started
            shuffle = random.Random("%s %s" % (self.org.config["ingest_seed"], job.id))
            shuffle.shuffle(job.successes)
            shuffle.shuffle(job.failures)
            job.set_state("JobComplete")
        except Refused as error:
            job.set_state("Failed", str(error))
        except Exception as error:  # pylint: disable=broad-except
            job.set_state("Failed", "InternalServerError : %s" % error)
            raise

    def read(self, job):
        """Header and rows of the uploaded CSV."""
        text = decode(job)
        check_line_ends(text, job.line_end)
        reader = csv.reader(io.StringIO(text, newline=""),
                            delimiter=bulk.DELIMITERS[job.delimiter], strict=True)
        try:
            rows = list(reader)
        except csv.Error as error:
            raise Refused("InvalidBatch : Failed to parse CSV: %s" % error) from None
        if not rows:
            raise Refused("InvalidBatch : The CSV has no header line")
        job.columns = [name.strip() for name in rows[0]]
        check_columns(self.org, job)
        width = len(job.columns)
        rows = [row for row in rows[1:] if row]
        for number, row in enumerate(rows, 2):
            if len(row) != width:
                job.unprocessed = rows
                raise Refused("InvalidBatch : The number of columns in row %d is %d, it should be "
                              "%d" % (number, len(row), width))
        return rows

    def process(self, job, rows):
        """Chunks of 200, each a transaction of its own; an abort leaves the rest unprocessed."""
        obj = self.org.schema.object(job.object_name)
        options = Options(auto_assign=bool(job.rule), csv=True)
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start:start + CHUNK]
            if job.state in bulk.FINAL or self.org.stop.is_set():
                job.unprocessed += rows[start:]
                return
            with self.org.store.write() as writer:
                change = Change(self.org, writer, job.user, options)
                change.together = len(chunk)
                for row in chunk:
                    self.process_row(job, obj, change, row)

    def process_row(self, job, obj, change, row):
        record_id = ""
        try:
            if job.state in bulk.FINAL:
                job.unprocessed.append(row)
                return
            record = record_of(change, obj, job.columns, row)
            record_id = pop_key(dict(record), "Id") or ""
            with change.writer.savepoint():
                record_id, created = apply(job, obj, change, record)
            job.successes.append((record_id, created, row))
        except dml.Ambiguous as error:
            self.failed(job, record_id, error.as_record_error(), row)
        except RecordError as error:
            self.failed(job, record_id, error, row)
        except ApiError as error:
            # what is the whole request's mistake in JSON is one row's here
            self.failed(job, record_id, RecordError(
                "INVALID_TYPE_ON_FIELD_IN_RECORD" if error.code == "JSON_PARSER_ERROR"
                else error.code, error.message), row)

    @staticmethod
    def failed(job, record_id, error, row):
        text = "%s:%s:%s--" % (error.code, error.message,
                               ", ".join(error.fields) + " " if error.fields else "")
        job.failures.append((record_id, text, row))


class Refused(Exception):
    """Why a job fails as a whole."""


def decode(job):
    try:
        return job.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused("InvalidBatch : The content is not UTF-8") from None


def check_line_ends(text, line_end):
    """The line ends outside of quotes must be the job's."""
    wrong = "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting " \
        "is " + line_end
    first = text.find("\n")
    if first < 0:
        if line_end == "LF" and "\r" in text:
            raise Refused(wrong)
        return
    # the odd pieces between quotes are inside of values
    for at, piece in enumerate(text.split('"')):
        if at % 2:
            continue
        crlf = piece.count("\r\n")
        if line_end == "LF" and crlf or line_end == "CRLF" and piece.count("\n") > crlf:
            raise Refused(wrong)


def check_columns(org, job):
    obj = org.schema.object(job.object_name)
    seen = set()
    for name in job.columns:
        if name.lower() in seen:
            raise Refused("InvalidBatch : Duplicate field name : %s" % name)
        seen.add(name.lower())
        first = name.split(".")[0].split(":")[-1]
        field = obj.relationship(first) if "." in name else obj.field(name)
        if field is None or job.user.hidden[(obj.name, field.name)]:
            raise Refused("InvalidBatch : Field name not found : %s" % name)
    if job.operation in ("update", "delete", "hardDelete") and "id" not in seen:
        raise Refused("InvalidBatch : Field name not found : Id")
    if job.operation == "upsert" and (job.key_name or "").lower() not in seen:
        raise Refused("InvalidBatch : Field name not found : %s" % job.key_name)


def record_of(change, obj, columns, row):
    """Empty means: leave it as it is. #N/A means: make it null."""
    record = {}
    for name, value in zip(columns, row):
        if value == "":
            continue
        field = obj.field(name)
        most = MAX_LONG_VALUE if field is not None and field.type == "textarea" and \
            field.length > MAX_VALUE else MAX_VALUE
        if len(value) > most:
            raise RecordError("STRING_TOO_LONG", "%s: data value too large" % name, [name])
        if "." in name:
            relation, _, key = name.partition(".")
            kind, _, relation = relation.rpartition(":")
            field = obj.relationship(relation)
            record[field.name] = None if value == NULL else \
                foreign_id(change, field, kind, key, value)
        else:
            record[name] = None if value == NULL else value
    return record


def foreign_id(change, field, kind, key_name, value):
    """Relationship.Ext__c, or Type:Relationship.Ext__c where several types are possible."""
    for name in field.reference_to:
        parent = change.schema.object(name)
        if parent is None or (kind and kind.lower() != name.lower()):
            continue
        key = parent.field(key_name)
        if key is None or not (key.external_id or key.id_lookup):
            continue
        found = change.by_key(parent, key, value)
        if len(found) == 1:
            return found[0]
    raise RecordError("INVALID_FIELD", "Foreign key external ID: %s not found for field %s in "
                      "entity %s" % (value.lower(), key_name, kind or field.reference_to[0]))


def apply(job, obj, change, record):
    """-> (id, created)"""
    if job.operation == "insert":
        return change.insert(obj, record), True
    if job.operation == "upsert":
        return change.upsert(obj, job.key_name, record)
    record_id = pop_key(record, "Id")
    if not record_id:
        raise RecordError("MISSING_ARGUMENT", "Id not specified in %s call" % job.operation)
    if job.operation == "update":
        return change.update(obj, record_id, record), False
    record_id = change.delete(obj, record_id)
    if job.operation == "hardDelete" and (change.row(obj, record_id) or {}).get("IsDeleted"):
        change.purge(obj, record_id)
    return record_id, False


# -- the resources -----------------------------------------------------------------------------

def create(call):
    """POST /jobs/ingest"""
    data = call.json()
    bulk.check_choices(data, KEYS)
    if data.get("operation") not in OPERATIONS:
        raise bulk.bad("INVALIDJOB", "Operation must be one of " + ", ".join(OPERATIONS))
    obj = call.org.schema.object(data.get("object") or "")
    if obj is None or call.user.hidden_objects[obj.name] or not obj.bulk:
        raise bulk.bad("INVALIDENTITY", "Entity '%s' is not supported by the Bulk API."
                       % data.get("object"))
    if data["operation"] == "hardDelete" and \
            call.user.profile_name != "System Administrator":
        raise ApiError(403, "FEATURENOTENABLED", "hardDelete operation requires special user "
                       "profile permission, please contact your system administrator")
    if data["operation"] == "upsert":
        key = obj.field(data.get("externalIdFieldName") or "")
        if key is None or not (key.external_id or key.id_lookup or key.type == "id"):
            raise bulk.bad("INVALIDJOB", "InvalidJob : Field name provided, %s does not match an "
                           "External ID for %s" % (data.get("externalIdFieldName"), obj.name))
    job = IngestJob(call.org, call.org.bulk.new_number(), call.user, call.version, data)
    job.object_name = obj.name
    job.fail_with = call.fault_action.get("job_failed")
    call.org.ingest.jobs[job.id[:15]] = job
    return Response(200, job.created_json())


def upload(call, job_id):
    """PUT /jobs/ingest/{id}/batches: exactly once."""
    job = call.org.ingest.find(job_id)
    kind = (call.request.headers.get("content-type") or "").split(";")[0].strip().lower()
    if kind != "text/csv":
        raise bulk.bad("INVALIDJOB", "Content-Type must be text/csv")
    # the limit holds after base64
    if len(call.request.body) * 4 // 3 > MAX_BYTES:
        raise ApiError(413, "REQUEST_ENTITY_TOO_LARGE", "The content is too large")
    with job.lock:
        if job.state != "Open" or job.content is not None:
            raise bulk.bad("INVALIDJOBSTATE", "Found multiple contents for job: <%s>, please "
                           "'Close' / 'Abort' / 'Delete' the current Job then create a new Job"
                           % job.id[:15])
        job.content = call.request.body
    return Response(201)


def status(call, job_id):
    return Response(200, call.org.ingest.find(job_id).to_json())


def listing(call):
    return bulk.job_list(call, call.org.ingest.jobs)


def change(call, job_id):
    """PATCH {"state": "UploadComplete" or "Aborted"}"""
    job = call.org.ingest.find(job_id)
    state = call.json().get("state")
    with job.lock:
        if state == "Aborted":
            if not job.set_state("Aborted"):
                raise bulk.bad("INVALIDJOBSTATE", "Aborting Job not allowed in state "
                               + job.state)
        elif state == "UploadComplete":
            if job.state != "Open":
                raise bulk.bad("INVALIDJOBSTATE", "Closing Job not allowed in state " + job.state)
            if job.content is None:
                raise bulk.bad("INVALIDJOBSTATE", "Job has no content")
            job.state = "UploadComplete"
            job.changed = call.org.clock.now()
            job.started = time.monotonic()
            call.org.ingest.start(job)
        else:
            raise bulk.bad("INVALIDJOBSTATE", "state must be UploadComplete or Aborted")
    return Response(200, job.created_json())


def delete(call, job_id):
    job = call.org.ingest.find(job_id)
    if job.state in ("InProgress", "Open"):
        raise bulk.bad("INVALIDJOBSTATE", "Deleting a job in state %s is not allowed" % job.state)
    del call.org.ingest.jobs[job.id[:15]]
    return Response(204)


def results(call, job_id, which):
    job = call.org.ingest.find(job_id)
    if job.state not in bulk.FINAL:
        raise bulk.bad("INVALIDJOBSTATE", "Invalid job state: " + job.state)
    kind = which.lower()
    if kind == "successfulresults":
        head, rows = ["sf__Id", "sf__Created"], [
            [record_id, "true" if created else "false"] + row
            for record_id, created, row in job.successes]
    elif kind == "failedresults":
        head, rows = ["sf__Id", "sf__Error"], [
            [record_id, error] + row for record_id, error, row in job.failures]
    else:
        head, rows = [], job.unprocessed
    out = io.StringIO()
    writer = csv.writer(out, delimiter=bulk.DELIMITERS[job.delimiter], quoting=csv.QUOTE_ALL,
                        lineterminator=bulk.LINE_ENDS[job.line_end])
    writer.writerow(head + job.columns)
    writer.writerows(rows)
    return Response(200, body=out.getvalue().encode(), content_type="text/csv")
