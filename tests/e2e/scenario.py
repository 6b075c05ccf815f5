"""Plain-text end-to-end scenarios: publish, call, expect, in order, against the real binary.

A scenario is a list of steps. A step is a line that begins at the margin; indented lines under it are
its content. `#` begins a comment line.

    config                          the configuration file (first step; TOML under it)
    subscribe NAME TOPICS [K=V …]   a server-sent event stream on topics a,b and a filter
    publish TOPIC                   POST /v1/pubsub/TOPIC with the content; must answer 200
    call VERB PATH                  any request, with the content as its body
    answers STATUS                  what the call before answered; JSON under it must match
    expect NAME                     the next message of that stream; JSON under it must match
    close NAME                      the client of that stream goes away
    restart                         SIGTERM, then the same binary with the same configuration

Content lines `with NAME: VALUE` before the rest are request headers. JSON matches if every member
that is expected is there; lists have exactly the expected length. The string "$x" takes any value,
keeps it, and stands for it from then on, in paths and content too.
"""

import json
import re
import sys

import harness


class Mismatch(AssertionError):
    pass


class Step:
    def __init__(self, number, words):
        self.number, self.words, self.content = number, words, []

    def headers_and_body(self):
        headers, lines = {}, list(self.content)
        while lines and lines[0].startswith("with "):
            name, _, value = lines.pop(0)[len("with "):].partition(":")
            headers[name.strip()] = value.strip()
        return headers, "\n".join(lines)


def parse(text):
    steps = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] in " \t":
            if not steps:
                raise Mismatch(f"line {number}: content without a step")
            steps[-1].content.append(line.strip())
        else:
            steps.append(Step(number, line.split()))
    return steps


def match(expected, actual, names, where="$"):
    """Raises Mismatch saying where `actual` is not what is expected; binds "$name" on first sight."""
    if isinstance(expected, str) and re.fullmatch(r"\$\w+", expected):
        if expected not in names:
            names[expected] = actual
        elif names[expected] != actual:
            raise Mismatch(f"{where} is {actual!r}, and {expected} was {names[expected]!r}")
    elif isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            if key not in actual:
                raise Mismatch(f"{where} has no {key}: {json.dumps(actual)}")
            match(value, actual[key], names, f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            raise Mismatch(f"{where} has {len(actual)} elements, not {len(expected)}: {json.dumps(actual)}")
        for index, (left, right) in enumerate(zip(expected, actual)):
            match(left, right, names, f"{where}[{index}]")
    elif type(expected) is not type(actual) or expected != actual:
        raise Mismatch(f"{where} is {actual!r}, not {expected!r}")


class Scenario:
    def __init__(self, text):
        self.steps = parse(text)
        self.config = ""
        if self.steps and self.steps[0].words == ["config"]:
            self.config = "\n".join(self.steps.pop(0).content)
        self.names, self.streams, self.answer = {}, {}, None

    def run(self):
        platform = harness.Platform(self.config)
        with platform:
            try:
                for step in self.steps:
                    try:
                        self.do(platform, step)
                    except Exception as error:
                        raise Mismatch(f"line {step.number}, {' '.join(step.words)}: {error}") from error
            finally:
                for stream in self.streams.values():
                    stream.close()

    def do(self, platform, step):
        verb, *arguments = [self.fill(word) for word in step.words]
        if verb == "subscribe":
            name, topics, *filters = arguments
            self.streams[name] = platform.subscribe(*topics.split(","), **dict(f.split("=", 1) for f in filters))
        elif verb == "publish":
            self.request(platform, step, "POST", f"/v1/pubsub/{arguments[0]}")
            if self.answer.status != 200:
                raise Mismatch(f"answered {self.answer.status}: {self.answer.body}")
        elif verb == "call":
            self.request(platform, step, *arguments)
        elif verb == "answers":
            if self.answer.status != int(arguments[0]):
                raise Mismatch(f"answered {self.answer.status}: {self.answer.body}")
            if step.content:
                match(json.loads("\n".join(step.content)), self.answer.json, self.names)
        elif verb == "expect":
            message = self.streams[arguments[0]].next()
            if step.content:
                match(json.loads("\n".join(step.content)), message, self.names)
        elif verb == "close":
            self.streams.pop(arguments[0]).close()
        elif verb == "restart":
            if platform.stop() != 0:
                raise Mismatch(f"did not end cleanly:\n{platform.printed()}")
            platform.start()
        else:
            raise Mismatch("no such step")

    def request(self, platform, step, verb, path):
        headers, body = step.headers_and_body()
        self.answer = platform.rest(verb, path, self.fill(body) or None, headers)

    def fill(self, text):
        for name, value in self.names.items():
            text = re.sub(re.escape(name) + r"(?!\w)", lambda _: str(value), text)
        return text


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            Scenario(file.read()).run()
        print(f"{path}: as expected")
