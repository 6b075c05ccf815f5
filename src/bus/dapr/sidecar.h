#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bus/dapr/dapr_config.h"
#include "core/module.h"

namespace google::protobuf {
class MessageLite;
}
namespace virtufin {
class Metrics;
}

namespace virtufin::bus {

/// What the sidecar says about itself.
struct SidecarInfo {
  struct Component {
    std::string name;
    std::string type;  ///< `pubsub.redis`, `state.in-memory`
    std::string version;
    std::vector<std::string> capabilities;
    bool can(std::string_view capability) const;
  };
  std::string app_id;
  std::string runtime_version;
  std::vector<Component> components;

  /// `kind` is `pubsub` or `state`. Null if there is none of that name.
  const Component* find(std::string_view kind, std::string_view name) const;
  /// The names of one kind, sorted, as an error lists them: `a, b`; `none` if there is none.
  std::string names(std::string_view kind) const;
};

/// How long a call may take, and whether it waits for a sidecar that is away (within that time) or
/// fails with UNAVAILABLE at once.
struct CallOptions {
  std::chrono::milliseconds timeout;
  bool wait_for_ready = false;
};

/// A bidirectional stream to the sidecar. Ended by it, by close(), or by its last holder letting
/// go.
///
/// Threads: any.
class SidecarStream {
 public:
  virtual ~SidecarStream() = default;
  /// In order; queued behind what is being written. Does nothing once the stream has ended. What
  /// may be queued is bounded by what came in, because only answers are written.
  virtual void write(const google::protobuf::MessageLite& message) = 0;
  /// Reads on after on_message answered false.
  virtual void resume() = 0;
  /// Ends it with CANCELLED; on_end is still called.
  virtual void close() = 0;
};

/// The connection to the Dapr sidecar: one gRPC channel, which reconnects by itself, and one thread
/// that runs every callback. Looks at the sidecar's metadata every `probe_ms`; that is readiness.
///
/// Life: the constructor connects in the background; close() (also done by the destructor) ends
/// every call and stream, whose callbacks get CANCELLED, and joins the thread. Whoever is called
/// back outlives the Sidecar, or captures something weak.
/// Threads: all methods from any thread; close() and the destructor not from a callback. Callbacks
/// run on the one thread, and must not block.
class Sidecar {
 public:
  Sidecar(const DaprConfig& config, Metrics& metrics);
  ~Sidecar();
  Sidecar(const Sidecar&) = delete;
  Sidecar& operator=(const Sidecar&) = delete;

  /// Idempotent; see above.
  void close();

  const DaprConfig& config() const;
  const std::string& endpoint() const;

  /// One unary call of `dapr.proto.runtime.v1.Dapr`; `method` is its bare name, a literal. `done`
  /// runs once, on the sidecar's thread, never inside this call. gRPC's own code and words on
  /// failure.
  template <class Response>
  void call(const char* method, const google::protobuf::MessageLite& request, CallOptions options,
            absl::AnyInvocable<void(absl::StatusOr<Response>)> done) {
    auto response = std::make_unique<Response>();
    google::protobuf::MessageLite& filled = *response;
    start_call(method, request, filled, options,
               [response = std::move(response),
                done = std::move(done)](const absl::Status& status) mutable {
                 if (status.ok()) {
                   done(std::move(*response));
                 } else {
                   done(status);
                 }
               });
  }

  /// Opens a stream, writes `first` and reads. `on_message` gets the same message object each time
  /// and may take its content; it answers whether to read on (else: resume()). `on_end` runs once
  /// and last: UNAVAILABLE when the sidecar went away, DEADLINE_EXCEEDED when the first message did
  /// not come within `open_timeout_ms`.
  template <class Response>
  std::shared_ptr<SidecarStream> open(const char* method,
                                      const google::protobuf::MessageLite& first,
                                      absl::AnyInvocable<bool(Response&)> on_message,
                                      absl::AnyInvocable<void(absl::Status)> on_end) {
    auto response = std::make_unique<Response>();
    google::protobuf::MessageLite& filled = *response;
    return start_stream(
        method, first, filled,
        [response = std::move(response), on_message = std::move(on_message)]() mutable {
          return on_message(*response);
        },
        std::move(on_end));
  }

  /// Runs `task` on the sidecar's thread, `delay` from now. Destroyed unrun if the sidecar is
  /// closed before.
  void after(std::chrono::milliseconds delay, absl::AnyInvocable<void()> task);

  /// What the sidecar said last; null before the first answer. Stays while it is away.
  std::shared_ptr<const SidecarInfo> info() const;
  /// OK while the sidecar answers; else UNAVAILABLE with its endpoint and what to do.
  absl::Status reachable() const;
  /// Waits until the sidecar has answered, at most `limit`. Not from a callback.
  absl::Status wait_until_reachable(std::chrono::milliseconds limit) const;
  /// `sidecar`, and `dapr pubsub` and `dapr state` with the components that the config names and
  /// the sidecar does not have.
  std::vector<HealthEntry> health() const;

 private:
  struct Impl;
  void start_call(const char* method, const google::protobuf::MessageLite& request,
                  google::protobuf::MessageLite& response, CallOptions options,
                  absl::AnyInvocable<void(const absl::Status&)> done);
  std::shared_ptr<SidecarStream> start_stream(const char* method,
                                              const google::protobuf::MessageLite& first,
                                              google::protobuf::MessageLite& response,
                                              absl::AnyInvocable<bool()> on_message,
                                              absl::AnyInvocable<void(absl::Status)> on_end);
  std::unique_ptr<Impl> impl_;
};

/// How long to wait before the next attempt: doubles from `first` to `max`, spread over its upper
/// half so that processes do not come back in step, never zero.
///
/// Threads: one.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds first, std::chrono::milliseconds max);
  std::chrono::milliseconds next();
  void succeeded() { attempt_ = 0; }  ///< the next wait is the first one again

 private:
  std::chrono::milliseconds first_, max_;
  int attempt_ = 0;
};

}  // namespace virtufin::bus
