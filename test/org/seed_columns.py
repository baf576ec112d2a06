"""Columns of made-up data.

A column is a function that gives its values for the rows from a up to b; most
are slices of a pool whose length is a prime of its own, so that columns do
not fall into step.
"""

import datetime
import random

import ids
import seed_words as words

CHUNK = 20000


def primes():
    """Primes from 997 on: lengths for pools."""
    n = 997
    while True:
        if all(n % d for d in range(2, int(n ** 0.5) + 1)):
            yield n
        n += 2


class IdMaker:
    """Ids by number, from tables instead of bit by bit."""

    LOW = [a + b + c for a in ids.BASE62 for b in ids.BASE62
           for c in ids.BASE62]
    # Which of the last three characters are upper case.
    BITS = [sum(1 << k for k, ch in enumerate(s) if "A" <= ch <= "Z")
            for s in LOW]

    def __init__(self, prefix):
        self.prefix = prefix
        self.heads = {}

    def head(self, high):
        """What ids share whose last three characters differ."""
        if high not in self.heads:
            start = self.prefix + ids.POD + ids.base62(high, 6)
            check = ids.checksum(start + "000")
            bits = ids.CHECK.index(check[2])
            tails = [check[:2] + ids.CHECK[bits | low << 2]
                     for low in range(8)]
            self.heads[high] = (start, tails)
        return self.heads[high]

    def __call__(self, number):
        high, low = divmod(number, len(self.LOW))
        start, tails = self.head(high)
        return start + self.LOW[low] + tails[self.BITS[low]]

    def span(self, first, last):
        """The ids of the numbers from first up to last."""
        out = []
        size = len(self.LOW)
        while first < last:
            high, low = divmod(first, size)
            upto = min(size, low + last - first)
            start, tails = self.head(high)
            out += [start + s + tails[b]
                    for s, b in zip(self.LOW[low:upto], self.BITS[low:upto])]
            first += upto - low
        return out


class Stamps:
    """CreatedDate, LastModifiedDate and SystemModstamp of a table's rows.

    Rows were created in the order of their ids.  Many share a second; and a
    run in the middle was changed by one mass update, all in one second and
    longer than a query page where the table is large.
    """

    def __init__(self, rng, count, start, end):
        seconds = int((end - start).total_seconds())
        picks = sorted(rng.randrange(seconds)
                       for _ in range(max(1, min(count, 40000))))
        self.texts = [stamp(start + datetime.timedelta(seconds=s))
                      for s in picks]
        self.count = max(count, 1)
        self.later = [0 if rng.random() < 0.4 else
                      rng.randrange(len(picks)) // 2 for _ in range(4001)]
        run = min(5000, count * 3 // 10)
        self.run = (count // 2, count // 2 + run)
        # After the last of the run was created.
        self.run_stamp = self.texts[len(picks) * 17 // 20]

    def created(self, a, b):
        size, count, texts = len(self.texts), self.count, self.texts
        return [texts[min(i, count - 1) * size // count]
                for i in range(a, b)]

    def modified(self, a, b):
        size, count, texts = len(self.texts), self.count, self.texts
        later, period, top = self.later, len(self.later), len(self.texts) - 1
        out = [texts[min(top, min(i, count - 1) * size // count
                         + later[i % period])]
               for i in range(a, b)]
        low, high = max(a, self.run[0]), min(b, self.run[1])
        if low < high:
            out[low - a:high - a] = [self.run_stamp] * (high - low)
        return out


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Columns:
    """Makes columns; all that is random about them comes from one seed."""

    def __init__(self, schema, seed, end):
        self.schema = schema
        self.rng = random.Random(seed)
        self.primes = primes()
        self.end = end
        self.makers = {obj.name: IdMaker(obj.key_prefix)
                       for obj in schema.objects if obj.key_prefix}
        self.made = {}                  # object -> rows made and not deleted

    def pool(self, values, length=None):
        """A column of values drawn at random."""
        values = list(values)
        if not values:
            return lambda a, b: [None] * (b - a)
        length = length or next(self.primes)
        return self.periodic(self.rng.choices(values, k=length))

    @staticmethod
    def periodic(values):
        period = len(values)
        laid = values * (CHUNK // period + 2)

        def column(a, b):
            at = a % period
            return laid[at:at + b - a]
        return column

    def sparse(self, values, share):
        """The same, null but for a share of the rows."""
        values = list(values)
        nulls = round(len(values) * (1 - share) / share)
        return self.pool(values + [None] * nulls)

    def floats(self, low, high, digits, share=1.0):
        return self.sparse([round(self.rng.uniform(low, high), digits)
                            for _ in range(400)], share)

    def integers(self, low, high, share=1.0):
        return self.sparse([self.rng.randrange(low, high)
                            for _ in range(400)], share)

    def dates(self, days_back, days_ahead=0, share=1.0):
        return self.sparse(
            [(self.end.date() + datetime.timedelta(
                days=self.rng.randrange(-days_back, days_ahead + 1))
              ).isoformat() for _ in range(700)], share)

    def datetimes(self, days_back, days_ahead=0, share=1.0):
        return self.sparse(
            [stamp((self.end + datetime.timedelta(
                days=self.rng.randrange(-days_back, days_ahead + 1))).replace(
                    minute=self.rng.choice((0, 15, 30)), second=0))
             for _ in range(700)], share)

    def values(self, object_name, field):
        """The active values of a picklist, if the org has it."""
        field = self.schema.object(object_name).field(field)
        return [v["value"] for v in field.picklist
                if v["active"]] if field else []

    def picks(self, object_name, field, share=1.0):
        return self.sparse(self.values(object_name, field), share)

    def phones(self, share):
        rng = self.rng
        forms = ("+49 30 %d", "(415) 555-%04d", "+1-212-555-%04d",
                 "03-1234-%04d", "+44 20 7946 %04d ext. 5")
        return self.sparse([rng.choice(forms) % rng.randrange(1000, 9999)
                            for _ in range(500)], share)

    def parents(self, object_name, share=1.0):
        """References to the rows of an object made before."""
        count = self.made.get(object_name, 0)
        if not count:
            return lambda a, b: [None] * (b - a)
        make = self.makers[object_name]
        length = 65537 if count > 5000 else next(self.primes)
        rng = self.rng
        return self.periodic([
            make(rng.randrange(count) + 1) if rng.random() < share else None
            for _ in range(length)])

    def owners(self, queues=0):
        users = [self.makers["User"](n + 1) for n in range(self.made["User"])
                 if n != 4]             # not the one who has left
        if queues:
            users += [self.makers["Group"](n + 1)
                      for n in range(queues)] * max(1, len(users) // 20)
        return self.pool(users)

    def keys(self, form, share=0.75):
        """Values of an external id, unique, absent in some rows."""
        absent = round(1 / (1 - share)) if share < 1 else 0
        return lambda a, b: [None if absent and n % absent == 0 else form % n
                             for n in range(a + 1, b + 1)]

    def names(self, form):
        return lambda a, b: [form % n for n in range(a + 1, b + 1)]

    def mails(self, share=0.9):
        heads = self.pool(["ada", "ben.diaz", "c_mueller", "d-oneil", "info",
                           "sales+web", "k.yamamoto", "x"])
        tails = self.pool(["example.com", "mail.example.org", "firma.example",
                           "example.co.jp"])
        absent = round(1 / (1 - share))
        return lambda a, b: [
            None if n % absent == 0 else "%s%d@%s" % (head, n, tail)
            for n, head, tail in zip(range(a + 1, b + 1), heads(a, b),
                                     tails(a, b))]

    def place(self, prefix=""):
        """The columns of one address, in step with each other."""
        rows = self.rng.choices(words.PLACE, k=next(self.primes))
        parts = ("Street", "City", "State", "PostalCode", "Country",
                 "Latitude", "Longitude")
        return {prefix + part: self.periodic([row[i] for row in rows])
                for i, part in enumerate(parts)}

    def joined(self, *columns):
        """Multi-select values: the parts that are there, joined by ;."""
        def column(a, b):
            return [";".join(dict.fromkeys(p for p in parts if p)) or None
                    for parts in zip(*(c(a, b) for c in columns))]
        return column

    def filler(self, field):
        """A column for a field of which no more than its type is known."""
        if field.type == "boolean":
            return self.periodic([0])
        if field.recorded is None or not (field.custom
                                          or not field.nillable):
            return self.periodic([None])
        share = 0.7 if field.nillable else 1.0
        values = [v["value"] for v in field.picklist if v["active"]]
        if field.type == "reference":
            targets = [name for name in field.reference_to
                       if self.made.get(name)]
            return (self.parents(targets[0], share) if targets
                    else self.periodic([None]))
        if field.type in ("double", "currency", "percent"):
            top = 10 ** min(9, max(1, field.precision - field.scale))
            return self.floats(0, top, min(field.scale, 4), share)
        if field.type in ("int", "long"):
            return self.integers(0, 10000, share)
        if field.type == "date":
            return self.dates(300, 300, share)
        if field.type == "datetime":
            return self.datetimes(300, 300, share)
        if field.type == "time":
            return self.sparse(["08:15:00.000Z"], share)
        if field.unique or field.external_id:
            return self.keys("%d", 1)
        if field.type == "base64":
            return self.periodic([b"x"])
        if not values:
            values = [text[:field.length or 80].strip() for text in
                      words.DESCRIPTION if text]
        if field.type in ("email", "url", "phone"):
            values = ["a@example.com", "b@example.com"]
        return self.sparse([v for v in values if v], share)
