#include <google/protobuf/message_lite.h>

#include "bus/dapr/sidecar_channel.h"

namespace virtufin::bus::sidecar {

using google::protobuf::MessageLite;

/// Holds itself until it has ended. One read and one write are out at a time; Finish follows when
/// the stream is broken and neither is.
struct SidecarChannel::Stream final : Operation, std::enable_shared_from_this<Stream> {
  using Step = void (Stream::*)(bool);
  struct StepTag final : Tag {
    StepTag(Stream* stream, Step step) : owner(stream), function(step) {}
    void run(bool ok) override { (owner->*function)(ok); }
    Stream* const owner;
    const Step function;
  };

  Stream(SidecarChannel* channel, MessageLite& message) : owner(channel), incoming(message) {}

  void start(const Method& which, const MessageLite& first) {
    method = &which;
    self = shared_from_this();
    owner->streams_->add(1);
    owner->prepare(context);
    outbox.push_back(to_buffer(first));
    rpc = owner->stub_.PrepareCall(&context, which.path, &owner->queue_);
    rpc->StartCall(&on_started);
    owner->after(owner->config_.open_timeout, [weak = weak_from_this()] {
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
                                owner->config_.open_timeout.count()));
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
    owner->streams_->add(-1);
    on_end(std::move(result));
    on_end = nullptr;
    on_message = nullptr;
    owner->leave(this);
    self.reset();  // the last word: nothing of this is touched any more
  }

  SidecarChannel* const owner;
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
class SidecarChannel::StreamHandle final : public SidecarStream {
 public:
  explicit StreamHandle(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~StreamHandle() override { stream_->cancel(); }
  void write(const MessageLite& message) override { stream_->write(message); }
  void resume() override { stream_->resume(); }
  void close() override { stream_->cancel(); }

 private:
  const std::shared_ptr<Stream> stream_;
};

std::shared_ptr<SidecarStream> SidecarChannel::start_stream(
    const char* name, const MessageLite& first, MessageLite& response,
    absl::AnyInvocable<bool()> on_message, absl::AnyInvocable<void(absl::Status)> on_end) {
  auto stream = std::make_shared<Stream>(this, response);
  stream->on_message = std::move(on_message);
  stream->on_end = std::move(on_end);
  auto handle = std::make_shared<StreamHandle>(stream);
  if (!enter(stream.get())) {
    stream->broken = true;
    refuse([stream](absl::Status status) { stream->on_end(std::move(status)); });
    return handle;
  }
  stream->start(method(name), first);
  return handle;
}

}  // namespace virtufin::bus::sidecar
