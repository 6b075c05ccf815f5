#include "bus/dapr/sidecar.h"

#include <absl/container/flat_hash_set.h>
#include <google/protobuf/message_lite.h>
#include <grpcpp/alarm.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

#include "core/errors.h"
#include "core/executor.h"
#include "core/log.h"
#include "core/metrics.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"

namespace virtufin::bus {
namespace {

using google::protobuf::MessageLite;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

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
/// Probes without an answer until the sidecar counts as away.
constexpr int kSilentProbes = 3;
/// Of the sidecar's words in an error.
constexpr std::size_t kMaxWords = 500;

const Logger& log() {
  static const Logger kLogger = logger("dapr");
  return kLogger;
}

gpr_timespec from_now(milliseconds delay) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_millis(delay.count(), GPR_TIMESPAN));
}

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

bool SidecarInfo::Component::can(std::string_view capability) const {
  return std::find(capabilities.begin(), capabilities.end(), capability) != capabilities.end();
}

const SidecarInfo::Component* SidecarInfo::find(std::string_view kind,
                                                std::string_view name) const {
  for (const Component& component : components) {
    if (component.name == name && component.type.rfind(std::string(kind) + '.', 0) == 0) {
      return &component;
    }
  }
  return nullptr;
}

std::string SidecarInfo::names(std::string_view kind) const {
  std::vector<std::string> found;
  for (const Component& component : components) {
    if (component.type.rfind(std::string(kind) + '.', 0) == 0) found.push_back(component.name);
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) return "none";
  return fmt::format("{}", fmt::join(found, ", "));
}

// --- The thread and what runs on it -------------------------------------------------------------

struct Sidecar::Impl {
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
  struct Call;
  struct Timer;
  struct Stream;
  class StreamHandle;

  Impl(const DaprConfig& given, Metrics& metrics)
      : config(given),
        endpoint(given.resolved_endpoint()),
        channel(connect(endpoint, given)),
        stub(channel),
        up(metrics.gauge("virtufin_dapr_sidecar_up", "1 while the sidecar answers")),
        streams(metrics.gauge("virtufin_dapr_streams", "Open streams to the sidecar")) {
    if (const char* given_token = std::getenv("DAPR_API_TOKEN")) token = given_token;
    for (const char* name : kMethods) {
      methods.emplace(
          name, Method{fmt::format("/dapr.proto.runtime.v1.Dapr/{}", name),
                       metrics.counter("virtufin_dapr_calls_total",
                                       "Calls of the sidecar that ended", {{"method", name}}),
                       metrics.counter("virtufin_dapr_call_failures_total",
                                       "Calls of the sidecar that failed", {{"method", name}})});
    }
  }

  /// False when closing: the operation must not begin.
  bool enter(Operation* operation) {
    std::lock_guard lock(mutex);
    if (closing) return false;
    operations.insert(operation);
    return true;
  }
  void leave(Operation* operation) {
    std::lock_guard lock(mutex);
    operations.erase(operation);
    if (closing && operations.empty()) idle.notify_all();
  }

  /// Tells a callback that came too late, on the thread while there is one.
  void refuse(absl::AnyInvocable<void(absl::Status)> done) {
    {
      std::lock_guard lock(mutex);
      if (!drained) {
        refused.push_back(std::move(done));
        return;
      }
    }
    done(cancelled("the connection to the sidecar is closed"));
  }
  void run_refused() {
    for (;;) {
      std::deque<absl::AnyInvocable<void(absl::Status)>> some;
      {
        std::lock_guard lock(mutex);
        if (refused.empty()) {
          drained = true;
          return;
        }
        some.swap(refused);
      }
      for (auto& done : some) done(cancelled("the connection to the sidecar is closed"));
    }
  }

  void run() {
    set_thread_name("dapr");
    void* tag = nullptr;
    bool ok = false;
    while (queue.Next(&tag, &ok)) static_cast<Tag*>(tag)->run(ok);
    run_refused();
  }

  void close() {
    {
      std::unique_lock lock(mutex);
      if (closing) return;
      closing = true;
      for (Operation* operation : operations) operation->cancel();
      idle.wait(lock, [this] { return operations.empty(); });
    }
    queue.Shutdown();
    thread.join();
  }

  void prepare(grpc::ClientContext& context) const {
    if (!token.empty()) context.AddMetadata("dapr-api-token", token);
  }

  void start_call(const char* method, const MessageLite& request, MessageLite& response,
                  CallOptions options, absl::AnyInvocable<void(const absl::Status&)> done);
  void after(milliseconds delay, absl::AnyInvocable<void()> task);

  void probe();
  void probed(absl::StatusOr<dapr::proto::runtime::v1::GetMetadataResponse> answer);
  absl::Status reachable_locked() const;

  const DaprConfig config;
  const std::string endpoint;
  std::string token;                                                             // never printed
  std::unordered_map<std::string, Method, StringHash, std::equal_to<>> methods;  // never changes
  grpc::CompletionQueue queue;
  const std::shared_ptr<grpc::Channel> channel;
  grpc::GenericStub stub;
  const std::shared_ptr<Gauge> up, streams;

  mutable std::mutex mutex;
  std::condition_variable idle;  // no operation is left
  absl::flat_hash_set<Operation*> operations;
  std::deque<absl::AnyInvocable<void(absl::Status)>> refused;
  bool closing = false;
  bool drained = false;  // the thread runs nothing any more

  mutable std::mutex info_mutex;
  mutable std::condition_variable answered;
  std::shared_ptr<const SidecarInfo> info;
  absl::Status last_probe = unavailable("not asked yet");

  bool told_away = false;  // on the thread: that it was not there at start has been logged

  std::thread thread;
};

// --- Unary calls --------------------------------------------------------------------------------

struct Sidecar::Impl::Call final : Tag, Operation {
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

  Impl* owner = nullptr;
  const Method* method = nullptr;
  MessageLite* response = nullptr;
  absl::AnyInvocable<void(const absl::Status&)> done;
  grpc::ClientContext context;
  grpc::ByteBuffer reply;
  grpc::Status status;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
};

void Sidecar::Impl::start_call(const char* method, const MessageLite& request,
                               MessageLite& response, CallOptions options,
                               absl::AnyInvocable<void(const absl::Status&)> done) {
  auto call = std::make_unique<Call>();
  if (!enter(call.get())) {
    refuse([done = std::move(done)](const absl::Status& status) mutable { done(status); });
    return;
  }
  call->owner = this;
  call->method = &methods.find(std::string_view(method))->second;
  call->response = &response;
  call->done = std::move(done);
  call->context.set_deadline(from_now(options.timeout));
  call->context.set_wait_for_ready(options.wait_for_ready);
  prepare(call->context);
  // From StartCall() on the call may end, and delete itself, on the queue's thread; Finish() is the
  // last that touches it here.
  Call* started = call.release();
  started->reader =
      stub.PrepareUnaryCall(&started->context, started->method->path, to_buffer(request), &queue);
  started->reader->StartCall();
  started->reader->Finish(&started->reply, &started->status, static_cast<Tag*>(started));
}

// --- Timers -------------------------------------------------------------------------------------

struct Sidecar::Impl::Timer final : Tag, Operation {
  void cancel() override { alarm.Cancel(); }
  void run(bool ok) override {
    if (ok) task();
    task = nullptr;
    owner->leave(this);
    delete this;
  }

  Impl* owner = nullptr;
  absl::AnyInvocable<void()> task;
  grpc::Alarm alarm;
};

void Sidecar::Impl::after(milliseconds delay, absl::AnyInvocable<void()> task) {
  auto timer = std::make_unique<Timer>();
  timer->owner = this;
  timer->task = std::move(task);
  // Set under the lock: one that is known can be cancelled.
  std::lock_guard lock(mutex);
  if (closing) return;
  operations.insert(timer.get());
  Timer* set = timer.release();
  set->alarm.Set(&queue, from_now(delay), static_cast<Tag*>(set));
}

// --- Streams ------------------------------------------------------------------------------------

/// Holds itself until it has ended. One read and one write are out at a time; Finish follows when
/// the stream is broken and neither is.
struct Sidecar::Impl::Stream final : Operation, std::enable_shared_from_this<Stream> {
  using Step = void (Stream::*)(bool);
  struct StepTag final : Tag {
    StepTag(Stream* stream, Step step) : owner(stream), function(step) {}
    void run(bool ok) override { (owner->*function)(ok); }
    Stream* const owner;
    const Step function;
  };

  Stream(Impl* impl, MessageLite& message) : owner(impl), incoming(message) {}

  void start(const Method& which, const MessageLite& first) {
    method = &which;
    self = shared_from_this();
    owner->streams->add(1);
    owner->prepare(context);
    outbox.push_back(to_buffer(first));
    rpc = owner->stub.PrepareCall(&context, which.path, &owner->queue);
    rpc->StartCall(&on_started);
    owner->after(owner->config.open_timeout, [weak = weak_from_this()] {
      if (auto stream = weak.lock()) stream->check_opened();
    });
  }

  void cancel() override { break_off(cancelled("the stream was closed")); }

  void check_opened() {
    {
      std::lock_guard lock(mutex);
      if (opened || broken) return;
    }
    break_off(deadline_exceeded("the sidecar did not answer within {} ms (open_timeout_ms)",
                                owner->config.open_timeout.count()));
  }

  void break_off(absl::Status why) {
    {
      std::lock_guard lock(mutex);
      if (broken) return;
      broken = true;
      reason = std::move(why);
      maybe_finish();
    }
    context.TryCancel();
  }

  void write(const MessageLite& message) {
    grpc::ByteBuffer bytes = to_buffer(message);
    std::lock_guard lock(mutex);
    if (broken) return;
    outbox.push_back(std::move(bytes));
    write_next();
  }

  void resume() {
    std::lock_guard lock(mutex);
    resume_asked = true;
    if (!paused) return;
    paused = false;
    read_next();
  }

  // Under mutex, the next three.
  void write_next() {
    if (calling || writing || broken || outbox.empty()) return;
    writing = true;
    grpc::WriteOptions options;
    if (outbox.size() > 1) options.set_buffer_hint();
    rpc->Write(outbox.front(), options, &on_written);
  }
  void read_next() {
    if (broken) return maybe_finish();
    reading = true;
    rpc->Read(&buffer, &on_read);
  }
  void maybe_finish() {
    if (!broken || calling || reading || writing || handling || finishing) return;
    finishing = true;
    rpc->Finish(&status, &on_finished);
  }

  void started(bool ok) {
    std::lock_guard lock(mutex);
    calling = false;
    if (!ok) broken = true;
    write_next();
    read_next();
  }

  void written(bool ok) {
    std::lock_guard lock(mutex);
    writing = false;
    outbox.pop_front();
    if (!ok) broken = true;
    write_next();
    maybe_finish();
  }

  void read(bool ok) {
    {
      std::lock_guard lock(mutex);
      reading = false;
      if (!ok) broken = true;
      if (broken) return maybe_finish();
      opened = true;
      handling = true;
      resume_asked = false;
    }
    const absl::Status parsed = parse(buffer, incoming);
    bool go_on = false;
    if (parsed.ok()) go_on = on_message();
    {
      std::lock_guard lock(mutex);
      handling = false;
      if (parsed.ok() && (go_on || resume_asked || broken)) return read_next();
      if (parsed.ok()) {
        paused = true;
        return;
      }
    }
    break_off(parsed);
  }

  void finished(bool) {
    absl::Status result;
    {
      std::lock_guard lock(mutex);
      result = reason.ok() ? to_absl_status(status) : reason;
    }
    if (result.ok()) result = unavailable("the sidecar ended the stream");
    method->calls->add();
    method->failures->add();
    owner->streams->add(-1);
    on_end(std::move(result));
    on_end = nullptr;
    on_message = nullptr;
    owner->leave(this);
    self.reset();  // the last word: nothing of this is touched any more
  }

  Impl* const owner;
  const Method* method = nullptr;
  MessageLite& incoming;  // lives in on_message
  absl::AnyInvocable<bool()> on_message;
  absl::AnyInvocable<void(absl::Status)> on_end;
  std::shared_ptr<Stream> self;
  grpc::ClientContext context;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> rpc;
  grpc::ByteBuffer buffer;
  grpc::Status status;
  StepTag on_started{this, &Stream::started};
  StepTag on_read{this, &Stream::read};
  StepTag on_written{this, &Stream::written};
  StepTag on_finished{this, &Stream::finished};

  std::mutex mutex;
  std::deque<grpc::ByteBuffer> outbox;  // the front is being written if `writing`
  bool calling = true;                  // until the call has begun
  bool reading = false, writing = false, handling = false, finishing = false;
  bool opened = false;        // something came
  bool paused = false;        // nothing is read until resume()
  bool resume_asked = false;  // while the handler ran
  bool broken = false;        // nothing is read or written any more
  absl::Status reason;        // why we broke it off
};

/// The owner's end; letting go closes the stream.
class Sidecar::Impl::StreamHandle final : public SidecarStream {
 public:
  explicit StreamHandle(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~StreamHandle() override { stream_->cancel(); }
  void write(const MessageLite& message) override { stream_->write(message); }
  void resume() override { stream_->resume(); }
  void close() override { stream_->cancel(); }

 private:
  const std::shared_ptr<Stream> stream_;
};

// --- Readiness ----------------------------------------------------------------------------------

void Sidecar::Impl::probe() {
  auto response = std::make_unique<dapr::proto::runtime::v1::GetMetadataResponse>();
  MessageLite& filled = *response;
  start_call("GetMetadata", dapr::proto::runtime::v1::GetMetadataRequest(), filled,
             {config.probe * kSilentProbes},
             [this, response = std::move(response)](const absl::Status& status) mutable {
               if (status.ok()) {
                 probed(std::move(*response));
               } else {
                 probed(status);
               }
               after(config.probe, [this] { probe(); });
             });
}

void Sidecar::Impl::probed(absl::StatusOr<dapr::proto::runtime::v1::GetMetadataResponse> answer) {
  if (absl::IsCancelled(answer.status())) return;  // by close()
  std::shared_ptr<SidecarInfo> told;
  if (answer.ok()) {
    told = std::make_shared<SidecarInfo>();
    told->app_id = answer->id();
    told->runtime_version = answer->runtime_version();
    for (const auto& component : answer->registered_components()) {
      told->components.push_back(
          {component.name(),
           component.type(),
           component.version(),
           {component.capabilities().begin(), component.capabilities().end()}});
    }
  }
  bool was_up = false;
  {
    std::lock_guard lock(info_mutex);
    was_up = last_probe.ok();
    last_probe = answer.status();
    if (told) info = told;
  }
  up->set(answer.ok() ? 1 : 0);
  if (told && !was_up) {
    answered.notify_all();
    log()->info("sidecar {} answers: app '{}', Dapr {}", endpoint, printable(told->app_id),
                printable(told->runtime_version));
  } else if (!told && (was_up || !std::exchange(told_away, true))) {
    log()->warn("sidecar {} does not answer: {}", endpoint, message(answer.status()));
  }
}

absl::Status Sidecar::Impl::reachable_locked() const {
  if (last_probe.ok()) return absl::OkStatus();
  if (last_probe.code() == absl::StatusCode::kUnauthenticated ||
      last_probe.code() == absl::StatusCode::kPermissionDenied) {
    return with_context(last_probe, fmt::format("sidecar {} refuses us; set DAPR_API_TOKEN to its "
                                                "token",
                                                endpoint));
  }
  return unavailable(
      "sidecar {} does not answer ({}): is daprd running, and is this its gRPC port?", endpoint,
      message(last_probe));
}

// --- Outside ------------------------------------------------------------------------------------

Sidecar::Sidecar(const DaprConfig& config, Metrics& metrics)
    : impl_(std::make_unique<Impl>(config, metrics)) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
  impl_->probe();
}

Sidecar::~Sidecar() { close(); }

void Sidecar::close() { impl_->close(); }

const DaprConfig& Sidecar::config() const { return impl_->config; }
const std::string& Sidecar::endpoint() const { return impl_->endpoint; }

void Sidecar::start_call(const char* method, const MessageLite& request, MessageLite& response,
                         CallOptions options, absl::AnyInvocable<void(const absl::Status&)> done) {
  impl_->start_call(method, request, response, options, std::move(done));
}

std::shared_ptr<SidecarStream> Sidecar::start_stream(
    const char* method, const MessageLite& first, MessageLite& response,
    absl::AnyInvocable<bool()> on_message, absl::AnyInvocable<void(absl::Status)> on_end) {
  auto stream = std::make_shared<Impl::Stream>(impl_.get(), response);
  stream->on_message = std::move(on_message);
  stream->on_end = std::move(on_end);
  auto handle = std::make_shared<Impl::StreamHandle>(stream);
  if (!impl_->enter(stream.get())) {
    stream->broken = true;
    impl_->refuse([stream](absl::Status status) { stream->on_end(std::move(status)); });
    return handle;
  }
  stream->start(impl_->methods.find(std::string_view(method))->second, first);
  return handle;
}

void Sidecar::after(milliseconds delay, absl::AnyInvocable<void()> task) {
  impl_->after(delay, std::move(task));
}

std::shared_ptr<const SidecarInfo> Sidecar::info() const {
  std::lock_guard lock(impl_->info_mutex);
  return impl_->info;
}

absl::Status Sidecar::reachable() const {
  std::lock_guard lock(impl_->info_mutex);
  return impl_->reachable_locked();
}

absl::Status Sidecar::wait_until_reachable(milliseconds limit) const {
  std::unique_lock lock(impl_->info_mutex);
  impl_->answered.wait_for(lock, limit, [this] { return impl_->last_probe.ok(); });
  return impl_->reachable_locked();
}

std::vector<HealthEntry> Sidecar::health() const {
  std::vector<HealthEntry> entries{{"sidecar", reachable()}};
  const auto told = info();
  if (!told) return entries;
  std::vector<std::string> missing;
  for (const std::string& name : impl_->config.pubsub_components()) {
    if (!told->find("pubsub", name)) missing.push_back(name);
  }
  absl::Status pubsub;
  if (!missing.empty()) {
    pubsub = failed_precondition(
        "the sidecar has no pub/sub component {} (it has: {}): add its file to the sidecar's "
        "resources, or change bus.dapr.components",
        fmt::join(missing, ", "), told->names("pubsub"));
  }
  entries.push_back({"dapr pubsub", std::move(pubsub)});
  absl::Status state;
  const auto* store = told->find("state", impl_->config.state_store);
  if (!store) {
    state = failed_precondition(
        "the sidecar has no state component {} (it has: {}): add its file to the sidecar's "
        "resources, or change bus.dapr.state_store",
        impl_->config.state_store, told->names("state"));
  }
  entries.push_back({"dapr state", std::move(state)});
  return entries;
}

// --- Backoff ------------------------------------------------------------------------------------

Backoff::Backoff(milliseconds first, milliseconds max)
    : first_(std::max(first, milliseconds(1))), max_(std::max(max, first_)) {}

milliseconds Backoff::next() {
  // 2^20 times any first wait is beyond any max that the config takes.
  const auto doubled = first_.count() << std::min(attempt_, 20);
  ++attempt_;
  const auto full = std::min<std::int64_t>(doubled, max_.count());
  thread_local std::minstd_rand random{std::random_device{}()};
  const std::int64_t floor = std::max<std::int64_t>(1, full / 2);
  return milliseconds(std::uniform_int_distribution<std::int64_t>(floor, full)(random));
}

}  // namespace virtufin::bus
