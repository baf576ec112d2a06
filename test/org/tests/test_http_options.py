"""Ways to start an org: TLS, an old state folder, person accounts."""

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
from urllib.parse import urlsplit

import support
from running import Case, Org, fetch

SECONDS = 60


class Tls(unittest.TestCase):
    def setUp(self):
        self.org = Org("--leads", "5", "--tls")
        self.addCleanup(self.org.stop)

    def ask(self, context):
        parts = urlsplit(self.org.ports["instance"])
        self.assertEqual(parts.scheme, "https")
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, context=context, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", "/services/data")
        return connection.getresponse().status

    def test_verified_by_its_own_ca(self):
        context = ssl.create_default_context(
            cafile=self.org.ports["ca_file"])
        self.assertEqual(self.ask(context), 200)

    def test_by_nobody_else(self):
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.ask(ssl.create_default_context())


class State(unittest.TestCase):
    """What is in the state folder comes back."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="org-test.")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def start(self, *options):
        port_file = os.path.join(self.folder, "ports.json")
        if os.path.exists(port_file):
            os.unlink(port_file)
        process = subprocess.Popen(
            [sys.executable, support.ORG, "--state", self.folder, "--quiet",
             "--port-file", port_file, "--leads", "20", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + SECONDS
        while not os.path.exists(port_file):
            self.assertIsNone(process.poll(), "the org ended")
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        with open(port_file, encoding="utf-8") as file:
            return process, json.load(file)

    def end(self, process):
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 0)

    def admin(self, ports, method, path, data=None):
        answer = fetch(ports["admin"] + path, method, {},
                       data and json.dumps(data))
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    def test_restart(self):
        process, ports = self.start()
        record = self.admin(ports, "POST", "/dml", {
            "op": "insert", "object": "Lead", "records": [
                {"LastName": "Stays", "Company": "X"}]})["results"][0]["id"]
        self.admin(ports, "POST", "/schema", {"add_field": {
            "object": "Lead", "name": "Kept__c", "type": "string",
            "length": 10, "nillable": True}})
        self.end(process)
        process, again = self.start()
        found = self.admin(again, "GET", "/rows?soql=SELECT+Id,Kept__c+FROM+"
                           "Lead+WHERE+LastName='Stays'")["records"]
        self.assertEqual([r["Id"] for r in found], [record])
        for key in ("client_id", "client_secret", "refresh_token", "org_id"):
            self.assertEqual(again[key], ports[key])
        self.end(process)
        process, fresh = self.start("--fresh")
        self.assertEqual(self.admin(
            fresh, "GET", "/count?object=Lead&where=LastName='Stays'")[
                "count"], 0)
        self.end(process)


class Persons(Case):
    OPTIONS = ("--leads", "100", "--person-accounts")

    def test_person_account(self):
        body = self.org.get("/sobjects/Account/describe").json()
        self.assertIn("IsPersonAccount", [f["name"] for f in body["fields"]])
        record = self.org.records(
            "SELECT Name, FirstName, LastName, PersonContactId, "
            "PersonContact.Name FROM Account WHERE IsPersonAccount = true "
            "AND FirstName != null LIMIT 1")[0]
        self.assertEqual(record["Name"], "%s %s" % (record["FirstName"],
                                                    record["LastName"]))
        self.assertEqual(record["PersonContact"]["Name"], record["Name"])

    def test_all_fields(self):
        for name in ("Account", "Contact"):
            answer = self.org.soql("SELECT FIELDS(ALL) FROM %s LIMIT 200"
                                   % name)
            self.assertEqual(answer.status, 200, answer)


class Wide(Case):
    """An object that is made while the org runs, with many fields."""

    def test_250_fields(self):
        kinds = ("string", "double", "boolean", "datetime", "date",
                 "textarea", "picklist")
        fields = []
        for n in range(250):
            kind = kinds[n % len(kinds)]
            field = {"name": "F%d__c" % n, "type": kind, "nillable":
                     kind != "boolean", "createable": True,
                     "updateable": True}
            if kind in ("string", "picklist"):
                field["length"] = 80
            if kind == "textarea":
                field["length"] = 32768
            if kind == "double":
                field.update(precision=18, scale=4)
            fields.append(field)
        self.org.admin("POST", "/schema", {"add_object": {
            "name": "Wide__c", "label": "Wide", "fields": fields}})
        described = self.org.get("/sobjects/Wide__c/describe").json()
        self.assertGreaterEqual(len(described["fields"]), 250)
        record = self.org.make("Wide__c", Name="w", F0__c="zero", F1__c=1.5,
                               F2__c=True, F3__c="2026-01-01T00:00:00.000Z",
                               F4__c="2026-01-02")
        text = "SELECT %s FROM Wide__c" % ", ".join(
            f["name"] for f in described["fields"])
        found = self.org.records(text)[0]
        self.assertEqual(found["Id"], record)
        self.assertEqual(found["F1__c"], 1.5)
        self.assertIs(found["F2__c"], True)
        names = [o["name"] for o in self.org.get("/sobjects").json()[
            "sobjects"]]
        self.assertIn("Wide__c", names)


if __name__ == "__main__":
    unittest.main()
