// The worker of worker_bench: returns one event with the payload that it was given.

#include "virtufin/worker.h"

namespace {

void on_event(const virtufin::worker::Event& event, virtufin::worker::Context& context) {
  context.publish({.type = "com.virtufin.bench.echo",
                   .subject = event.subject(),
                   .data = event.data_text(),
                   .extensions = {{"publishtopic", "sc.LIVE.bench"}}});
}

}  // namespace

VIRTUFIN_WORKER(on_event)
