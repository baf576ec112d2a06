"""Objects from describes that were recorded elsewhere.

An org can take the place of a real one as far as its metadata goes: started
with --describe FILE (the body of /sobjects/X/describe), it has that object
with just those fields and describes it in just those words.  What our own
facts know besides, such as how the Name of a person is computed, is kept.
"""

import json

from schema import COMPOUND, DESCRIBE_FLAGS, GLOBAL_FLAGS, Field, SObject

FACTS = {
    "label": "label", "length": "length", "precision": "precision",
    "scale": "scale", "digits": "digits", "createable": "createable",
    "updateable": "updateable", "nillable": "nillable",
    "permissionable": "permissionable",
    "defaulted_on_create": "defaultedOnCreate", "custom": "custom",
    "external_id": "externalId", "unique": "unique",
    "id_lookup": "idLookup", "name_field": "nameField",
    "auto_number": "autoNumber", "calculated": "calculated",
    "formula": "calculatedFormula", "reference_to": "referenceTo",
    "relationship_name": "relationshipName",
    "polymorphic": "polymorphicForeignKey",
    "compound_field_name": "compoundFieldName",
    "picklist": "picklistValues", "restricted_picklist": "restrictedPicklist",
    "default_value": "defaultValue", "help": "inlineHelpText",
}
OVERRIDES = ("filterable", "sortable", "groupable", "aggregatable")


def field_from(described, known):
    """A Field from one entry of a describe; known is ours of that name."""
    facts = {ours: described[theirs] for ours, theirs in FACTS.items()
             if described.get(theirs) is not None}
    facts["overrides"] = {name: described[name] for name in OVERRIDES
                          if name in described}
    if known is not None:
        facts.update(child_name=known.child_name, cascade=known.cascade,
                     restrict=known.restrict)
        if described["type"] not in COMPOUND:
            facts["expression"] = known.expression
    field = Field(described["name"], described["type"], **facts)
    field.recorded = described
    return field


def object_from(described, known=None):
    """An SObject from a describe; known is ours of that name."""
    flags = [name for name in GLOBAL_FLAGS + DESCRIBE_FLAGS
             if described.get(name)]
    obj = SObject(described["name"], described.get("label"),
                  described.get("labelPlural"),
                  described.get("keyPrefix") or (known and known.key_prefix),
                  flags, known.bulk if known else True)
    for entry in described["fields"]:
        obj.put(field_from(entry, known and known.field(entry["name"])))
    # What the org itself cannot do without, whoever made the describe.
    for name in ("Id", "IsDeleted", "SystemModstamp"):
        if known and known.field(name) and not obj.field(name):
            obj.put(known.field(name))
    obj.recorded = {key: value for key, value in described.items()
                    if key not in ("fields", "urls", "keyPrefix")}
    return obj


def install(schema, path):
    """Put the object of a describe in place of the schema's own."""
    with open(path, encoding="utf-8") as file:
        described = json.load(file)
    known = schema.object(described["name"])
    obj = object_from(described, known)
    if known is not None:
        schema.replace(obj)
    else:
        schema.add_object(obj, when=schema.modified)
    return obj
