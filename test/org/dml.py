"""What happens when records change.

Every way in (rows, Collections, ingest jobs, the admin surface) comes through one Change: checks,
stamps, defaults, cascades, merge, conversion, and what the org's own automation does on top.
"""

import re

import rules
import soql
import values
from errors import ApiError, RecordError, no_access
from merging import Merging
from records import of_object, pop_key
from removal import Removal
from store import RowLocked

SYSTEM_DATES = ("CreatedDate", "LastModifiedDate", "SystemModstamp")
TEMPLATE = re.compile(r"\{(\w+)\}")
LIMIT = "%sTrigger: System.LimitException: Apex CPU time limit exceeded"
DUPLICATE = "You're creating a duplicate record. We recommend you use an existing record instead."


class Options:
    """How a change is to be made."""

    def __init__(self, system=False, stamp=None, touch=True, auto_assign=True, allow_save=False,
                 csv=False):
        self.system = system            # as the platform: no rights, no rules
        self.stamp = stamp
        self.touch = touch
        self.auto_assign = auto_assign
        self.allow_save = allow_save    # Sforce-Duplicate-Rule-Header
        self.csv = csv


def options_of(headers):
    """What the request's headers say about a change."""
    assign = (headers.get("sforce-auto-assign") or "TRUE").strip()
    duplicates = (headers.get("sforce-duplicate-rule-header") or "").replace(" ", "").lower()
    return Options(auto_assign=assign.upper() != "FALSE",
                   allow_save="allowsave=true" in duplicates)


def visible_object(schema, user, name, code="NOT_FOUND"):
    obj = schema.object(name or "")
    if obj is None or user.hidden_objects[obj.name]:
        if code == "NOT_FOUND":
            raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
        raise ApiError(400, "INVALID_TYPE", "sObject type '%s' is not supported." % name)
    return obj


class Change(Removal, Merging):
    """One transaction's worth of changes by one user, all with the same stamp."""

    def __init__(self, org, writer, user, options=None):
        self.org = org
        self.schema = org.schema
        self.writer = writer
        self.user = user
        self.options = options or Options()
        self.stamp = self.options.stamp or org.clock.stamp()
        self.together = 1       # records in this transaction

    # -- reading -------------------------------------------------------------------------------

    def row(self, obj, record_id):
        cursor = self.writer.query('SELECT * FROM "%s" WHERE "Id" = ?' % obj.name, (record_id,))
        found = cursor.fetchone()
        if found is None:
            return None
        return dict(zip([column[0] for column in cursor.description], found))

    def live_row(self, obj, record_id):
        """The row of a record that is there and not deleted."""
        row = self.row(obj, record_id)
        if row is None:
            gone = self.writer.query("SELECT 1 FROM sys_deleted WHERE object = ? AND id = ?",
                                     (obj.name, record_id)).fetchone()
            # what was purged is as unknown as what never was
            if gone and not (obj.undeletable and obj.field("IsDeleted")):
                raise RecordError("ENTITY_IS_DELETED", "entity is deleted", status=404)
            raise RecordError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id",
                              status=404)
        if row.get("IsDeleted"):
            raise RecordError("ENTITY_IS_DELETED", "entity is deleted", status=404)
        return row

    def lock(self, record_id):
        try:
            self.writer.lock(record_id)
        except RowLocked as error:
            raise RecordError(
                "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record or 1 "
                "records: %s" % error.record_id) from None

    def lock_parents(self, obj, columns):
        """Writing a child takes its parent's lock as well, as for the contacts of an account."""
        for name, value in columns.items():
            if value and obj.field(name).cascade:
                self.lock(value)

    # -- what a client sends -------------------------------------------------------------------

    def incoming(self, obj, record, creating):
        """Columns and stored values of a client's record."""
        out, refused = {}, []
        for name, value in record.items():
            if name.lower() == "attributes":
                continue
            if name.lower() == "id":
                continue
            field = obj.field(name)
            if field is None and isinstance(value, dict):
                field, value = self.by_foreign_key(obj, name, value)
            if field is None or (not self.options.system and
                                 self.user.hidden[(obj.name, field.name)]):
                raise ApiError(400, "INVALID_FIELD", "No such column '%s' on sobject of type %s"
                               % (name, obj.name))
            if not self.may_write(obj, field, creating):
                refused.append(field.name)
            elif field.stored:
                out[field.name] = values.convert(field, value)
        if refused:
            raise RecordError(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                "Unable to create/update fields: %s. Please check the security settings of this "
                "field and verify that it is read/write for your profile or permission set."
                % ", ".join(refused), refused)
        return out

    def may_write(self, obj, field, creating):
        if self.options.system:
            return field.stored
        if self.user.read_only[(obj.name, field.name)]:
            return False
        return field.createable if creating else field.updateable

    def by_foreign_key(self, obj, name, nested):
        """{"Account": {"Ext__c": "x"}}: the reference field and the id that it means."""
        field = obj.relationship(name)
        if field is None:
            return None, None
        nested = {key: value for key, value in nested.items() if key != "attributes"}
        if len(nested) != 1:
            raise ApiError(400, "JSON_PARSER_ERROR", "one external id is needed in %s" % name)
        (key, value), = nested.items()
        for target in field.reference_to:
            parent = self.schema.object(target)
            foreign = parent.field(key) if parent else None
            if foreign is None or not (foreign.id_lookup or foreign.external_id):
                continue
            found = self.by_key(parent, foreign, value)
            if len(found) == 1:
                return field, found[0]
        raise RecordError("INVALID_FIELD", "Foreign key external ID: %s not found for field %s in "
                          "entity %s" % (str(value).lower(), key, field.reference_to[0]))

    def by_key(self, obj, field, value):
        """Ids of the live records with a value in a field."""
        stored = values.convert(field, value if isinstance(value, str) or field.type not in
                                values.TEXT else str(value))
        if stored is None:
            return []
        collate = " COLLATE NOCASE" if field.type in values.TEXT else ""
        live = ' AND "IsDeleted" = 0' if obj.field("IsDeleted") else ""
        return [found[0] for found in self.writer.query(
            'SELECT "Id" FROM "%s" WHERE "%s" = ?%s%s LIMIT 5'
            % (obj.name, field.name, collate, live), (stored,))]

    # -- checks --------------------------------------------------------------------------------

    def check(self, obj, new, record_id, creating):
        """Required fields, references, unique values. `new` is what is being set."""
        missing = []
        for field in obj.fields:
            if field.nillable or not field.stored or not field.createable:
                continue
            if field.type == "boolean" or (field.name not in new and not creating):
                continue
            if new.get(field.name) is None and not (field.defaulted_on_create and
                                                    field.name not in new):
                missing.append(field.name)
        if missing:
            raise RecordError("REQUIRED_FIELD_MISSING", "Required fields are missing: [%s]"
                              % ", ".join(missing), missing)
        for name, value in new.items():
            field = obj.field(name)
            if value is None:
                continue
            if field.type == "reference" and field.reference_to:
                self.check_reference(field, value)
            if field.unique:
                self.check_unique(obj, field, value, record_id)

    def check_reference(self, field, value):
        parent = self.schema.object_of_id(value)
        if parent is None or parent.name not in field.reference_to:
            if any(self.schema.object(name) for name in field.reference_to) or parent:
                raise RecordError("MALFORMED_ID", "%s: id value of incorrect type: %s"
                                  % (field.label, value), [field.name])
            return
        columns = [name for name in ("IsDeleted", "IsActive") if parent.field(name)
                   and parent.field(name).stored]
        row = self.writer.query('SELECT "Id"%s FROM "%s" WHERE "Id" = ?' % (
            "".join(', "%s"' % name for name in columns), parent.name), (value,)).fetchone()
        if row is None:
            raise RecordError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id",
                              [field.name])
        state = dict(zip(columns, row[1:]))
        if state.get("IsDeleted"):
            raise RecordError("ENTITY_IS_DELETED", "entity is deleted", [field.name])
        if field.name == "OwnerId" and state.get("IsActive") == 0 and parent.name == "User":
            raise RecordError("INACTIVE_OWNER_OR_USER",
                              "operation performed with inactive user [%s] as owner of %s"
                              % (value[:15], field.label), [field.name])

    def check_unique(self, obj, field, value, record_id):
        for other in self.by_key(obj, field, value):
            if other != record_id:
                raise RecordError("DUPLICATE_VALUE", "duplicate value found: %s duplicates value "
                                  "on record with id: %s" % (field.name, other[:15]), [field.name])
        # what a held transaction has written is not seen, but it would collide all the same
        for held in self.org.store.held.values():
            if held is not self.writer.held and (obj.name, field.name, value) in held.unique:
                raise RecordError("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to "
                                  "this record or 1 records: %s" % (record_id or "")[:15])
        self.writer.unique.add((obj.name, field.name, value))

    def check_rules(self, obj, record_id):
        """The org's validation rule: a condition that must not hold afterwards."""
        rule = self.org.config["validation"]
        if self.options.system or not rule or rule["object"].lower() != obj.name.lower():
            return
        found = self.select(obj, "SELECT Id FROM %s WHERE Id = '%s' AND (%s)"
                            % (obj.name, record_id, rule["where"]))
        if found:
            fields = [rule["field"]] if rule.get("field") else []
            raise RecordError("FIELD_CUSTOM_VALIDATION_EXCEPTION",
                              rule.get("message", "This is not valid."), fields)

    def select(self, obj, text):
        compiled = soql.compile(soql.parse(text), self.schema, self.org.system_user,
                                all_rows=True, now=self.org.clock.datetime())
        return self.writer.query(compiled.sql, compiled.params).fetchall()

    def check_duplicates(self, obj, new, record_id):
        rule = self.org.config["duplicate_rule"]
        if self.options.system or not rule or rule["object"].lower() != obj.name.lower():
            return
        if rule.get("action", "alert") == "alert" and self.options.allow_save:
            return
        field = obj.field(rule["field"])
        value = new.get(field.name)
        if value is not None and [i for i in self.by_key(obj, field, value) if i != record_id]:
            raise RecordError("DUPLICATES_DETECTED", DUPLICATE)

    def check_governor(self, obj, op):
        """The org's own code can take only so many records in a transaction."""
        rule = self.org.config["governor"]
        if self.options.system or not rule or rule["object"].lower() != obj.name.lower() or \
                op not in rule.get("on", (op,)) or self.together <= rule["rows"]:
            return
        raise RecordError(rule.get("statusCode", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"),
                          rule.get("message", LIMIT % obj.name))

    # -- insert, update, upsert ----------------------------------------------------------------

    def insert(self, obj, record):
        if not self.options.system and (not obj.createable or
                                        self.user.read_only_objects[obj.name]):
            raise no_access(obj, "create")
        new = self.incoming(obj, record, True)
        self.org.faults.check_record(obj, "insert", record)
        self.check_governor(obj, "insert")
        given = next((value for name, value in record.items() if name.lower() == "id"), None)
        if given and not self.options.system:
            raise RecordError("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert "
                              "call", ["Id"])
        if not self.options.system:
            self.check(obj, new, None, True)
        record_id = given or self.org.store.new_id(obj)
        self.check_duplicates(obj, new, record_id)
        row = self.defaults(obj, new)
        row["Id"] = record_id
        self.assign_owner(obj, row, new)
        for field in obj.stored_fields:
            if field.type == "boolean" or (not field.nillable and row.get(field.name) is None
                                           and field.type in ("int", "double", "currency")):
                row[field.name] = row.get(field.name) or 0
        self.derive(obj, row, new, None)
        self.lock(record_id)
        self.lock_parents(obj, new)
        self.writer.execute('INSERT INTO "%s" (%s) VALUES (%s)' % (
            obj.name, ", ".join('"%s"' % name for name in row), ", ".join("?" * len(row))),
            list(row.values()))
        self.after(obj, record_id, "insert", row)
        return record_id

    def defaults(self, obj, new):
        row = {}
        for field in obj.stored_fields:
            if field.name in SYSTEM_DATES:
                row[field.name] = self.stamp
            elif field.name in ("CreatedById", "LastModifiedById", "OwnerId"):
                row[field.name] = self.user.id
            elif field.default_value is not None:
                row[field.name] = values.convert(field, field.default_value)
            elif field.default_formula is not None:
                row[field.name] = default_of(field)
        # a field that was sent as null stays null, a picklist's default included
        row.update(new)
        return row

    def assign_owner(self, obj, row, new):
        """The active assignment rule runs unless the request says Sforce-Auto-Assign: FALSE."""
        owner = self.org.config["assignment_owner"]
        if obj.name not in ("Lead", "Case") or not owner or not self.options.auto_assign \
                or self.options.system:
            return
        user = self.org.oauth.users.get(owner)
        row["OwnerId"] = user.id if user else owner

    def update(self, obj, record_id, record, if_unmodified_since=None):
        if not self.options.system and (not obj.updateable or
                                        self.user.read_only_objects[obj.name]):
            raise no_access(obj, "edit")
        record_id = of_object(obj, record_id)
        new = self.incoming(obj, record, False)
        row = self.live_row(obj, record_id)
        self.lock(record_id)
        self.org.faults.check_record(obj, "update", dict(record, Id=record_id))
        self.check_governor(obj, "update")
        if if_unmodified_since is not None:
            if_unmodified_since(row)
        if not self.options.system:
            self.check_open(obj, row)
            self.check(obj, new, record_id, False)
            self.check_duplicates(obj, new, record_id)
        if self.options.touch:
            new = dict(self.touched(obj), **new)
        self.assign_owner_again(obj, new)
        self.derive(obj, dict(row, **new), new, row)
        self.lock_parents(obj, new)
        self.set_columns(obj, record_id, new)
        self.after(obj, record_id, "update", dict(row, **new))
        return record_id

    def assign_owner_again(self, obj, new):
        """On update too: the rule runs for every save through the API that does not turn it off."""
        holder = {}
        self.assign_owner(obj, holder, new)
        new.update(holder)

    def check_open(self, obj, row):
        if obj.name == "Lead" and row.get("IsConverted"):
            raise RecordError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        if obj.name in ("Task", "Event") and row.get("IsArchived"):
            raise RecordError("ENTITY_IS_ARCHIVED", "entity is archived")

    def touched(self, obj):
        """The columns that say who changed a record, and when."""
        out = {}
        for name, value in (("LastModifiedDate", self.stamp), ("SystemModstamp", self.stamp),
                            ("LastModifiedById", self.user.id)):
            if obj.field(name):
                out[name] = value
        return out

    def set_columns(self, obj, record_id, columns):
        if columns:
            self.writer.execute('UPDATE "%s" SET %s WHERE "Id" = ?' % (
                obj.name, ", ".join('"%s" = ?' % name for name in columns)),
                list(columns.values()) + [record_id])

    def upsert(self, obj, key_name, record, key_value=None):
        """-> (id, created). The record is found by a field that is an external id, or Id."""
        key = obj.field(key_name)
        if key is None or not (key.type == "id" or key.external_id or key.id_lookup) \
                or self.user.hidden[(obj.name, key.name)]:
            raise ApiError(400, "INVALID_FIELD", "Field name provided, %s does not match an "
                           "External ID, Salesforce Id, or indexed field for %s"
                           % (key_name, obj.name))
        record = dict(record)
        if key_value is None:
            key_value = pop_key(record, key.name)
        if key.type == "id":
            if not key_value:
                return self.insert(obj, record), True
            return self.update(obj, key_value, record), False
        if key_value in (None, ""):
            raise RecordError("MISSING_ARGUMENT", "%s not specified" % key.name, [key.name])
        found = self.by_key(obj, key, key_value)
        if len(found) > 1:
            raise Ambiguous(obj, key, found)
        if found:
            return self.update(obj, found[0], record), False
        record[key.name] = key_value
        return self.insert(obj, record), True

    # -- what the org does by itself -----------------------------------------------------------

    def derive(self, obj, row, new, old):
        """Fields that follow from others; the results go into `new` (update) or `row` (insert)."""
        if obj.name in rules.DERIVE and not self.options.system:
            rules.DERIVE[obj.name](self, obj, row, row if old is None else new, old)

    def as_platform(self):
        """The same change, made by the org itself: no rights, no rules."""
        return Change(self.org, self.writer, self.user, Options(system=True, stamp=self.stamp))

    def without_assignment(self):
        return Change(self.org, self.writer, self.user,
                      Options(stamp=self.stamp, auto_assign=False))

    def one(self, sql, *params):
        row = self.writer.query(sql, params).fetchone()
        return row[0] if row else None

    def after(self, obj, record_id, event, row):
        """After the save: what belongs to a new record, triggers, validation."""
        if obj.name in rules.AFTER and not self.options.system:
            rules.AFTER[obj.name](self, obj, record_id, row, event == "insert")
        trigger = self.org.config["trigger"]
        if trigger and not self.options.system and event in trigger.get("on", (event,)) and \
                trigger["object"].lower() == obj.name.lower():
            self.fire(obj, record_id, trigger, row)
        self.check_rules(obj, record_id)

    def fire(self, obj, record_id, trigger, row):
        """A trigger of the org changes other fields of the record in the same transaction."""
        columns = {}
        for name, template in trigger["set"].items():
            field = obj.field(name)
            value = template
            if isinstance(template, str):
                value = TEMPLATE.sub(lambda m: str(row.get(m.group(1)) or ""), template)
            columns[field.name] = values.convert(field, value)
        self.set_columns(obj, record_id, columns)


class Ambiguous(Exception):
    """An external id that stands in several records: 300 for a row, an error in Collections."""

    def __init__(self, obj, field, found):
        super().__init__(field.name)
        self.obj = obj
        self.field = field
        self.found = found

    def as_record_error(self):
        return RecordError("DUPLICATE_EXTERNAL_ID", "%s: more than one record found for external "
                           "id field: [%s]" % (self.field.name, ", ".join(
                               record_id[:15] for record_id in self.found)), [self.field.name])


def default_of(field):
    """The value of a default formula, as far as it is a constant."""
    text = field.default_formula.strip()
    return values.convert(field, text.strip("\"'"))


# -- many records at once ----------------------------------------------------------------------

class Undo(Exception):
    """Take back what was done, and answer with these results."""

    def __init__(self, results):
        super().__init__()
        self.results = results


ROLLED_BACK = {"statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK",
               "message": "Record rolled back because not all records were valid and the request "
                          "was using AllOrNone header", "fields": []}


def each(change, work, items, all_or_none=False):
    """Do `work` for every item, each on its own: one that fails leaves nothing behind.

    `work` gives the result's entries. With all_or_none the first that fails takes all back.
    """
    results, failed = [], False
    change.together = len(items)
    for item in items:
        try:
            with change.writer.savepoint():
                result = work(item)
            results.append(dict(result, success=True, errors=[]))
        except Ambiguous as error:
            failed = True
            results.append({"success": False, "errors": [error.as_record_error().entry()]})
        except RecordError as error:
            failed = True
            results.append({"success": False, "errors": [error.entry()]})
    if failed and all_or_none:
        raise Undo([result if not result["success"] else
                    {"success": False, "errors": [ROLLED_BACK]} for result in results])
    return results


def run(org, user, options, make_work, items, all_or_none=False, tx=None):
    """One transaction around each(); -> (results, stamp)."""
    stamp = None
    try:
        with org.store.write(tx) as writer:
            change = Change(org, writer, user, options)
            stamp = change.stamp
            return each(change, make_work(change), items, all_or_none), stamp
    except Undo as undo:
        return undo.results, stamp
