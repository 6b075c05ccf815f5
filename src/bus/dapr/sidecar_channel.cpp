#include "bus/dapr/sidecar_channel.h"

#include <google/protobuf/message_lite.h>
#include <grpcpp/alarm.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "core/executor.h"
#include "core/log.h"

namespace virtufin::bus::sidecar {
namespace {

using google::protobuf::MessageLite;
using std::chrono::milliseconds;

/// Every method that is called: its path is built, and its calls are counted, by this list.
constexpr std::array kMethods{"GetState",
                              "GetBulkState",
                              "SaveState",
                              "QueryStateAlpha1",
                              "DeleteState",
                              "ExecuteStateTransaction",
                              "PublishEvent",
                              "BulkPublishEvent",
                              "BulkPublishEventAlpha1",
                              "SubscribeTopicEventsAlpha1",
                              "GetMetadata"};
/// Of the sidecar's words in an error.
constexpr std::size_t kMaxWords = 500;

gpr_timespec from_now(milliseconds delay) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_millis(delay.count(), GPR_TIMESPAN));
}

/// `http://` and `https://` as Dapr's own SDKs take them; the scheme says whether TLS is spoken.
std::shared_ptr<grpc::Channel> connect(std::string target, const DaprConfig& config) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(config.message_bytes_max));
  arguments.SetMaxSendMessageSize(-1);  // the sidecar's own limit answers with its name
  // Each adapter has a connection of its own; a proxy of the environment is not for the sidecar.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   static_cast<int>(std::max(config.reopen_first, milliseconds(100)).count()));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                   static_cast<int>(std::max(config.reopen_max, milliseconds(100)).count()));
  // Time for one attempt, which a peer that accepts and never answers would use up.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   static_cast<int>(config.call_timeout.count()));
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  if (target.rfind("https://", 0) == 0) {
    target.erase(0, 8);
    credentials = grpc::SslCredentials({});
  } else {
    if (target.rfind("http://", 0) == 0) target.erase(0, 7);
    credentials = grpc::InsecureChannelCredentials();
  }
  return grpc::CreateCustomChannel(target, credentials, arguments);
}

}  // namespace

absl::Status to_absl_status(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return make_status(static_cast<absl::StatusCode>(status.error_code()),
                     printable(status.error_message(), kMaxWords));
}

grpc::ByteBuffer to_buffer(const MessageLite& message) {
  const std::size_t size = message.ByteSizeLong();
  grpc::Slice slice(size);
  message.SerializeWithCachedSizesToArray(const_cast<std::uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

absl::Status parse(grpc::ByteBuffer& buffer, MessageLite& message) {
  grpc::ProtoBufferReader reader(&buffer);
  if (reader.status().ok() && message.ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  return internal_error("the sidecar sent {} bytes that are no {}", buffer.Length(),
                        message.GetTypeName());
}

SidecarChannel::SidecarChannel(const DaprConfig& config, Metrics& metrics)
    : config_(config),
      endpoint_(config.resolved_endpoint()),
      channel_(connect(endpoint_, config)),
      stub_(channel_),
      streams_(metrics.gauge("virtufin_dapr_streams", "Open streams to the sidecar")) {
  if (const char* token = std::getenv("DAPR_API_TOKEN")) token_ = token;
  for (const char* name : kMethods) {
    methods_.emplace(
        name, Method{fmt::format("/dapr.proto.runtime.v1.Dapr/{}", name),
                     metrics.counter("virtufin_dapr_calls_total", "Calls of the sidecar that ended",
                                     {{"method", name}}),
                     metrics.counter("virtufin_dapr_call_failures_total",
                                     "Calls of the sidecar that failed", {{"method", name}})});
  }
}

void SidecarChannel::start() {
  thread_ = std::thread([this] { run(); });
}

void SidecarChannel::close() {
  {
    std::unique_lock lock(mutex_);
    if (closing_) return;
    closing_ = true;
    for (Operation* operation : operations_) operation->cancel();
    idle_.wait(lock, [this] { return operations_.empty(); });
  }
  queue_.Shutdown();
  thread_.join();
}

void SidecarChannel::run() {
  set_thread_name("dapr");
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) static_cast<Tag*>(tag)->run(ok);
  run_refused();
}

bool SidecarChannel::enter(Operation* operation) {
  std::lock_guard lock(mutex_);
  if (closing_) return false;
  operations_.insert(operation);
  return true;
}

void SidecarChannel::leave(Operation* operation) {
  std::lock_guard lock(mutex_);
  operations_.erase(operation);
  if (closing_ && operations_.empty()) idle_.notify_all();
}

void SidecarChannel::refuse(absl::AnyInvocable<void(absl::Status)> done) {
  {
    std::lock_guard lock(mutex_);
    if (!drained_) {
      refused_.push_back(std::move(done));
      return;
    }
  }
  done(cancelled("the connection to the sidecar is closed"));
}

void SidecarChannel::run_refused() {
  for (;;) {
    std::deque<absl::AnyInvocable<void(absl::Status)>> some;
    {
      std::lock_guard lock(mutex_);
      if (refused_.empty()) {
        drained_ = true;
        return;
      }
      some.swap(refused_);
    }
    for (auto& done : some) done(cancelled("the connection to the sidecar is closed"));
  }
}

void SidecarChannel::prepare(grpc::ClientContext& context) const {
  if (!token_.empty()) context.AddMetadata("dapr-api-token", token_);
}

const SidecarChannel::Method& SidecarChannel::method(const char* name) const {
  return methods_.find(std::string_view(name))->second;
}

// --- Unary calls --------------------------------------------------------------------------------

struct SidecarChannel::Call final : Tag, Operation {
  void cancel() override { context.TryCancel(); }
  void run(bool) override {
    absl::Status result = to_absl_status(status);
    if (result.ok()) result = parse(reply, *response);
    method->calls->add();
    if (!result.ok()) method->failures->add();
    done(result);
    done = nullptr;
    owner->leave(this);
    delete this;
  }

  SidecarChannel* owner = nullptr;
  const Method* method = nullptr;
  MessageLite* response = nullptr;
  absl::AnyInvocable<void(const absl::Status&)> done;
  grpc::ClientContext context;
  grpc::ByteBuffer reply;
  grpc::Status status;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
};

void SidecarChannel::start_call(const char* name, const MessageLite& request, MessageLite& response,
                                CallOptions options,
                                absl::AnyInvocable<void(const absl::Status&)> done) {
  auto call = std::make_unique<Call>();
  if (!enter(call.get())) {
    refuse([done = std::move(done)](const absl::Status& status) mutable { done(status); });
    return;
  }
  call->owner = this;
  call->method = &method(name);
  call->response = &response;
  call->done = std::move(done);
  call->context.set_deadline(from_now(options.timeout));
  call->context.set_wait_for_ready(options.wait_for_ready);
  prepare(call->context);
  // From StartCall() on the call may end, and delete itself, on the queue's thread; Finish() is the
  // last that touches it here.
  Call* started = call.release();
  started->reader =
      stub_.PrepareUnaryCall(&started->context, started->method->path, to_buffer(request), &queue_);
  started->reader->StartCall();
  started->reader->Finish(&started->reply, &started->status, static_cast<Tag*>(started));
}

// --- Timers -------------------------------------------------------------------------------------

struct SidecarChannel::Timer final : Tag, Operation {
  void cancel() override { alarm.Cancel(); }
  void run(bool ok) override {
    if (ok) task();
    task = nullptr;
    owner->leave(this);
    delete this;
  }

  SidecarChannel* owner = nullptr;
  absl::AnyInvocable<void()> task;
  grpc::Alarm alarm;
};

void SidecarChannel::after(milliseconds delay, absl::AnyInvocable<void()> task) {
  auto timer = std::make_unique<Timer>();
  timer->owner = this;
  timer->task = std::move(task);
  // Set under the lock: one that is known can be cancelled.
  std::lock_guard lock(mutex_);
  if (closing_) return;
  operations_.insert(timer.get());
  Timer* set = timer.release();
  set->alarm.Set(&queue_, from_now(delay), static_cast<Tag*>(set));
}

}  // namespace virtufin::bus::sidecar
