"""The admin surface: tests act through it as everybody and everything but the client."""

import datetime
import json
import sqlite3
import threading
import time
import traceback

import clock
import dml
import rest
import soql
from dml import Options
from errors import ApiError, RecordError
from records import pop_key
from oauth import User
from schema import Field, SObject
from soql_rows import Shaper
from wire import Response

MORE_FACTS = {"externalId": "external_id", "referenceTo": "reference_to",
              "relationshipName": "relationship_name", "inlineHelpText": "help",
              "picklistValues": "picklist", "calculatedFormula": "formula",
              "compoundFieldName": "compound_field_name", "restrictedPicklist":
              "restricted_picklist", "defaultedOnCreate": "defaulted_on_create",
              "defaultValue": "default_value", "idLookup": "id_lookup", "nameField": "name_field"}


class Mistake(Exception):
    """What the test asked for makes no sense."""


class Arguments:
    """The keys of a request; what is asked for by no one is a typing mistake."""

    def __init__(self, data):
        self.data = dict(data)

    def take(self, name, default=None):
        return self.data.pop(name, default)

    def need(self, name):
        if name not in self.data:
            raise Mistake("%s is missing" % name)
        return self.data.pop(name)

    def has(self, name):
        return name in self.data

    def end(self):
        if self.data:
            raise Mistake("unknown: %s" % ", ".join(sorted(self.data)))


class Admin:
    def __init__(self, org, shut_down):
        self.org = org
        self.shut_down = shut_down
        self.replaying = False
        self.routes = {
            ("POST", "/dml"): self.dml, ("POST", "/change"): self.change,
            ("POST", "/tx/begin"): self.begin, ("POST", "/tx/commit"): self.commit,
            ("POST", "/tx/rollback"): self.rollback, ("GET", "/rows"): self.rows,
            ("GET", "/count"): self.count, ("POST", "/fault"): self.fault,
            ("GET", "/faults"): self.faults, ("DELETE", "/faults"): self.drop_faults,
            ("POST", "/expire"): self.expire, ("POST", "/rotate"): self.rotate,
            ("POST", "/revoke"): self.revoke,
            ("POST", "/grant"): self.grant, ("POST", "/users"): self.users,
            ("POST", "/app"): self.app, ("POST", "/fls"): self.fls,
            ("POST", "/schema"): self.schema, ("POST", "/clock"): self.clock,
            ("GET", "/clock"): self.now, ("POST", "/limits"): self.limits,
            ("GET", "/limits"): self.limits, ("POST", "/config"): self.config,
            ("GET", "/config"): self.config, ("GET", "/calls"): self.calls,
            ("POST", "/calls/reset"): self.reset_calls,
            ("POST", "/cursors/expire"): self.expire_cursors, ("GET", "/jobs"): self.jobs,
            ("POST", "/jobs/release"): self.release, ("GET", "/info"): self.info,
            ("POST", "/shutdown"): self.shutdown,
        }

    def handle(self, request, _listener):
        """What the admin port's listener calls."""
        handler = self.routes.get((request.method, request.path.rstrip("/")))
        try:
            if handler is None:
                raise Mistake("no such verb: %s %s" % (request.method, request.path))
            data = json.loads(request.body) if request.body.strip() else {}
            arguments = Arguments(dict(request.args, **data))
            answer = handler(arguments)
            return Response(200, answer)
        except (Mistake, KeyError, ValueError, TypeError, AttributeError,
                sqlite3.Error) as error:
            if not isinstance(error, Mistake):
                traceback.print_exc()
            return Response(400, {"error": str(error) or repr(error)})
        except (ApiError, RecordError, soql.SoqlError) as error:
            return Response(400, {"error": "%s: %s" % (error.code, error.message)})

    # -- records -------------------------------------------------------------------------------

    def user(self, name):
        name = name or "admin@example.com"
        user = self.org.oauth.users.get(name)
        if user is None:
            raise Mistake("no user %s" % name)
        return user

    def object(self, name):
        obj = self.org.schema.object(name)
        if obj is None:
            raise Mistake("no object %s" % name)
        return obj

    def dml(self, arguments):
        op = arguments.need("op")
        obj = self.object(arguments.take("object", "Lead") if op == "convert"
                          else arguments.need("object"))
        records = arguments.need("records")
        user = self.user(arguments.take("as"))
        key = arguments.take("external_id", "Id")
        options = Options(system=arguments.take("system", False), stamp=arguments.take("stamp"),
                          touch=arguments.take("touch", True),
                          auto_assign=arguments.take("auto_assign", False), allow_save=True)
        tx, all_or_none = arguments.take("tx"), arguments.take("all_or_none", False)
        arguments.end()
        if op not in WORK:
            raise Mistake("op must be one of %s" % ", ".join(WORK))
        results, stamp = dml.run(self.org, user, options,
                                 lambda change: lambda record: WORK[op](change, obj, record, key),
                                 records, all_or_none, tx)
        return {"stamp": stamp, "results": results}

    def change(self, arguments):
        """Many rows at once, in SQL."""
        org = self.org
        obj = self.object(arguments.need("object"))
        where, limit = arguments.take("where"), arguments.take("limit")
        values, tx = arguments.need("set"), arguments.take("tx")
        user = self.user(arguments.take("as"))
        options = Options(stamp=arguments.take("stamp"), touch=arguments.take("touch", True))
        arguments.end()
        with org.store.write(tx) as writer:
            work = dml.Change(org, writer, user, options)
            find, params = soql.where_sql(where, org.schema, obj, org.system_user,
                                          all_rows=False, now=org.clock.datetime())
            find += " LIMIT %d" % limit if limit else ""
            found = [row[0] for row in writer.query(find, params)]
            for record_id in found if org.store.row_locks else ():
                work.lock(record_id)
            if tx:
                writer.rows.update(found)
            columns, settings = self.settings(obj, values)
            if options.touch:
                for name, value in work.touched(obj).items():
                    columns.append('"%s" = ?' % name)
                    settings.append(value)
            writer.execute('UPDATE "%s" SET %s WHERE "Id" IN (SELECT value FROM json_each(?))'
                           % (obj.name, ", ".join(columns)), settings + [json.dumps(found)])
        return {"changed": len(found), "stamp": work.stamp}

    @staticmethod
    def settings(obj, values):
        columns, settings = [], []
        for name, value in values.items():
            field = obj.field(name)
            if field is None or not field.stored:
                raise Mistake("no column %s" % name)
            if isinstance(value, str) and "{Id}" in value:
                columns.append('"%s" = replace(?, \'{Id}\', "Id")' % field.name)
            else:
                columns.append('"%s" = ?' % field.name)
            settings.append(int(value) if isinstance(value, bool) else value)
        return columns, settings

    def begin(self, arguments):
        arguments.end()
        held = self.org.store.begin()
        return {"tx": held.name, "started": clock.to_stored(held.started)}

    def commit(self, arguments):
        name = arguments.need("tx")
        arguments.end()
        self.org.store.commit(name)
        return {}

    def rollback(self, arguments):
        name = arguments.need("tx")
        arguments.end()
        self.org.store.rollback(name)
        return {}

    def rows(self, arguments):
        org, text, user = self.org, arguments.need("soql"), self.user(arguments.take("as"))
        arguments.end()
        compiled = rest.compile_query(org, user, text, True)
        reader = org.store.reader
        rows = reader.execute(compiled.sql, compiled.params).fetchall()
        if compiled.count_only:
            return {"records": [{"expr0": rows[0][0]}]}
        return {"records": Shaper(compiled, org.schema, org.versions[-1]).records(reader, rows)}

    def count(self, arguments):
        org, obj = self.org, self.object(arguments.need("object"))
        where = arguments.take("where")
        arguments.end()
        out = []
        for all_rows in (False, True):
            text = "SELECT count() FROM %s%s" % (obj.name, " WHERE " + where if where else "")
            compiled = rest.compile_query(org, org.system_user, text, all_rows)
            out.append(org.store.reader.execute(compiled.sql, compiled.params).fetchone()[0])
        return {"count": out[0], "deleted": out[1] - out[0]}

    # -- faults --------------------------------------------------------------------------------

    def fault(self, arguments):
        match = {key: value for key, value in arguments.take("match", {}).items()
                 if value is not None}
        action = arguments.need("action")
        times, after = arguments.take("times", 1), arguments.take("after", 0)
        chance = float(arguments.take("chance", 1))
        arguments.end()
        return {"id": self.org.faults.add(match, action, times, after, chance)}

    def faults(self, arguments):
        arguments.end()
        return {"faults": self.org.faults.to_json()}

    def drop_faults(self, arguments):
        number = arguments.take("id")
        arguments.end()
        self.org.faults.remove(int(number) if number is not None else None)
        return {}

    # -- logging in ----------------------------------------------------------------------------

    def expire(self, arguments):
        username, token = arguments.take("username"), arguments.take("token")
        arguments.end()
        return {"expired": self.org.oauth.expire(username, token)}

    def rotate(self, arguments):
        oauth = self.org.oauth
        oauth.rotate = bool(arguments.take("on", True))
        arguments.end()
        oauth.save()
        return {"refresh_tokens": oauth.refresh_tokens}

    def revoke(self, arguments):
        oauth, token = self.org.oauth, arguments.take("refresh_token")
        arguments.end()
        with oauth.lock:
            if token is None:
                oauth.refresh_tokens.clear()
            else:
                oauth.refresh_tokens.pop(token, None)
            oauth.save()
        return {}

    def grant(self, arguments):
        """As if a user had gone through the browser: a new refresh token."""
        oauth, user = self.org.oauth, self.user(arguments.take("username", "sync@example.com"))
        arguments.end()
        token = oauth.new_refresh_token()
        with oauth.lock:
            oauth.refresh_tokens[token] = user.username
            oauth.save()
        return {"refresh_token": token}

    def users(self, arguments):
        org, username = self.org, arguments.need("username")
        user = org.oauth.users.get(username)
        if user is None:
            results, _ = dml.run(org, org.system_user, Options(system=True), lambda change:
                                 lambda record: {"id": change.insert(
                                     org.schema.object("User"), record)},
                                 [{"Username": username, "LastName": username.split("@")[0],
                                   "Alias": username[:8], "Email": username, "IsActive": True}])
            user = org.oauth.users[username] = User(username, results[0]["id"])
        for name in ("active", "password", "security_token", "profile_name", "approved"):
            if arguments.has(name):
                setattr(user, name, arguments.take(name))
        arguments.end()
        dml.run(org, org.system_user, Options(system=True), lambda change: lambda record:
                {"id": change.update(org.schema.object("User"), user.id, record)},
                [{"IsActive": user.active}])
        org.oauth.save()
        return {"username": username, "id": user.id, "active": user.active}

    def app(self, arguments):
        oauth = self.org.oauth
        for name in ("run_as", "client_secret", "client_id"):
            if arguments.has(name):
                oauth.app[name] = arguments.take(name)
        if arguments.has("grants"):
            oauth.grants = set(arguments.take("grants"))
        arguments.end()
        oauth.save()
        return dict(oauth.app, grants=sorted(oauth.grants))

    def fls(self, arguments):
        org, user = self.org, self.user(arguments.need("username"))
        obj, name = self.object(arguments.need("object")), arguments.take("field")
        visible, editable = arguments.take("visible", True), arguments.take("editable", True)
        arguments.end()
        if name is None:
            key, hidden, locked = obj.name, user.hidden_objects, user.read_only_objects
        else:
            field = obj.field(name)
            if field is None:
                raise Mistake("no field %s" % name)
            key, hidden, locked = (obj.name, field.name), user.hidden, user.read_only
        for holder, on in ((hidden, not visible), (locked, not editable or not visible)):
            if on:
                holder[key] = True
            else:
                holder.pop(key, None)
        org.oauth.save()
        return {}

    # -- schema, clock, limits, config ---------------------------------------------------------

    def schema(self, arguments):
        verbs = {"add_field": self.add_field, "remove_field": self.remove_field,
                 "change_field": self.change_field, "add_object": self.add_object,
                 "remove_object": self.remove_object}
        names = [name for name in verbs if arguments.has(name)]
        if len(names) != 1:
            raise Mistake("one of %s is needed" % ", ".join(verbs))
        details = arguments.take(names[0])
        arguments.end()
        when = self.org.clock.datetime().replace(microsecond=0) + datetime.timedelta(seconds=1)
        # metadata is dated in whole seconds: the next change must be newer than this one's answer
        when = max(when, self.org.schema.modified + datetime.timedelta(seconds=1))
        answer = verbs[names[0]](Arguments(details), when)
        # the tables keep what was done; the schema has to be told again after a restart
        store = self.org.store
        store.set_meta("schema", store.get_meta("schema", []) + [
            [names[0], details, when.isoformat()]])
        return answer

    def replay_schema(self):
        """Changes of metadata that were made before a restart."""
        self.replaying = True
        for verb, details, when in self.org.store.get_meta("schema", []):
            getattr(self, verb)(Arguments(details), datetime.datetime.fromisoformat(when))
        self.replaying = False

    def in_store(self, work, *arguments):
        if not self.replaying:
            work(*arguments)
            self.org.store.version += 1

    def add_field(self, details, when):
        obj = self.object(details.need("object"))
        field = field_of(details)
        self.org.schema.add_field(obj.name, field, when)
        self.in_store(self.org.store.add_column, obj, field)
        return {}

    def remove_field(self, details, when):
        obj = self.object(details.need("object"))
        name = details.need("name")
        details.end()
        self.org.schema.remove_field(obj.name, name, when)
        return {}

    def change_field(self, details, when):
        obj, name = self.object(details.need("object")), details.need("name")
        new_name = details.take("rename")
        facts = facts_of(details)
        schema = self.org.schema
        if new_name:
            old = schema.remove_field(obj.name, name, when)
            if old.stored:
                self.in_store(self.org.store.rename_column, obj, old.name, new_name)
            old.name = name = new_name
            schema.add_field(obj.name, old, when)
        if facts:
            schema.change_field(obj.name, name, when, **facts)
        return {}

    def add_object(self, details, when):
        org, name = self.org, details.need("name")
        label, plural = details.take("label"), details.take("labelPlural")
        flags = details.take("flags", ["createable", "updateable", "deletable", "undeletable",
                                       "queryable", "retrieveable", "replicateable", "triggerable",
                                       "searchable", "layoutable"])
        obj = SObject(name, label, plural, details.take("keyPrefix"), flags,
                      details.take("bulk", True))
        fields = details.take("fields", [])
        details.end()
        for field in org.schema.object("Machine__c").fields:
            if not field.custom and field.name != "Name" or field.name == "Name":
                obj.put(field)
        for facts in fields:
            obj.put(field_of(Arguments(facts)))
        org.schema.add_object(obj, when)
        self.in_store(org.store.add_table, obj)
        return {"keyPrefix": obj.key_prefix}

    def remove_object(self, details, when):
        """Nobody can see it any more, which is the same to a client."""
        obj = self.object(details.need("name"))
        details.end()
        for user in self.org.oauth.users.values():
            user.hidden_objects[obj.name] = True
        self.org.schema.modified = when
        self.org.oauth.save()
        return {}

    def clock(self, arguments):
        org_clock = self.org.clock
        if arguments.has("skew_seconds"):
            org_clock.set_skew(float(arguments.take("skew_seconds")))
        if arguments.has("at"):
            moment = clock.parse_iso(arguments.take("at"))
            if moment is None:
                raise Mistake("at is no ISO date-time")
            org_clock.set_at(moment)
        if arguments.has("step_seconds"):
            org_clock.step(float(arguments.take("step_seconds")))
        if arguments.has("frozen"):
            org_clock.freeze(bool(arguments.take("frozen")))
        arguments.end()
        days = self.org.config["recycle_days"]
        if days is not None:
            self.org.store.empty_bin(clock.to_stored(org_clock.now() - 86400 * days))
        return {"now": org_clock.stamp()}

    def now(self, arguments):
        arguments.end()
        return {"now": self.org.clock.stamp()}

    def limits(self, arguments):
        limits = self.org.limits
        for name in ("max", "used", "bulk_query_jobs", "app_usage"):
            if arguments.has(name):
                setattr(limits, name, arguments.take(name))
        arguments.end()
        return limits.to_json()

    def config(self, arguments):
        config = self.org.config
        for name in list(arguments.data):
            if name not in config:
                raise Mistake("unknown: %s" % name)
            config[name] = arguments.take(name)
        return dict(config)

    # -- what happened -------------------------------------------------------------------------

    def calls(self, arguments):
        since, kind = int(arguments.take("since", 0)), arguments.take("kind")
        arguments.end()
        with self.org.lock:
            found = [call for call in self.org.calls
                     if call["n"] > since and (kind is None or call["kind"] == kind)]
            return {"calls": found, "next": self.org.call_count}

    def reset_calls(self, arguments):
        arguments.end()
        with self.org.lock:
            self.org.calls.clear()
        return {"next": self.org.call_count}

    def expire_cursors(self, arguments):
        arguments.end()
        self.org.cursors.expire()
        return {}

    def jobs(self, arguments):
        arguments.end()
        org = self.org
        out = [dict(job.to_json(), query=job.text, rows=job.rows, fetched=job.fetched)
               for job in list(org.bulk.jobs.values())]
        return {"jobs": out + [job.to_json() for job in list(org.ingest.jobs.values())]}

    def release(self, arguments):
        job_id = arguments.take("id")
        arguments.end()
        jobs = list(self.org.bulk.jobs.values()) + list(self.org.ingest.jobs.values())
        for job in jobs:
            if job_id is None or job.id[:15] == job_id[:15]:
                job.released.set()
        return {}

    def info(self, arguments):
        arguments.end()
        return self.org.info

    def shutdown(self, arguments):
        arguments.end()
        threading.Thread(target=self._later, daemon=True).start()
        return {}

    def _later(self):
        # the answer goes out first
        time.sleep(0.05)
        self.shut_down()


def facts_of(details):
    """Attributes of a describe, or of schema.Field."""
    facts = {}
    for name in list(details.data):
        value = details.take(name)
        facts[MORE_FACTS.get(name, name)] = value
    if "picklist" in facts:
        facts["picklist"] = [value if isinstance(value, dict) else
                             {"active": True, "defaultValue": False, "label": value,
                              "validFor": None, "value": value} for value in facts["picklist"]]
    return facts


def field_of(details):
    name, kind = details.need("name"), details.need("type")
    facts = {"createable": True, "updateable": True, "nillable": kind != "boolean",
             "permissionable": True}
    if kind in ("string", "email", "phone", "url", "picklist", "textarea", "multipicklist"):
        facts["length"] = 255
    if kind in ("double", "currency", "percent"):
        facts.update(precision=18, scale=2)
    if kind == "boolean":
        facts.update(default_value=False, defaulted_on_create=True)
    if kind == "reference":
        facts["length"] = 18
    facts.update(facts_of(details))
    return Field(name, kind, **facts)


def id_of(record):
    if isinstance(record, str):
        return record
    return pop_key(dict(record), "Id")


def _insert(change, obj, record, key):
    return {"id": change.insert(obj, record)}


def _update(change, obj, record, key):
    record = dict(record)
    return {"id": change.update(obj, pop_key(record, "Id") or "", record)}


def _upsert(change, obj, record, key):
    record_id, created = change.upsert(obj, key, record)
    return {"id": record_id, "created": created}


def _delete(change, obj, record, key):
    return {"id": change.delete(obj, id_of(record))}


def _undelete(change, obj, record, key):
    return {"id": change.undelete(obj, id_of(record))}


def _purge(change, obj, record, key):
    return {"id": change.purge(obj, id_of(record))}


def _merge(change, obj, record, key):
    return {"id": change.merge(obj, dict(record["master"]), record["losers"])}


def _convert(change, obj, record, key):
    return change.convert(record)


WORK = {"insert": _insert, "update": _update, "upsert": _upsert, "delete": _delete,
        "undelete": _undelete, "purge": _purge, "merge": _merge, "convert": _convert}
