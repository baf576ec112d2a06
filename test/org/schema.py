"""What objects and fields the simulated org has, and how it describes them.

The facts stand in facts/*.facts, one file per object and one line per field,
in the form explained at the head of parse_facts().  Everything else that a
describe says follows from a field's type by the rules below; a line names
only what departs from them.
"""

import copy
import datetime
import os
import threading

FACTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "facts")

EPOCH = datetime.datetime(2024, 1, 15, 8, 30, 0, tzinfo=datetime.timezone.utc)

SOAP = {
    "id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean",
    "int": "xsd:int", "long": "xsd:long", "double": "xsd:double",
    "currency": "xsd:double", "percent": "xsd:double", "date": "xsd:date",
    "datetime": "xsd:dateTime", "time": "xsd:time",
    "address": "urn:address", "location": "urn:location",
    "base64": "xsd:base64Binary", "anyType": "xsd:anyType",
}
COMPOUND = ("address", "location")
TEXT = ("string", "picklist", "multipicklist", "combobox", "textarea",
        "phone", "url", "email", "encryptedstring")
IDS = ("id", "reference")
NUMBERS = ("int", "long", "double", "currency", "percent")
SQLITE_TYPE = {"boolean": "INTEGER", "int": "INTEGER", "long": "INTEGER",
               "double": "REAL", "currency": "REAL", "percent": "REAL",
               "base64": "BLOB"}

# The parts of a compound, by the suffix of the part's name.
ADDRESS_PARTS = ("Street", "City", "State", "PostalCode", "Country",
                 "StateCode", "CountryCode", "Latitude", "Longitude",
                 "GeocodeAccuracy")


class Field:
    """One field: the facts, and what a describe says of it."""

    def __init__(self, name, type, **facts):
        self.name = name
        self.durable = name     # one that is made anew under its name differs
        self.type = type
        self.label = facts.pop("label", None) or name
        self.length = facts.pop("length", 0)
        self.precision = facts.pop("precision", 0)
        self.scale = facts.pop("scale", 0)
        self.digits = facts.pop("digits", 0)
        self.createable = facts.pop("createable", False)
        self.updateable = facts.pop("updateable", False)
        self.nillable = facts.pop("nillable", False)
        self.permissionable = facts.pop("permissionable", False)
        self.defaulted_on_create = facts.pop("defaulted_on_create", False)
        self.custom = facts.pop("custom", name.endswith(("__c", "__s",
                                                         "__pc")))
        self.external_id = facts.pop("external_id", False)
        self.unique = facts.pop("unique", False)
        self.id_lookup = facts.pop("id_lookup", type == "id")
        self.name_field = facts.pop("name_field", False)
        self.auto_number = facts.pop("auto_number", False)
        self.calculated = facts.pop("calculated", False)
        self.formula = facts.pop("formula", None)
        # How SQLite computes a field that has no column of its own: text in
        # which {Field} and {Relationship.Field} stand for other fields.
        self.expression = facts.pop("expression", None)
        self.reference_to = list(facts.pop("reference_to", ()))
        self.relationship_name = facts.pop("relationship_name", None)
        self.relationship_order = facts.pop("relationship_order", None)
        self.polymorphic = facts.pop("polymorphic", False)
        self.search_prefilterable = facts.pop("search_prefilterable", False)
        self.child_name = facts.pop("child_name", None)
        self.cascade = frozenset(facts.pop("cascade", ()))
        self.restrict = frozenset(facts.pop("restrict", ()))
        self.master_detail = facts.pop("master_detail", False)
        self.compound_field_name = facts.pop("compound_field_name", None)
        self.extra_type_info = facts.pop("extra_type_info", None)
        self.help = facts.pop("help", None)
        self.picklist = list(facts.pop("picklist", ()))
        self.restricted_picklist = facts.pop("restricted_picklist", False)
        self.default_value = facts.pop("default_value", None)
        self.default_formula = facts.pop("default_formula", None)
        self.byte_length = facts.pop("byte_length", None)
        self.overrides = facts.pop("overrides", {})
        # What a real org said of this field, where that is known: see
        # recorded.py.
        self.recorded = None
        if facts:
            raise TypeError("unknown facts of field %s: %s"
                            % (name, ", ".join(sorted(facts))))

    def __repr__(self):
        return "<Field %s %s>" % (self.name, self.type)

    @property
    def compound(self):
        return self.type in COMPOUND

    @property
    def stored(self):
        """Does the object's table have a column for this field?"""
        return self.expression is None and not self.compound

    @property
    def long_text(self):
        """Long text can be neither filtered, sorted nor grouped by."""
        return self.type == "textarea" and self.length > 255

    @property
    def required(self):
        """Must be given on create (salesforce-api: describe)."""
        return (self.createable and not self.nillable
                and not self.defaulted_on_create and self.type != "boolean")

    @property
    def sqlite_type(self):
        return SQLITE_TYPE.get(self.type, "TEXT")

    @property
    def filterable(self):
        return self.overrides.get("filterable", not (
            self.long_text or self.type == "base64"))

    @property
    def sortable(self):
        return self.overrides.get("sortable", self.filterable and
                                  not self.compound
                                  and self.type != "multipicklist")

    @property
    def groupable(self):
        default = (self.sortable and not self.calculated and self.type not in
                   ("double", "currency", "percent", "datetime", "combobox",
                    "time", "long"))
        return self.overrides.get("groupable", default)

    @property
    def aggregatable(self):
        return self.overrides.get("aggregatable", self.sortable
                                  and self.type != "boolean")

    def value_of(self, label):
        """The active picklist value of that name, whatever its case."""
        for entry in self.picklist:
            if entry["value"].lower() == label.lower():
                return entry["value"]
        return None

    def describe(self, api_version="62.0", read_only=False):
        """The 57 keys that a real org gives for each field."""
        length = self.length
        if self.byte_length is not None:
            byte_length = self.byte_length
        elif self.type in IDS + ("multipicklist",):
            byte_length = length
        else:
            byte_length = 3 * length
        out = {
            "aggregatable": self.aggregatable,
            "aiPredictionField": False,
            "autoNumber": self.auto_number,
            "byteLength": byte_length,
            "calculated": self.calculated,
            "calculatedFormula": self.formula,
            "cascadeDelete": False,
            "caseSensitive": False,
            "compoundFieldName": self.compound_field_name,
            "controllerName": None,
            "createable": self.createable and not read_only,
            "custom": self.custom,
            "defaultValue": self.default_value,
            "defaultValueFormula": self.default_formula,
            "defaultedOnCreate": self.defaulted_on_create,
            "dependentPicklist": False,
            "deprecatedAndHidden": False,
            "digits": self.digits,
            "displayLocationInDecimal": self.type == "location",
            "encrypted": False,
            "externalId": self.external_id,
            "extraTypeInfo": self.extra_type_info,
            "filterable": self.filterable,
            "filteredLookupInfo": None,
            "formulaTreatNullNumberAsZero": self.calculated
            and self.type != "date",
            "groupable": self.groupable,
            "highScaleNumber": False,
            "htmlFormatted": False,
            "idLookup": self.id_lookup,
            "inlineHelpText": self.help,
            "label": self.label,
            "length": length,
            "mask": None,
            "maskType": None,
            "name": self.name,
            "nameField": self.name_field,
            "namePointing": self.polymorphic,
            "nillable": self.nillable,
            "permissionable": self.permissionable,
            "picklistValues": copy.deepcopy(self.picklist),
            "polymorphicForeignKey": self.polymorphic,
            "precision": self.precision,
            "queryByDistance": self.compound,
            "referenceTargetField": None,
            "referenceTo": list(self.reference_to),
            "relationshipName": self.relationship_name,
            "relationshipOrder": self.relationship_order,
            "restrictedDelete": False,
            "restrictedPicklist": self.restricted_picklist,
            "scale": self.scale,
            "searchPrefilterable": self.search_prefilterable,
            "soapType": SOAP.get(self.type, "xsd:string"),
            "sortable": self.sortable,
            "type": self.type,
            "unique": self.unique,
            "updateable": self.updateable and not read_only,
            "writeRequiresMasterRead": False,
        }
        if self.recorded is not None:
            out = dict(self.recorded, createable=out["createable"],
                       updateable=out["updateable"])
        return out


GLOBAL_FLAGS = (
    "activateable", "createable", "custom", "customSetting",
    "deepCloneable", "deletable", "deprecatedAndHidden", "feedEnabled",
    "hasSubtypes", "isInterface", "isSubtype", "layoutable", "mergeable",
    "mruEnabled", "queryable", "replicateable", "retrieveable",
    "searchable", "triggerable", "undeletable", "updateable",
)
DESCRIBE_FLAGS = ("compactLayoutable", "searchLayoutable")


class ChildRelationship:
    """One way in which records of another object hang on this one."""

    def __init__(self, child, field, name, cascade, restrict):
        self.child = child              # SObject
        self.field = field              # Field of the child
        self.name = name                # or None
        self.cascade_delete = cascade
        self.restricted_delete = restrict

    def describe(self):
        return {
            "cascadeDelete": self.cascade_delete,
            "childSObject": self.child.name,
            "deprecatedAndHidden": False,
            "field": self.field.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": self.name,
            "restrictedDelete": self.restricted_delete,
        }


class SObject:
    """One object of the org: its flags and its fields in order."""

    def __init__(self, name, label=None, label_plural=None, key_prefix=None,
                 flags=(), bulk=True, modified=EPOCH):
        self.name = name
        self.label = label or name
        self.label_plural = label_plural or self.label + "s"
        self.key_prefix = key_prefix
        self.custom = name.endswith("__c")
        self.flags = set(flags)
        if self.custom:
            self.flags.add("custom")
        self.bulk = bulk
        self.modified = modified
        self.schema = None
        self.fields = []
        self._by_name = {}
        self.recorded = None            # as Field.recorded

    def __repr__(self):
        return "<SObject %s>" % self.name

    def __getattr__(self, name):
        """createable, updateable, deletable, ... are the object's flags."""
        if name in GLOBAL_FLAGS or name in DESCRIBE_FLAGS:
            return name in self.flags
        raise AttributeError(name)

    def field(self, name):
        """The field of that name in any case, or None."""
        return self._by_name.get(name.lower())

    def relationship(self, name):
        """The reference field whose relationship has that name, or None."""
        name = name.lower()
        for field in self.fields:
            if (field.reference_to and field.relationship_name
                    and field.relationship_name.lower() == name):
                return field
        return None

    @property
    def name_field(self):
        for field in self.fields:
            if field.name_field:
                return field
        return None

    def parts(self, compound):
        """The fields that make up a compound one."""
        return [f for f in self.fields
                if f.compound_field_name == compound.name and f is not
                compound]

    @property
    def stored_fields(self):
        return [f for f in self.fields if f.stored]

    def put(self, field, after=None):
        """Add a field, or put it in the place of the one of its name."""
        # The list is replaced, not changed: others may be walking it.
        fields = list(self.fields)
        old = self.field(field.name)
        if old is not None:
            fields[fields.index(old)] = field
        elif after is not None:
            fields.insert(fields.index(self.field(after)) + 1, field)
        else:
            fields.append(field)
        self.fields = fields
        self._by_name[field.name.lower()] = field

    def drop(self, name):
        field = self._by_name.pop(name.lower())
        self.fields = [f for f in self.fields if f is not field]
        return field

    @property
    def child_relationships(self):
        return self.schema.children_of(self)

    def create_table(self):
        """SQL: the table of this object's records."""
        columns = ['"%s" %s%s' % (f.name, f.sqlite_type,
                                  " PRIMARY KEY NOT NULL"
                                  if f.type == "id" else "")
                   for f in self.stored_fields]
        return 'CREATE TABLE "%s" (%s)' % (self.name, ", ".join(columns))

    def create_indexes(self):
        """SQL: the indexes that queries, cascades and upserts rely on.

        Text is compared without regard to case, so the index of an external
        id has to be NOCASE or no comparison would use it.
        """
        out = []
        if self.field("SystemModstamp"):
            # With the flags that every query looks at, it answers "how many
            # have changed since" by itself.
            flags = ["IsDeleted", "IsArchived"]
            out.append(("SystemModstamp", ", ".join(
                '"%s"' % name for name in ["SystemModstamp", "Id"] + flags
                if self.field(name))))
        for field in self.fields:
            if not field.stored:
                continue
            if field.external_id or field.unique:
                out.append((field.name, '"%s" COLLATE NOCASE' % field.name))
            elif field.child_name or field.cascade or field.restrict:
                out.append((field.name, '"%s"' % field.name))
        return ['CREATE INDEX IF NOT EXISTS "%s.%s" ON "%s" (%s)'
                % (self.name, name, self.name, columns)
                for name, columns in out]

    def global_entry(self, api_version="62.0"):
        """This object's row in the global describe."""
        base = "/services/data/v%s/sobjects/%s" % (api_version, self.name)
        out = {flag: flag in self.flags for flag in GLOBAL_FLAGS}
        out.update(associateEntityType=None, associateParentEntity=None,
                   keyPrefix=self.key_prefix, label=self.label,
                   labelPlural=self.label_plural, name=self.name)
        urls = {"rowTemplate": base + "/{ID}", "describe": base + "/describe",
                "sobject": base}
        if self.layoutable:
            urls["layouts"] = base + "/describe/layouts"
            urls["compactLayouts"] = base + "/describe/compactLayouts"
            urls["quickActions"] = base + "/quickActions"
        out["urls"] = urls
        return dict(sorted(out.items()))

    def describe(self, hidden=frozenset(), api_version="62.0",
                 read_only=frozenset(), hidden_objects=frozenset(),
                 base_url="https://acme.my.salesforce.com"):
        """The full describe, as one user sees it.

        hidden and read_only hold (object, field) pairs, or bare field names
        of this object.
        """
        def within(names, field):
            return ((self.name, field.name) in names or field.name in names)

        out = self.global_entry(api_version)
        root = out["urls"]["sobject"]
        out["urls"].update(uiDetailTemplate=base_url + "/{ID}",
                           uiEditTemplate=base_url + "/{ID}/e",
                           uiNewRecord="%s/%s/e" % (base_url,
                                                    self.key_prefix))
        for flag in DESCRIBE_FLAGS:
            out[flag] = flag in self.flags
        out.update(
            actionOverrides=[], defaultImplementation=None, extendedBy=None,
            extendsInterfaces=None, implementedBy=None,
            implementsInterfaces=None, listviewable=None,
            lookupLayoutable=None, namedLayoutInfos=[],
            networkScopeFieldName=None, sobjectDescribeOption="FULL",
            supportedScopes=self._scopes(),
            recordTypeInfos=self._record_types(root),
            childRelationships=[
                c.describe() for c in self.child_relationships
                if c.child.name not in hidden_objects
                and (c.child.name, c.field.name) not in hidden],
            fields=[f.describe(api_version, within(read_only, f))
                    for f in self.fields if not within(hidden, f)])
        out.update(self.recorded or {})
        return dict(sorted(out.items()))

    def _scopes(self):
        if not self.layoutable:
            return []
        what = self.label_plural.lower()
        out = [{"label": "All " + what, "name": "everything"}]
        if self.field("OwnerId"):
            out.append({"label": "My " + what, "name": "mine"})
        return out

    def _record_types(self, root):
        if not self.layoutable:
            return []
        master = "012000000000000AAA"
        return [{"active": True, "available": True,
                 "defaultRecordTypeMapping": True, "developerName": "Master",
                 "master": True, "name": "Master", "recordTypeId": master,
                 "urls": {"layout": root + "/describe/layouts/" + master}}]


class Schema:
    """All objects of an org.  Changing it moves .modified on."""

    def __init__(self, objects=(), modified=EPOCH):
        self.objects = []
        self.modified = modified
        self._by_name = {}
        self._by_prefix = {}
        self.made = 0           # custom fields, for their durable ids
        self._lock = threading.RLock()
        for obj in objects:
            self._add(obj)

    def _add(self, obj):
        obj.schema = self
        self.objects.append(obj)
        self._by_name[obj.name.lower()] = obj
        if obj.key_prefix:
            self._by_prefix[obj.key_prefix] = obj

    def object(self, name):
        """The object of that name in any case, or None."""
        return self._by_name.get(name.lower())

    def object_of_id(self, record_id):
        """The object that an id's first three characters stand for."""
        return self._by_prefix.get(record_id[:3])

    def children_of(self, parent):
        out = []
        for child in self.objects:
            for field in child.fields:
                if parent.name in field.reference_to:
                    cascade = parent.name in field.cascade
                    restrict = parent.name in field.restrict
                    out.append(ChildRelationship(
                        child, field, field.child_name, cascade, restrict))
        return out

    def child(self, parent, name):
        """The child relationship of that name in any case, or None."""
        for relation in self.children_of(parent):
            if relation.name and relation.name.lower() == name.lower():
                return relation
        return None

    # Changes of metadata while the org runs ------------------------------

    def _touch(self, obj, when):
        when = when or datetime.datetime.now(datetime.timezone.utc)
        self.modified = max(self.modified, when)
        if obj is not None:
            obj.modified = max(obj.modified, when)

    def add_field(self, object_name, field, when=None):
        """Add a Field, or a line of facts that gives one."""
        if isinstance(field, str):
            field = parse_field(field)
        with self._lock:
            obj = self._need(object_name)
            if obj.field(field.name):
                raise ValueError("%s.%s exists" % (obj.name, field.name))
            self.made += 1
            field.durable = "00N%06d" % self.made
            obj.put(field)
            self._touch(obj, when)
        return field

    def remove_field(self, object_name, name, when=None):
        with self._lock:
            obj = self._need(object_name)
            if not obj.field(name):
                raise ValueError("%s.%s does not exist" % (obj.name, name))
            field = obj.drop(name)
            self._touch(obj, when)
        return field

    def change_field(self, object_name, name, when=None, **facts):
        """Set attributes of a field: length=40, nillable=False, ..."""
        with self._lock:
            obj = self._need(object_name)
            old = obj.field(name)
            if old is None:
                raise ValueError("%s.%s does not exist" % (obj.name, name))
            field = copy.copy(old)
            for key, value in facts.items():
                if not hasattr(field, key) or key.startswith("_"):
                    raise ValueError("a field has no %s" % key)
                setattr(field, key, value)
            obj.put(field)
            self._touch(obj, when)
        return field

    def add_object(self, obj, when=None):
        """Add an SObject, or the text of a facts file that gives one."""
        if isinstance(obj, str):
            obj = parse_facts(obj)
        with self._lock:
            if self.object(obj.name):
                raise ValueError("%s exists" % obj.name)
            if not obj.key_prefix:
                obj.key_prefix = self._free_prefix()
            self._add(obj)
            self._touch(obj, when)
        return obj

    def replace(self, obj):
        """Put an object in the place of the one of its name."""
        old = self._need(obj.name)
        obj.schema = self
        obj.modified = old.modified
        self.objects = [obj if o is old else o for o in self.objects]
        self._by_name[obj.name.lower()] = obj
        self._by_prefix[obj.key_prefix] = obj

    def _free_prefix(self):
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        for second in digits:
            for third in digits:
                if "a" + second + third not in self._by_prefix:
                    return "a" + second + third
        raise ValueError("no key prefix is left")

    def _need(self, name):
        obj = self.object(name)
        if obj is None:
            raise ValueError("object %s does not exist" % name)
        return obj

    @classmethod
    def default(cls, person_accounts=False):
        """The org of facts/, with person accounts on or off."""
        objects = []
        later = []
        for name in sorted(os.listdir(FACTS)):
            if not name.endswith(".facts"):
                continue
            with open(os.path.join(FACTS, name), encoding="utf-8") as file:
                text = file.read()
            if ".person." in name:
                later.append((name.split(".")[0], text))
            else:
                objects.append(parse_facts(text))
        schema = cls(objects)
        if person_accounts:
            for name, text in later:
                _merge(schema.object(name), parse_facts(text))
        return schema


def _merge(obj, extra):
    """Lay the fields of a .person.facts file over an object's own."""
    for field in extra.fields:
        obj.put(field)


# Reading facts ------------------------------------------------------------

FLAG_LETTERS = {"c": "createable", "u": "updateable", "n": "nillable",
                "d": "defaulted_on_create", "p": "permissionable"}
WORDS = {
    "external": {"external_id": True, "id_lookup": True},
    "unique": {"unique": True},
    "idlookup": {"id_lookup": True},
    "namefield": {"name_field": True},
    "autonumber": {"auto_number": True},
    "calculated": {"calculated": True},
    "poly": {"polymorphic": True},
    "prefilter": {"search_prefilterable": True},
    "restricted": {"restricted_picklist": True},
    "master": {"master_detail": True, "relationship_order": 0},
}
NO_WORDS = {"nofilter": "filterable", "nosort": "sortable",
            "nogroup": "groupable", "noagg": "aggregatable"}
YES_WORDS = {"filter": "filterable", "sort": "sortable",
             "group": "groupable", "agg": "aggregatable"}
VALUES = {"compound": "compound_field_name", "extra": "extra_type_info",
          "rel": "relationship_name", "child": "child_name",
          "formula": "formula"}


def _size(type, size):
    if not size:
        return {"length": 18} if type in IDS else {}
    if type in ("int", "long"):
        return {"digits": int(size)}
    if type in ("double", "currency", "percent"):
        precision, _, scale = size.partition(".")
        return {"precision": int(precision), "scale": int(scale or 0)}
    length, _, precision = size.partition("/")
    out = {"length": int(length)}
    if precision:                       # multipicklist: visible lines
        out["precision"] = int(precision)
    return out


def _words(text):
    """Split at blanks, but not within "double quotes"."""
    out, word, quoted = [], "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == " " and not quoted:
            if word:
                out.append(word)
            word = ""
        else:
            word += char
    if word:
        out.append(word)
    return out


def _details(text, facts):
    for word in _words(text):
        key, eq, value = word.partition("=")
        if not eq and word in WORDS:
            facts.update(WORDS[word])
        elif not eq and word in NO_WORDS:
            facts.setdefault("overrides", {})[NO_WORDS[word]] = False
        elif not eq and word in YES_WORDS:
            facts.setdefault("overrides", {})[YES_WORDS[word]] = True
        elif key in VALUES and eq:
            facts[VALUES[key]] = value
        elif key == "to":
            facts["reference_to"] = value.split(",")
        elif key in ("cascade", "restrict"):
            facts[key] = value.split(",") if eq else None
        elif key == "bytes":
            facts["byte_length"] = int(value)
        elif key == "default":
            facts["default_formula"] = value
            facts["defaulted_on_create"] = True
        else:
            raise ValueError("unknown word %r" % word)
    for key in ("cascade", "restrict"):
        if key in facts and facts[key] is None:
            facts[key] = list(facts.get("reference_to", ()))


def parse_field(line):
    """A Field from one line of facts (see parse_facts)."""
    cells = [cell.strip() for cell in line.split("|", 4)]
    if len(cells) != 5:
        raise ValueError("a field needs five cells: %r" % line)
    name, kind, flags, details, label = cells
    label, _, help_text = label.partition(" // ")
    type, _, size = kind.partition(" ")
    facts = {"label": label, "help": help_text or None}
    facts.update(_size(type, size.strip()))
    for letter in flags:
        facts[FLAG_LETTERS[letter]] = True
    _details(details, facts)
    if type == "boolean":
        facts.setdefault("default_value", False)
        facts["defaulted_on_create"] = True
    return Field(name, type, **facts)


def _add_value(field, text):
    """One picklist value: * is the default, - is no longer active."""
    default = text.startswith("*")
    active = not text.startswith("-")
    value, _, label = text.lstrip("*-").partition(" => ")
    field.picklist.append({
        "active": active, "defaultValue": default, "label": label or value,
        "validFor": None, "value": value})
    if default:
        field.default_value = value


def parse_facts(text):
    """An SObject from the text of a facts file.

    Head:   object NAME / label SINGULAR; PLURAL / prefix 00Q /
            flags WORD ... / bulk no
    Fields: Name | type size | flags | details | label // help text
            size:  length of text, digits of int, precision.scale of numbers
            flags: c createable, u updateable, n nillable, d defaulted on
                   create, p permissionable
            details: to=Object,... rel=Relationship child=ChildRelationship
                   cascade restrict (what deleting the parent does),
                   compound= extra= formula= and the words of WORDS above
    Below a field, indented:
            = value; value; ...   picklist values
            := SQL                computed, has no column; {Field} and
                                  {Relationship.Field} stand for others
    """
    head = {}
    obj = None
    field = None
    for number, line in enumerate(text.split("\n"), 1):
        body = line.strip()
        if not body or body.startswith("#"):
            continue
        try:
            if "|" in line and not line.startswith(" "):
                if obj is None:
                    obj = _head_object(head)
                field = parse_field(line)
                obj.put(field)
            elif line.startswith(" ") and body.startswith(":= "):
                field.expression = body[3:]
            elif line.startswith(" ") and body.startswith("= "):
                for value in body[2:].split(";"):
                    _add_value(field, value.strip())
            else:
                key, _, value = body.partition(" ")
                head[key] = value.strip()
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError("facts line %d: %s" % (number, error))
    return obj or _head_object(head)


def _head_object(head):
    label, _, plural = head.get("label", "").partition(";")
    return SObject(head["object"], label.strip() or None,
                   plural.strip() or None, head.get("prefix"),
                   head.get("flags", "").split(),
                   head.get("bulk", "yes") != "no")
