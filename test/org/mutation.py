"""Answers that are nearly right: one place of a good answer is changed at random.

A member is dropped, null, of another type, there twice, nested once more or in another order, or
the text ends too early; so that a client meets each of them in each of its decoders.
"""

import json
import random

#: what stands in the place of a value, whatever it was
STRANGERS = [None, True, False, 0, -1, 10 ** 30, 1.5, "", "x", "null", [], {}, [None], [[]],
             {"id": None}, {"records": [None]}, "00Q", "2026-13-45T99:99:99Z", "\u0000", "x" * 5000]


def places(node, found):
    """Every (container, key) below a node."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        found.append((node, key))
        if isinstance(value, (dict, list)):
            places(value, found)
    return found


def drop(rng, node, key):
    del node[key]


def stranger(rng, node, key):
    node[key] = rng.choice(STRANGERS)


def as_text(rng, node, key):
    value = node[key]
    node[key] = json.dumps(value) if not isinstance(value, str) else [value]


def nest(rng, node, key):
    node[key] = rng.choice([[node[key]], {key if isinstance(key, str) else "item": node[key]}])


def again(rng, node, key):
    value = node[key]
    if isinstance(node, list):
        node.insert(rng.randrange(len(node) + 1), value)
    elif isinstance(value, list):
        node[key] = value + value
    else:
        node[key.upper()] = value


def reorder(rng, node, key):
    if isinstance(node, list):
        rng.shuffle(node)
    else:
        items = list(node.items())
        rng.shuffle(items)
        node.clear()
        node.update(items)


def borrow(rng, node, key):
    """The value of a neighbour."""
    keys = list(node) if isinstance(node, dict) else range(len(node))
    node[key] = node[rng.choice(list(keys))]


CHANGES = [drop, stranger, stranger, as_text, nest, again, reorder, borrow]


def mutate_json(rng, text):
    data = json.loads(text)
    holder = [data]
    found = places(holder, [])
    # those that stand high matter most, and are few
    node, key = found[min(int(rng.expovariate(0.1)), len(found) - 1)] if rng.random() < 0.5 \
        else rng.choice(found)
    rng.choice(CHANGES)(rng, node, key)
    if not holder:
        return b""
    return json.dumps(holder[0], separators=(",", ":")).encode()


def mutate_bytes(rng, body):
    """CSV, and whatever else: lines and single bytes."""
    lines = body.split(b"\n")
    at = rng.randrange(len(lines))
    what = rng.randrange(6)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif what == 2:
        rng.shuffle(lines)
    elif what == 3:
        return body[:rng.randrange(len(body) + 1)]
    else:
        place = rng.randrange(len(body) + 1)
        return body[:place] + rng.choice([b'"', b",", b"\n", b"\0", b"\xff", b"\r", b"'"]) + body[place + what % 2:]
    return b"\n".join(lines)


class Mutator:
    def __init__(self):
        self.count = 0

    def __call__(self, seed, body):
        self.count += 1
        rng = random.Random("%s-%d" % (seed, self.count))
        if body[:1] in (b"{", b"[") and rng.random() < 0.9:
            return mutate_json(rng, body)
        return mutate_bytes(rng, body)


mutate = Mutator()
