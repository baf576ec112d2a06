"""An org made of describes that were recorded elsewhere."""

import glob
import json
import os
import tempfile
import unittest

import recorded
import seed
import support
from running import Org
from schema import Schema

# As in test_schema.
RECORDED = os.environ.get("RECORDED_DESCRIBES")


def foreign():
    """A describe as another org might give it: fewer keys, other fields."""
    described = Schema.default().object("Contact").describe()
    described["fields"] = [f for f in described["fields"]
                           if f["name"] not in ("Fax", "Ext__c")]
    for n, kind in enumerate(("string", "double", "picklist", "date",
                              "reference", "boolean", "textarea")):
        entry = {"name": "Other_%d__c" % n, "type": kind, "custom": True,
                 "label": "Other", "createable": True, "updateable": True,
                 "nillable": kind != "boolean"}
        if kind in ("string", "textarea", "picklist"):
            entry["length"] = 20
        if kind == "double":
            entry.update(precision=8, scale=2)
        if kind == "picklist":
            entry["picklistValues"] = [{"active": True, "value": "v",
                                        "label": "v", "defaultValue": False}]
        if kind == "reference":
            entry.update(referenceTo=["Account"],
                         relationshipName="Other__r")
        described["fields"].append(entry)
    return described


class Recorded(unittest.TestCase):
    def file(self, described):
        handle, path = tempfile.mkstemp(suffix=".json")
        self.addCleanup(os.unlink, path)
        with os.fdopen(handle, "w") as file:
            json.dump(described, file)
        return path

    def test_says_what_was_recorded(self):
        described = foreign()
        schema = Schema.default()
        obj = recorded.install(schema, self.file(described))
        self.assertIs(schema.object("Contact"), obj)
        self.assertEqual(obj.describe()["fields"], described["fields"])
        self.assertIsNone(obj.field("Fax"))
        self.assertEqual(len(schema.object("Account").child_relationships),
                         len(Schema.default().object("Account")
                             .child_relationships) + 1)

    def test_running(self):
        org = Org("--leads", "60", "--describe", self.file(foreign()))
        self.addCleanup(org.stop)
        fields = org.get("/sobjects/Contact/describe").json()["fields"]
        self.assertIn("Other_0__c", [f["name"] for f in fields])
        found = org.records("SELECT Id, Name, Other_0__c, Other_1__c, "
                            "Other__r.Name, Other_5__c FROM Contact")
        self.assertTrue(any(r["Other_0__c"] for r in found))
        self.assertTrue(any(r["Other__r"] for r in found))
        self.assertIs(found[0]["Other_5__c"], False)
        self.assertTrue(all(r["Name"] for r in found))
        made = org.call("POST", "/sobjects/Contact", {
            "LastName": "x", "Other_1__c": 1.25})
        self.assertEqual(made.status, 201, made)

    def test_unknown_object(self):
        described = foreign()
        described.update(name="Foreign__c", keyPrefix=None)
        schema = Schema.default()
        obj = recorded.install(schema, self.file(described))
        self.assertTrue(obj.key_prefix.startswith("a"))

    @unittest.skipUnless(RECORDED, "RECORDED_DESCRIBES is not set")
    def test_all_recorded(self):
        for path in sorted(glob.glob(os.path.join(RECORDED,
                                                  "*_describe.json"))):
            with open(path, encoding="utf-8") as file:
                described = json.load(file)
            if "fields" not in described:
                continue
            with self.subTest(os.path.basename(path)):
                self.check(path, described)

    def check(self, path, described):
        tables = support.Tables.__new__(support.Tables)
        tables.schema = Schema.default()
        obj = recorded.install(tables.schema, path)
        self.assertEqual(obj.describe()["fields"], described["fields"])
        tables.open()
        seed.populate(tables.connection, tables.schema, 1,
                      seed.default_counts(30, **{obj.name: 20}),
                      support.NOW - support.YEAR, support.NOW)
        names = [f.name for f in obj.fields]
        found = tables.records("SELECT %s FROM %s" % (", ".join(names),
                                                      obj.name))
        self.assertEqual(len(found), 20)


if __name__ == "__main__":
    unittest.main()
