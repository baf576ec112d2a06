"""The tables of facts, and the describes that are made of them."""

import glob
import json
import os
import unittest

import support
from schema import Field, Schema, parse_facts, parse_field

# A folder with describes recorded from real orgs (GET_sobjects_X_describe.
# json), to compare ours with.  They are not part of the project.
RECORDED = os.environ.get("RECORDED_DESCRIBES")

FIELD_KEYS = """aggregatable aiPredictionField autoNumber byteLength calculated
calculatedFormula cascadeDelete caseSensitive compoundFieldName controllerName
createable custom defaultValue defaultValueFormula defaultedOnCreate
dependentPicklist deprecatedAndHidden digits displayLocationInDecimal
encrypted externalId extraTypeInfo filterable filteredLookupInfo
formulaTreatNullNumberAsZero groupable highScaleNumber htmlFormatted idLookup
inlineHelpText label length mask maskType name nameField namePointing nillable
permissionable picklistValues polymorphicForeignKey precision queryByDistance
referenceTargetField referenceTo relationshipName relationshipOrder
restrictedDelete restrictedPicklist scale searchPrefilterable soapType sortable
type unique updateable writeRequiresMasterRead""".split()

OBJECT_KEYS = """actionOverrides activateable associateEntityType
associateParentEntity childRelationships compactLayoutable createable custom
customSetting deepCloneable defaultImplementation deletable
deprecatedAndHidden extendedBy extendsInterfaces feedEnabled fields
hasSubtypes implementedBy implementsInterfaces isInterface isSubtype keyPrefix
label labelPlural layoutable listviewable lookupLayoutable mergeable mruEnabled
name namedLayoutInfos networkScopeFieldName queryable recordTypeInfos
replicateable retrieveable searchLayoutable searchable sobjectDescribeOption
supportedScopes triggerable undeletable updateable urls""".split()

DEFAULT_SET = """Lead Contact Account User Group Opportunity
OpportunityContactRole Campaign CampaignMember CampaignMemberStatus Task
Event""".split()


class Facts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema = Schema.default()

    def test_default_set_is_there(self):
        for name in DEFAULT_SET + ["RecordType", "Organization", "Case",
                                   "Machine__c", "LeadStatus", "TaskStatus",
                                   "LeadHistory", "Attachment"]:
            self.assertIsNotNone(self.schema.object(name), name)

    def test_keys_of_an_object(self):
        for obj in self.schema.objects:
            self.assertEqual(sorted(obj.describe()), sorted(OBJECT_KEYS))

    def test_keys_of_a_field(self):
        self.assertEqual(len(FIELD_KEYS), 57)
        for obj in self.schema.objects:
            for field in obj.fields:
                self.assertEqual(sorted(field.describe()),
                                 sorted(FIELD_KEYS))

    def test_describe_is_json(self):
        for obj in self.schema.objects:
            json.dumps(obj.describe())
            json.dumps(obj.global_entry())

    def test_names_in_any_case(self):
        lead = self.schema.object("lEAD")
        self.assertEqual(lead.name, "Lead")
        self.assertEqual(lead.field("LASTNAME").name, "LastName")

    def test_required_on_create(self):
        required = {f.name for f in self.schema.object("Lead").fields
                    if f.required}
        self.assertEqual(required, {"LastName", "Company"})
        status = self.schema.object("Lead").field("Status")
        self.assertFalse(status.nillable)
        self.assertTrue(status.defaulted_on_create)

    def test_flags_of_objects(self):
        def flags(name):
            return self.schema.object(name)
        self.assertFalse(flags("CampaignMember").undeletable)
        self.assertFalse(flags("OpportunityContactRole").undeletable)
        self.assertFalse(flags("User").deletable)
        self.assertFalse(flags("Organization").deletable)
        self.assertTrue(flags("Lead").undeletable)
        self.assertFalse(flags("TaskStatus").bulk)
        self.assertIsNone(self.schema.object("LeadHistory").field(
            "SystemModstamp"))

    def test_campaign_member_has_fixed_parents(self):
        member = self.schema.object("CampaignMember")
        for name in ("CampaignId", "LeadId", "ContactId"):
            self.assertTrue(member.field(name).createable, name)
            self.assertFalse(member.field(name).updateable, name)
        self.assertFalse(member.field("Email").createable)

    def test_compound_name_and_address(self):
        lead = self.schema.object("Lead")
        name = lead.field("Name").describe()
        self.assertFalse(name["createable"])
        self.assertIsNone(name["compoundFieldName"])
        self.assertEqual(lead.field("FirstName").compound_field_name, "Name")
        address = lead.field("Address").describe()
        self.assertEqual(address["soapType"], "urn:address")
        self.assertFalse(address["sortable"])
        self.assertTrue(address["queryByDistance"])
        self.assertIn("City", [f.name for f in lead.parts(
            lead.field("Address"))])

    def test_sizes(self):
        account = self.schema.object("Account")
        self.assertEqual(account.field("Name").describe()["byteLength"], 765)
        self.assertEqual(account.field("NumberOfEmployees").digits, 8)
        revenue = account.field("AnnualRevenue")
        self.assertEqual((revenue.precision, revenue.scale), (18, 0))
        latitude = account.field("BillingLatitude")
        self.assertEqual((latitude.precision, latitude.scale), (18, 15))

    def test_child_relationships(self):
        lead = self.schema.object("Lead")
        member = self.schema.child(lead, "campaignmembers")
        self.assertEqual(member.describe(), {
            "cascadeDelete": True, "childSObject": "CampaignMember",
            "deprecatedAndHidden": False, "field": "LeadId",
            "junctionIdListNames": [], "junctionReferenceTo": [],
            "relationshipName": "CampaignMembers", "restrictedDelete": False})
        account = self.schema.object("Account")
        self.assertTrue(self.schema.child(account, "Contacts").cascade_delete)
        self.assertTrue(
            self.schema.child(account, "Cases").restricted_delete)

    def test_hidden_fields_are_not_described(self):
        lead = self.schema.object("Lead")
        names = [f["name"] for f in
                 lead.describe({("Lead", "Phone"), ("Contact", "Email")})
                 ["fields"]]
        self.assertNotIn("Phone", names)
        self.assertIn("Email", names)
        fields = {f["name"]: f for f in lead.describe(
            read_only={("Lead", "Phone")})["fields"]}
        self.assertFalse(fields["Phone"]["updateable"])
        self.assertFalse(fields["Phone"]["createable"])

    def test_a_changed_describe_does_not_change_the_facts(self):
        lead = self.schema.object("Lead")
        lead.describe()["fields"][5]["picklistValues"].clear()
        self.assertTrue(lead.field("Salutation").picklist)

    def test_custom_object(self):
        machine = self.schema.object("Machine__c")
        serial = machine.field("Serial__c").describe()
        self.assertTrue(serial["externalId"] and serial["unique"]
                        and serial["idLookup"] and serial["custom"])
        self.assertEqual(serial["inlineHelpText"],
                         "As stamped on the plate beside the inlet")
        total = machine.field("Total__c").describe()
        self.assertTrue(total["calculated"])
        self.assertEqual(total["calculatedFormula"],
                         "Price__c * Quantity__c")
        kinds = {f.type for f in machine.fields}
        for kind in ("currency", "percent", "date", "datetime", "time",
                     "multipicklist", "location", "boolean", "textarea"):
            self.assertIn(kind, kinds)

    def test_person_accounts(self):
        plain = self.schema.object("Account")
        self.assertIsNone(plain.field("IsPersonAccount"))
        person = Schema.default(person_accounts=True).object("Account")
        self.assertIsNotNone(person.field("PersonEmail"))
        name = person.field("Name")
        self.assertEqual(name.compound_field_name, "Name")
        self.assertTrue(name.nillable and name.createable)

    def test_every_relationship_in_a_formula_resolves(self):
        tables = support.Tables()
        for obj in tables.schema.objects:
            for field in obj.fields:
                if field.expression:
                    tables.rows("SELECT %s FROM %s" % (field.name,
                                                       obj.name)).fetchall()


class Changes(unittest.TestCase):
    def setUp(self):
        self.schema = Schema.default()

    def test_add_change_remove(self):
        before = self.schema.modified
        lead = self.schema.object("Lead")
        self.schema.add_field("lead", Field("New__c", "string", length=9,
                                            nillable=True, createable=True))
        self.assertGreater(self.schema.modified, before)
        self.assertGreater(lead.modified, before)
        self.assertEqual(self.schema.object("Account").modified, before)
        self.schema.change_field("Lead", "NEW__c", length=12)
        self.assertEqual(lead.field("New__c").length, 12)
        self.schema.remove_field("Lead", "new__C")
        self.assertIsNone(lead.field("New__c"))
        self.assertNotIn("New__c", [f.name for f in lead.fields])

    def test_wrong_changes_are_refused(self):
        with self.assertRaises(ValueError):
            self.schema.add_field("Lead", Field("Email", "email"))
        with self.assertRaises(ValueError):
            self.schema.remove_field("Lead", "Nothing__c")
        with self.assertRaises(ValueError):
            self.schema.change_field("Lead", "Email", colour="red")

    def test_add_object(self):
        obj = self.schema.add_object(
            "object Part__c\nlabel Part; Parts\nflags queryable\n"
            "Id | id | d | | Id\n"
            "Machine__c | reference | cu | to=Machine__c rel=Machine__r "
            "child=Parts__r cascade | Machine\n")
        self.assertTrue(obj.key_prefix.startswith("a"))
        self.assertIs(self.schema.object_of_id(obj.key_prefix + "0" * 15),
                      obj)
        machine = self.schema.object("Machine__c")
        self.assertTrue(self.schema.child(machine, "Parts__r").cascade_delete)


class Parsing(unittest.TestCase):
    def test_a_line(self):
        field = parse_field("X__c | currency 16.2 | cunp | default=0 "
                            "| Ex // why")
        self.assertEqual((field.precision, field.scale), (16, 2))
        self.assertEqual((field.label, field.help), ("Ex", "why"))
        self.assertTrue(field.defaulted_on_create)

    def test_unknown_words_are_refused(self):
        with self.assertRaises(ValueError):
            parse_facts("object A\nX | string 3 | c | uniqe | X\n")
        with self.assertRaises(ValueError):
            parse_facts("object A\nX | string 3 | z | | X\n")

    def test_picklist_values(self):
        obj = parse_facts("object A\nX | picklist 40 | c | | X\n"
                          "    = a; *b => Bee; -c\n")
        values = obj.field("X").picklist
        self.assertEqual([v["value"] for v in values], ["a", "b", "c"])
        self.assertEqual(values[1]["label"], "Bee")
        self.assertTrue(values[1]["defaultValue"])
        self.assertFalse(values[2]["active"])
        self.assertEqual(obj.field("X").default_value, "b")


@unittest.skipUnless(RECORDED, "RECORDED_DESCRIBES is not set")
class AgainstRecordings(unittest.TestCase):
    """Ours must say what real orgs said, but for labels and values."""

    FREE = {"picklistValues", "label", "inlineHelpText", "custom",
            "defaultValue"}
    # Names of lookup targets depend on what an org has switched on.
    LISTS = {"referenceTo"}

    def pairs(self):
        ours = Schema.default()
        files = glob.glob(os.path.join(RECORDED, "*_describe.json"))
        self.assertTrue(files, "no describe in " + RECORDED)
        for path in sorted(files):
            with open(path, encoding="utf-8") as file:
                theirs = json.load(file)
            if "PersonAccount" in path or "fields" not in theirs:
                continue
            obj = ours.object(theirs["name"])
            if obj is not None:
                yield theirs, obj.describe()

    def test_object_keys(self):
        for theirs, ours in self.pairs():
            with self.subTest(theirs["name"]):
                self.assertEqual(set(theirs) - set(ours), set())
                for key, value in theirs.items():
                    if value is not None and ours[key] is not None:
                        self.assertIs(type(ours[key]), type(value), key)

    def test_field_facts(self):
        compared = 0
        for theirs, ours in self.pairs():
            mine = {f["name"]: f for f in ours["fields"]}
            for field in theirs["fields"]:
                own = mine.get(field["name"])
                if own is None:
                    continue
                with self.subTest(theirs["name"] + "." + field["name"]):
                    self.assertEqual(list(field), list(own))
                    for key, value in field.items():
                        if key not in self.FREE | self.LISTS:
                            self.assertEqual(own[key], value, key)
                compared += 1
        self.assertGreater(compared, 200)

    def test_person_account_facts(self):
        path = os.path.join(RECORDED,
                            "GET_sobjects_Account_PersonAccount_describe.json")
        with open(path, encoding="utf-8") as file:
            theirs = json.load(file)
        ours = Schema.default(person_accounts=True).object("Account")
        for field in theirs["fields"]:
            own = ours.field(field["name"])
            if own is None or field["custom"]:
                continue
            with self.subTest(field["name"]):
                for key in ("type", "length", "nillable", "compoundFieldName",
                            "relationshipName"):
                    if key == "length" and field["type"] == "picklist":
                        continue        # 40 in older versions, then 255
                    self.assertEqual(own.describe()[key], field[key], key)


if __name__ == "__main__":
    unittest.main()
