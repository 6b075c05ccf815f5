#pragma once

#include <absl/container/flat_hash_set.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "bus/dapr/sidecar.h"
#include "core/errors.h"
#include "core/metrics.h"

/// How calls and streams reach the sidecar. Only for the files of this class and sidecar.cpp: it
/// brings gRPC's headers.
namespace virtufin::bus::sidecar {

grpc::ByteBuffer to_buffer(const google::protobuf::MessageLite& message);
/// INTERNAL if the bytes are no such message.
absl::Status parse(grpc::ByteBuffer& buffer, google::protobuf::MessageLite& message);
absl::Status to_absl_status(const grpc::Status& status);

/// One gRPC channel, its completion queue and the thread that runs all callbacks.
///
/// Life: start(), then calls, close(); see Sidecar.
/// Threads: any.
class SidecarChannel {
 public:
  /// What the completion queue hands back.
  struct Tag {
    virtual ~Tag() = default;
    virtual void run(bool ok) = 0;
  };
  /// A call, a stream, a timer: known until it has ended, so that close() ends all and waits.
  struct Operation {
    virtual ~Operation() = default;
    virtual void cancel() = 0;  ///< any thread; it ends soon
  };
  struct Method {
    std::string path;
    std::shared_ptr<Counter> calls;
    std::shared_ptr<Counter> failures;
  };

  SidecarChannel(const DaprConfig& config, Metrics& metrics);
  void start();
  void close();

  void start_call(const char* method, const google::protobuf::MessageLite& request,
                  google::protobuf::MessageLite& response, CallOptions options,
                  absl::AnyInvocable<void(const absl::Status&)> done);
  std::shared_ptr<SidecarStream> start_stream(const char* method,
                                              const google::protobuf::MessageLite& first,
                                              google::protobuf::MessageLite& response,
                                              absl::AnyInvocable<bool()> on_message,
                                              absl::AnyInvocable<void(absl::Status)> on_end);
  void after(std::chrono::milliseconds delay, absl::AnyInvocable<void()> task);

  const DaprConfig& config() const { return config_; }
  const std::string& endpoint() const { return endpoint_; }

 private:
  struct Call;
  struct Timer;
  struct Stream;
  class StreamHandle;

  /// False when closing: the operation must not begin.
  bool enter(Operation* operation);
  void leave(Operation* operation);
  /// Tells a callback that came too late, on the thread while there is one.
  void refuse(absl::AnyInvocable<void(absl::Status)> done);
  void run_refused();
  void run();
  void prepare(grpc::ClientContext& context) const;
  const Method& method(const char* name) const;

  const DaprConfig config_;
  const std::string endpoint_;
  std::string token_;          ///< never printed
  StringMap<Method> methods_;  ///< never changes
  grpc::CompletionQueue queue_;
  const std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  const std::shared_ptr<Gauge> streams_;

  std::mutex mutex_;
  std::condition_variable idle_;  ///< no operation is left
  absl::flat_hash_set<Operation*> operations_;
  std::deque<absl::AnyInvocable<void(absl::Status)>> refused_;
  bool closing_ = false;
  bool drained_ = false;  ///< the thread runs nothing any more
  std::thread thread_;
};

}  // namespace virtufin::bus::sidecar
