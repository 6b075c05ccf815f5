"""An app as anyone writes one with Dapr's own SDK for Python: it knows nothing of the platform. Told
what to do a line at a time, in JSON, on its input; answers a line at a time on its output."""

import json
import sys
import threading

from dapr.clients import DaprClient


def main():
    say = threading.Lock()
    answers, sys.stdout = sys.stdout, sys.stderr  # what the SDK prints is no answer

    def answer(**members):
        with say:
            print(json.dumps(members), file=answers, flush=True)

    def receive(subscription):
        for message in subscription:
            if message is None:
                return
            answer(event={"id": message.id(), "source": message.source(), "type": message.type(),
                          "topic": message.topic(), "data": message.data()})
            subscription.respond_success(message)

    with DaprClient() as client:
        for line in sys.stdin:
            order = json.loads(line)
            what = order.pop("do")
            if what == "publish":
                client.publish_event(**order)
                answer(done="publish")
            elif what == "subscribe":
                subscription = client.subscribe(**order)
                threading.Thread(target=receive, args=(subscription,), daemon=True).start()
                answer(done="subscribe")
            elif what == "save":
                client.save_state(**order)
                answer(done="save")
            elif what == "get":
                answer(value=client.get_state(**order).text())
            else:
                raise ValueError(what)


if __name__ == "__main__":
    main()
