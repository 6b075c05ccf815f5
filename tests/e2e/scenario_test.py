"""Every *.scenario beside this file is a test; and the runner itself sees what is wrong."""

import pathlib
import unittest

import scenario


class Scenarios(unittest.TestCase):
    """Filled below: one test a file."""


def add(path):
    def test(self):
        scenario.Scenario(path.read_text(encoding="utf-8")).run()
    test.__doc__ = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
    setattr(Scenarios, f"test_{path.stem}", test)


for found in sorted(pathlib.Path(__file__).parent.glob("*.scenario")):
    add(found)


class Matching(unittest.TestCase):
    def check(self, expected, actual, names=None):
        names = {} if names is None else names
        scenario.match(expected, actual, names)
        return names

    def differs(self, expected, actual, where):
        with self.assertRaises(scenario.Mismatch) as caught:
            self.check(expected, actual)
        self.assertIn(where, str(caught.exception))

    def test_members_beside_the_expected_ones_may_be_there(self):
        self.check({"a": [1, {"b": "c"}]}, {"a": [1, {"b": "c", "d": 2}], "e": None})

    def test_what_differs_is_named(self):
        self.differs({"a": {"b": 1}}, {"a": {"b": 2}}, "$.a.b")
        self.differs({"a": 1}, {}, "no a")
        self.differs([1], [1, 2], "2 elements")
        self.differs([1, 3], [1, 2], "$[1]")
        self.differs({"a": 1}, {"a": "1"}, "$.a")
        self.differs({"a": 1}, {"a": True}, "$.a")

    def test_a_name_takes_a_value_once(self):
        self.assertEqual(self.check({"a": "$x", "b": "$x"}, {"a": 7, "b": 7}), {"$x": 7})
        self.differs({"a": "$x", "b": "$x"}, {"a": 7, "b": 8}, "$.b")

    def test_steps_have_their_content(self):
        steps = scenario.parse("# comment\npublish t\n  with ce-id: 1\n  {\n   \"a\": 1}\n\nexpect s\n")
        self.assertEqual([step.words for step in steps], [["publish", "t"], ["expect", "s"]])
        self.assertEqual(steps[0].headers_and_body(), ({"ce-id": "1"}, '{\n"a": 1}'))

    def test_there_are_scenarios(self):
        self.assertTrue([name for name in dir(Scenarios) if name.startswith("test_")])


if __name__ == "__main__":
    unittest.main()
