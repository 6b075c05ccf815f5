#include "modules/workmanager/engines/native/host.h"

#include <google/protobuf/util/json_util.h>

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>

#include "core/errors.h"
#include "rpc/local_call.h"

namespace virtufin::workmanager::native {
namespace {

using google::protobuf::Message;

/// One call that the worker's thread waits for. Shared with the reply, which may come too late.
struct Pending {
  std::unique_ptr<Message> request;
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<absl::StatusOr<std::unique_ptr<Message>>> reply;
};

std::string error_json(const absl::Status& status) {
  std::string out = fmt::format(R"({{"code":{},"message":")", static_cast<int>(status.code()));
  for (const char c : message(status)) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + "\"}";
}

}  // namespace

void MethodAccess::close() {
  std::unique_lock lock(mutex_);
  methods_ = nullptr;
}

Host::Host(std::string worker_id, std::shared_ptr<const MethodAccess> methods, bool inline_dispatch,
           std::chrono::milliseconds timeout)
    : table_{this, VIRTUFIN_ABI_VERSION, &Host::log, &Host::gateway_call, &Host::free_response},
      worker_id_(std::move(worker_id)),
      methods_(std::move(methods)),
      inline_dispatch_(inline_dispatch),
      timeout_(timeout),
      log_(logger("worker")) {
  static_assert(sizeof(void*) != 8 || sizeof(VirtufinHost) == 40, "the ABI's layout");
}

void Host::log(void* engine, std::int32_t level, const char* utf8) {
  const auto& self = *static_cast<const Host*>(engine);
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::trace, spdlog::level::debug,
                                                   spdlog::level::info, spdlog::level::warn,
                                                   spdlog::level::err};
  const auto known = kLevels[level < 0 ? 0 : level > 4 ? 4 : level];
  if (utf8 == nullptr || !self.log_->should_log(known)) return;
  self.log_->log(known, "{}: {}", self.worker_id_, printable(utf8, 2000));
}

std::int32_t Host::gateway_call(void* engine, const char* service, const char* method,
                                const std::uint8_t* request, std::int32_t request_length,
                                std::uint8_t** response, std::int32_t* response_length) {
  if (response == nullptr || response_length == nullptr) {
    return static_cast<std::int32_t>(absl::StatusCode::kInvalidArgument);
  }
  *response = nullptr;
  *response_length = 0;
  absl::StatusOr<std::string> reply;
  if (service == nullptr || method == nullptr || request_length < 0 ||
      (request == nullptr && request_length > 0)) {
    reply = invalid_argument("gateway_call wants a service, a method and a request");
  } else {
    reply = static_cast<const Host*>(engine)->call(
        service, method,
        {reinterpret_cast<const char*>(request), static_cast<std::size_t>(request_length)});
  }
  const std::string text = reply.ok() ? *std::move(reply) : error_json(reply.status());
  auto* copy = static_cast<std::uint8_t*>(std::malloc(text.size() + 1));
  if (copy != nullptr) {
    std::memcpy(copy, text.c_str(), text.size() + 1);
    *response = copy;
    *response_length = static_cast<std::int32_t>(text.size());
  }
  return static_cast<std::int32_t>(reply.status().code());
}

void Host::free_response(void*, std::uint8_t* response) { std::free(response); }

absl::StatusOr<std::string> Host::call(std::string_view service, std::string_view method,
                                       std::string_view request) const {
  if (inline_dispatch_) {
    return failed_precondition(
        "gateway_call blocks and worker {} is dispatched inline; create it with dispatch = pool",
        worker_id_);
  }
  const auto pending = std::make_shared<Pending>();
  const auto deadline = std::chrono::steady_clock::now() + timeout_;
  const auto call = std::make_shared<rpc::LocalCall>(deadline);

  absl::Status started = unavailable("the platform is stopping");
  methods_->with([&](const rpc::MethodTable& table) {
    started = [&]() -> absl::Status {
      auto row = table.find(fmt::format("{}/{}", service, method));
      if (!row.ok()) return row.status();
      const auto* input = (*row)->descriptor()->input_type();
      const auto* prototype =
          google::protobuf::MessageFactory::generated_factory()->GetPrototype(input);
      if (prototype == nullptr) {
        return unimplemented("{} belongs to another process", (*row)->full_name());
      }
      pending->request.reset(prototype->New());
      google::protobuf::util::JsonParseOptions options;
      const auto parsed = google::protobuf::util::JsonStringToMessage(
          google::protobuf::StringPiece(request.empty() ? "{}" : request.data(),
                                        request.empty() ? 2 : request.size()),
          pending->request.get(), options);
      if (!parsed.ok()) {
        return invalid_argument("the request does not fit {}: {}", input->full_name(),
                                std::string(parsed.message()));
      }
      (*row)->call(call, *pending->request,
                   [pending](absl::StatusOr<std::unique_ptr<Message>> reply) {
                     std::lock_guard lock(pending->mutex);
                     pending->reply = std::move(reply);
                     pending->answered.notify_one();
                   });
      return absl::OkStatus();
    }();
  });
  VIRTUFIN_RETURN_IF_ERROR(started);

  std::unique_lock lock(pending->mutex);
  if (!pending->answered.wait_until(lock, deadline, [&] { return pending->reply.has_value(); })) {
    lock.unlock();
    call->cancel();
    return deadline_exceeded("{}/{} did not answer within {} ms", service, method,
                             timeout_.count());
  }
  call->end();
  if (!pending->reply->ok()) return pending->reply->status();
  std::string out;
  const auto written = google::protobuf::util::MessageToJsonString(***pending->reply, &out);
  if (!written.ok()) {
    return internal_error("the answer of {}/{} is not JSON: {}", service, method,
                          std::string(written.message()));
  }
  return out;
}

}  // namespace virtufin::workmanager::native
