#pragma once

#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "virtufin_worker.h"
#include "worker_api_generated.h"

/// A thin C++20 wrapper of the native worker ABI (virtufin_worker.h). Needs FlatBuffers and the
/// header that flatc makes of schema/worker_api.fbs; nothing else of the platform.
///
///     void on_event(const virtufin::worker::Event& event, virtufin::worker::Context& context) {
///       context.publish({.type = "com.example.seen", .subject = event.subject()});
///     }
///     VIRTUFIN_WORKER(on_event)
///
/// An exception that leaves the function fails the event with its text.
namespace virtufin::worker {

namespace fb = Virtufin::Worker::FlatBuffers;

inline std::string_view text(const flatbuffers::String* value) {
  return value != nullptr ? value->string_view() : std::string_view{};
}

/// One incoming event. Views are valid during the call; what is absent is empty.
class Event {
 public:
  explicit Event(const std::uint8_t* buffer)
      : event_(flatbuffers::GetRoot<fb::CloudEvent>(buffer)) {}

  std::string_view id() const { return text(event_->id()); }
  std::string_view type() const { return text(event_->type()); }
  std::string_view source() const { return text(event_->source()); }
  std::string_view subject() const { return text(event_->subject()); }
  std::string_view time() const { return text(event_->time()); }
  std::string_view data_content_type() const { return text(event_->datacontenttype()); }

  std::span<const std::uint8_t> data() const {
    const auto* bytes = event_->data();
    return bytes != nullptr ? std::span(bytes->data(), bytes->size())
                            : std::span<const std::uint8_t>{};
  }
  std::string_view data_text() const {
    const auto bytes = data();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  /// Value of an extension, a config key of the worker among them. Linear.
  std::string_view extension(std::string_view name) const {
    if (const auto* all = event_->extensions()) {
      for (const auto* one : *all) {
        if (text(one->name()) == name) return text(one->value());
      }
    }
    return {};
  }
  /// When the business fact happened, the only time a worker knows: `eventtime`, else `time`.
  std::string_view event_time() const {
    const std::string_view value = extension("eventtime");
    return value.empty() ? time() : value;
  }

 private:
  const fb::CloudEvent* event_;
};

/// One outgoing event. Only the type is required; the host adds id, source, scenario, lanes and
/// times, and takes the extension `publishtopic` for the topic.
struct Output {
  using Extensions = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  std::string_view type;
  std::string_view subject = {};
  std::string_view data = {};  ///< empty: no payload
  std::string_view data_content_type = "application/json";
  Extensions extensions = {};
  std::string_view source = "urn:com.virtufin.workmanager";
  std::string_view time = {};
};

/// What a worker can do while it handles an event.
class Context {
 public:
  explicit Context(const VirtufinHost* host) : host_(host) {}

  const VirtufinHost* host() const { return host_; }
  void log(std::int32_t level, const char* line) const {
    host_->log(host_->engine_ptr, level, line);
  }

  /// The event to publish when the call ends. At most one; the last one counts.
  void publish(const Output& output) {
    auto& b = builder();
    b.Clear();
    // Children before parents: strings, extensions, the event.
    flatbuffers::Offset<fb::Extension> made[kMaxExtensions];
    std::size_t count = 0;
    for (const auto& [name, value] : output.extensions) {
      if (count == kMaxExtensions) break;
      const auto name_at = string(name);
      made[count++] = fb::CreateExtension(b, name_at, string(value));
    }
    const auto extensions = b.CreateVector(made, count);
    const auto data =
        output.data.empty()
            ? flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>>{}
            : b.CreateVector(reinterpret_cast<const std::uint8_t*>(output.data.data()),
                             output.data.size());
    const auto type = string(output.type), source = string(output.source);
    const auto version = string("1.0"), content = string(output.data_content_type);
    const auto subject = string(output.subject), time = string(output.time);
    event_ = fb::CreateCloudEvent(b, 0, type, source, version, content, 0, subject, time, data,
                                  extensions);
  }

  /// Fails the event, or, after publish(), publishes and reports.
  void fail(std::string message) { error_ = std::move(message); }

  /// For VIRTUFIN_WORKER: hands over what was published or failed.
  std::int32_t finish(std::uint8_t** out, std::int32_t* out_length) {
    *out = nullptr;
    *out_length = 0;
    if (event_.IsNull() && error_.empty()) return 0;
    auto& b = builder();
    if (event_.IsNull()) b.Clear();
    const auto error = string(error_);
    b.Finish(fb::CreateWorkerResponse(b, event_, error));
    auto* copy = static_cast<std::uint8_t*>(std::malloc(b.GetSize()));
    if (copy == nullptr) return 1;
    std::memcpy(copy, b.GetBufferPointer(), b.GetSize());
    *out = copy;
    *out_length = static_cast<std::int32_t>(b.GetSize());
    return 0;
  }

 private:
  static constexpr std::size_t kMaxExtensions = 32;

  /// Kept from call to call, so that an output allocates only its own copy. Found once a call:
  /// in a shared library a thread's own variable is a function call away.
  flatbuffers::FlatBufferBuilder& builder() {
    if (builder_ == nullptr) {
      thread_local flatbuffers::FlatBufferBuilder kept(1024);
      builder_ = &kept;
    }
    return *builder_;
  }
  flatbuffers::Offset<flatbuffers::String> string(std::string_view value) {
    if (value.empty()) return 0;
    return builder_->CreateString(value.data(), value.size());
  }

  const VirtufinHost* host_;
  flatbuffers::FlatBufferBuilder* builder_ = nullptr;
  flatbuffers::Offset<fb::CloudEvent> event_{};
  std::string error_;
};

template <class Handler>
std::int32_t run(Handler&& handler, const VirtufinHost* host, const std::uint8_t* in,
                 std::uint8_t** out, std::int32_t* out_length) {
  Context context(host);
  try {
    handler(Event(in), context);
  } catch (const std::exception& error) {
    context = Context(host);
    context.fail(error.what());
  } catch (...) {
    context = Context(host);
    context.fail("unknown exception");
  }
  return context.finish(out, out_length);
}

}  // namespace virtufin::worker

/// Exports `handler`, void(const Event&, Context&), as the library's worker. Once a library.
#define VIRTUFIN_WORKER(handler)                                                        \
  extern "C" std::int32_t Process(const VirtufinHost* host, const std::uint8_t* in_buf, \
                                  std::int32_t /*in_len*/, std::uint8_t** out_buf,      \
                                  std::int32_t* out_len) {                              \
    return virtufin::worker::run(handler, host, in_buf, out_buf, out_len);              \
  }                                                                                     \
  extern "C" void FreeResult(std::uint8_t* buf) { std::free(buf); }
