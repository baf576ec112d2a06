"""Deletes: into the recycle bin, out of it either way, and what hangs on a record meanwhile."""

import rules
from errors import RecordError, no_access
from records import of_object


class Removal:
    """The part of a Change that deletes."""

    def delete(self, obj, record_id):
        if not self.options.system and (not obj.deletable or
                                        self.user.read_only_objects[obj.name]):
            raise no_access(obj, "delete")
        record_id = of_object(obj, record_id)
        row = self.live_row(obj, record_id)
        self.org.faults.check_record(obj, "delete", {"Id": record_id})
        self.check_governor(obj, "delete")
        if obj.name == "CampaignMemberStatus" and not self.options.system:
            for name in ("IsDefault", "HasResponded"):
                if row.get(name):
                    rules.check_other_status(self, row, name)
        self.remove(obj, record_id, record_id, set())
        return record_id

    def remove(self, obj, record_id, root, seen):
        """Soft-delete a record with what hangs on it. `root` is what the user deleted."""
        if record_id in seen:
            return
        seen.add(record_id)
        self.lock(record_id)
        relations = self.relations(obj)
        for relation in relations:
            if relation.restricted_delete:
                self.refuse_if_used(relation, record_id)
        for relation in relations:
            if relation.cascade_delete:
                for child in self.children(relation, record_id):
                    self.remove(relation.child, child, root, seen)
            elif not relation.restricted_delete:
                self.clear(relation, record_id, root)
        self.bury(obj, record_id, root)

    def relations(self, obj):
        """The child relationships that a delete or a merge has to follow.

        What only the platform writes (MasterRecordId, ConvertedContactId) stays as it is.
        """
        cache = self.org.relations
        if cache.get("modified") != self.schema.modified:
            cache.clear()
            cache["modified"] = self.schema.modified
        if obj.name not in cache:
            cache[obj.name] = [
                relation for relation in self.schema.children_of(obj) if relation.field.stored
                and (relation.name or relation.cascade_delete or relation.restricted_delete
                     or relation.field.createable or relation.field.updateable)]
        return cache[obj.name]

    def children(self, relation, record_id):
        live = ' AND "IsDeleted" = 0' if relation.child.field("IsDeleted") else ""
        return [row[0] for row in self.writer.query(
            'SELECT "Id" FROM "%s" WHERE "%s" = ?%s'
            % (relation.child.name, relation.field.name, live), (record_id,))]

    def refuse_if_used(self, relation, record_id):
        used = self.children(relation, record_id)
        if used:
            raise RecordError(
                "DELETE_FAILED", "Your attempt to delete this record could not be completed "
                "because it is associated with the following %s: %s"
                % (relation.child.label_plural.lower(), ", ".join(used[:5])))

    def clear(self, relation, record_id, root):
        """Lookups at a deleted record become null; undelete gives them back."""
        child, field = relation.child, relation.field
        found = self.children(relation, record_id)
        if not found or not field.nillable:
            return
        columns = {field.name: None}
        if self.org.config["bump_on_lookup_null"] and child.field("SystemModstamp"):
            columns["SystemModstamp"] = self.stamp
        for child_id in found:
            self.lock(child_id)
            self.writer.execute("INSERT OR REPLACE INTO sys_cleared VALUES (?, ?, ?, ?, ?)",
                                (root, child.name, child_id, field.name, record_id))
            self.set_columns(child, child_id, columns)

    def bury(self, obj, record_id, root, master=None):
        """Into the recycle bin, or gone at once where there is no way back."""
        self.writer.execute("INSERT OR REPLACE INTO sys_deleted VALUES (?, ?, ?, ?)",
                            (obj.name, record_id, self.stamp, root))
        vanish = not obj.undeletable and self.org.config["undeletable_vanish"]
        if vanish or not obj.field("IsDeleted"):
            self.writer.execute('DELETE FROM "%s" WHERE "Id" = ?' % obj.name, (record_id,))
            return
        columns = dict(self.touched(obj), IsDeleted=1)
        if master and obj.field("MasterRecordId"):
            columns["MasterRecordId"] = master
        self.set_columns(obj, record_id, columns)

    def undelete(self, obj, record_id):
        record_id = of_object(obj, record_id)
        row = self.row(obj, record_id)
        if row is None or not row.get("IsDeleted"):
            raise RecordError("UNDELETE_FAILED", "entity is not in the recycle bin")
        root = self.one("SELECT root FROM sys_deleted WHERE object = ? AND id = ?", obj.name,
                        record_id)
        if root not in (record_id, None):
            raise RecordError("UNDELETE_FAILED", "entity was deleted with its parent %s" % root)
        for name, member in self.writer.query(
                "SELECT object, id FROM sys_deleted WHERE root = ?", (record_id,)).fetchall():
            part = self.schema.object(name)
            if part is not None and self.row(part, member):
                self.dig_out(part, member)
        for name, child_id, field, value in self.writer.query(
                "SELECT object, id, field, value FROM sys_cleared WHERE root = ?",
                (record_id,)).fetchall():
            self.give_back(self.schema.object(name), child_id, field, value)
        self.writer.execute("DELETE FROM sys_cleared WHERE root = ?", (record_id,))
        return record_id

    def dig_out(self, obj, record_id):
        self.lock(record_id)
        columns = dict(self.touched(obj), IsDeleted=0)
        if obj.field("MasterRecordId"):
            columns["MasterRecordId"] = None
        self.set_columns(obj, record_id, columns)
        if self.org.config["log_keeps_undeleted"]:
            self.writer.execute("INSERT OR IGNORE INTO sys_undeleted SELECT object, id, deleted "
                                "FROM sys_deleted WHERE object = ? AND id = ?",
                                (obj.name, record_id))
        self.writer.execute("DELETE FROM sys_deleted WHERE object = ? AND id = ?",
                            (obj.name, record_id))

    def give_back(self, obj, child_id, field, value):
        row = self.row(obj, child_id) if obj and obj.field(field) else None
        if row is None or row.get("IsDeleted") or row.get(field) is not None:
            return
        columns = {field: value}
        if self.org.config["bump_on_lookup_null"] and obj.field("SystemModstamp"):
            columns["SystemModstamp"] = self.stamp
        self.lock(child_id)
        self.set_columns(obj, child_id, columns)

    def purge(self, obj, record_id):
        """Out of the recycle bin: no query shows it any more."""
        record_id = of_object(obj, record_id)
        row = self.row(obj, record_id)
        if row is None or not row.get("IsDeleted"):
            raise RecordError("INVALID_ID_FIELD", "entity is not in the recycle bin")
        for name, member in self.writer.query(
                "SELECT object, id FROM sys_deleted WHERE root = ? AND id <> ?",
                (record_id, record_id)).fetchall():
            if self.schema.object(name):
                self.writer.execute('DELETE FROM "%s" WHERE "Id" = ? AND "IsDeleted" = 1' % name,
                                    (member,))
        self.writer.execute('DELETE FROM "%s" WHERE "Id" = ?' % obj.name, (record_id,))
        self.writer.execute("DELETE FROM sys_cleared WHERE root = ?", (record_id,))
        return record_id
