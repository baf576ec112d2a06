"""Starts a simulated org: python3 test/org --state DIR --port-file FILE --leads 1000"""

import argparse
import datetime
import json
import os
import signal
import ssl
import sys
import tempfile

import oauth
import recorded
import seed
from admin import Admin
from bulk import Bulk
from clock import Clock
from ingest import Ingest
from schema import Schema
from server import Org
from store import Store
from wire import Listener

COUNTS = {"leads": "Lead", "contacts": "Contact", "accounts": "Account",
          "opportunities": "Opportunity", "campaigns": "Campaign", "members": "CampaignMember",
          "tasks": "Task", "events": "Event", "machines": "Machine__c", "cases": "Case"}
DATABASE = "org.db"


def arguments():
    parser = argparse.ArgumentParser(prog="test/org", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--state", metavar="DIR")
    add("--fresh", action="store_true")
    add("--port", type=int, default=0)
    add("--login-port", type=int)
    add("--admin-port", type=int, default=0)
    add("--port-file", metavar="FILE")
    add("--tls", action="store_true")
    add("--seed", type=int, default=7)
    for name in COUNTS:
        add("--" + name, type=int, metavar="N")
    add("--count", action="append", default=[], metavar="OBJECT=N")
    add("--start", type=moment, metavar="DATE")
    add("--end", type=moment, metavar="DATE")
    add("--versions", default="55-62", metavar="A-B")
    add("--max-calls", type=int, default=100000)
    add("--bulk-delay", type=float, default=0)
    add("--bulk-cache", action="store_true")
    add("--no-gzip", action="store_true")
    add("--person-accounts", action="store_true")
    add("--describe", action="append", default=[], metavar="FILE")
    add("--quiet", action="store_true")
    return parser.parse_args()


def moment(text):
    value = datetime.datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)


def counts_of(options):
    given = {COUNTS[name]: getattr(options, name) for name in COUNTS
             if getattr(options, name) is not None}
    leads = given.pop("Lead", 1000)
    for item in options.count:
        name, _, number = item.partition("=")
        given[name] = int(number)
    return seed.default_counts(leads, **given)


def versions_of(text):
    first, _, last = text.partition("-")
    return ["%d.0" % number for number in range(int(first), int(last or first) + 1)]


def remove_database(state):
    for name in os.listdir(state):
        if name.startswith(DATABASE):
            os.unlink(os.path.join(state, name))


def open_store(options, schema, clock):
    """The database of the state folder, with data in it; -> (store, what the data says)."""
    path = os.path.join(options.state, DATABASE)
    if options.fresh:
        remove_database(options.state)
    store = Store(path, schema, clock)
    # a new database has no reader yet, which would keep its journal from being set
    filled = None if store.is_new else store.get_meta("filled")
    if filled is None and not store.is_new:
        # somebody stopped it while it was being filled
        store.close()
        remove_database(options.state)
        store = Store(path, schema, clock)
    if filled is None:
        end = options.end or clock.datetime().replace(microsecond=0)
        start = options.start or end - datetime.timedelta(days=365)
        store.create_tables()
        filled = seed.populate(store.writer_for_seed(), schema, options.seed, counts_of(options),
                               start, end)
        store.create_indexes()
        store.note_deleted()
        store.set_meta("filled", filled)
    return store, filled


def users_of(filled):
    """Those who can log in."""
    out = []
    for username, _, _, active, profile in seed.LOGINS:
        name = username.split("@")[0]
        out.append(oauth.User(username, filled["users"][username], password=name + "-Passw0rd",
                              security_token="tok" + name.title() + "42", active=bool(active),
                              profile_name=profile))
    return out


def write_port_file(path, info):
    temporary = path + ".new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(info, file, indent=1)
        file.write("\n")
    os.replace(temporary, path)


def tls_context(state):
    ca, key, certificate = oauth.make_server_certificate(state)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, ca


def make_org(options):
    clock = Clock()
    schema = Schema.default(person_accounts=options.person_accounts)
    for path in options.describe:
        recorded.install(schema, path)
    store, filled = open_store(options, schema, clock)
    org = Org(store, schema, clock, options.max_calls, versions_of(options.versions))
    org.id = filled["organization"]
    org.quiet = options.quiet
    org.config["bulk_delay"] = options.bulk_delay
    org.bulk = Bulk(org, options.state, options.bulk_cache)
    org.ingest = Ingest(org)
    org.oauth.set_up(options.state, users_of(filled))
    org.system_user = oauth.User("automated process", org.oauth.users["admin@example.com"].id)
    return org


def listen(options, org, stop):
    """The ports; -> (listeners, the CA's file)"""
    context, ca = tls_context(options.state) if options.tls else (None, None)
    more = {"tls": context, "chunk_size": lambda: int(org.config["chunk_size"]),
            "gzip_ok": not options.no_gzip}
    instance = Listener(options.port, org.handle, "instance", **more)
    login = instance if options.login_port is None else \
        Listener(options.login_port, org.handle, "login", **more)
    surface = Admin(org, stop)
    surface.replay_schema()
    admin = Listener(options.admin_port, surface.handle, "admin")
    org.instance_url, org.login_url = instance.url, login.url
    return {"instance": instance, "login": login, "admin": admin}, ca


def port_info(options, org, listeners, ca):
    auth = org.oauth
    return {
        "pid": os.getpid(), "state": options.state, "login": org.login_url,
        "instance": org.instance_url, "admin": listeners["admin"].url, "ca_file": ca,
        "org_id": org.id, "api_versions": org.versions, "client_id": auth.app["client_id"],
        "client_secret": auth.app["client_secret"], "private_key_file": auth.key_file,
        "certificate_file": auth.certificate_file,
        "refresh_token": next(iter(auth.refresh_tokens), None), "run_as": auth.app["run_as"],
        "users": {user.username: {"id": user.id, "password": user.password,
                                  "security_token": user.security_token, "active": user.active}
                  for user in auth.users.values()}}


def main():
    options = arguments()
    options.state = os.path.abspath(options.state or tempfile.mkdtemp(prefix="org-"))
    os.makedirs(options.state, exist_ok=True)
    org = make_org(options)

    def stop(*_):
        org.stop.set()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    listeners, ca = listen(options, org, stop)
    for listener in set(listeners.values()):
        listener.start()
    org.info = port_info(options, org, listeners, ca)
    if options.port_file:
        write_port_file(options.port_file, org.info)
    print("org at %s, admin at %s, state in %s" % (
        org.instance_url, listeners["admin"].url, options.state), file=sys.stderr, flush=True)
    while not org.stop.wait(3600):
        pass
    for listener in set(listeners.values()):
        listener.stop()
    org.store.close()
    if options.port_file and os.path.exists(options.port_file):
        os.unlink(options.port_file)


if __name__ == "__main__":
    main()
