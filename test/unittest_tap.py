"""Runs one file of unittest tests and reports in TAP, a line per test.

usage: unittest_tap.py FILE
"""

import importlib.util
import os
import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    """Prints each test's outcome as a TAP line; what went wrong as comments."""

    def __init__(self):
        super().__init__()
        self.number = 0
        self.failed_subtests = set()

    def line(self, ok, test, directive="", detail=""):
        self.number += 1
        name = test.id().replace("#", "")
        print(f"{'ok' if ok else 'not ok'} {self.number} - {name}{directive}")
        for text in detail.splitlines():
            print("# " + text)
        sys.stdout.flush()

    def addSuccess(self, test):
        if test.id() not in self.failed_subtests:
            self.line(True, test)

    def addError(self, test, err):
        self.line(False, test, detail="".join(traceback.format_exception(*err)))
        super().addError(test, err)

    addFailure = addError

    def addSkip(self, test, reason):
        self.line(True, test, directive=f" # SKIP {reason}")

    def addExpectedFailure(self, test, err):
        self.line(True, test)

    def addUnexpectedSuccess(self, test):
        self.line(False, test, detail="succeeded, though it was expected to fail")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.failed_subtests.add(test.id())
            self.addError(subtest, err)


def main():
    path = os.path.abspath(sys.argv[1])
    sys.path.insert(0, os.path.dirname(path))
    sys.path.insert(0, os.path.dirname(os.path.dirname(path)))
    spec = importlib.util.spec_from_file_location(
        os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    result = TapResult()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    print(f"1..{result.number}")


if __name__ == "__main__":
    main()
