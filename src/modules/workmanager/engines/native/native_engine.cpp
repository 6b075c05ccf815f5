#include "modules/workmanager/engines/native/native_engine.h"

#include <exception>
#include <limits>

#include "core/errors.h"
#include "core/log.h"
#include "modules/workmanager/engines/native/host.h"
#include "modules/workmanager/engines/native/library.h"
#include "modules/workmanager/engines/native/package.h"
#include "modules/workmanager/engines/native/response.h"
#include "modules/workmanager/environment.h"

namespace virtufin::workmanager::native {
namespace {

/// Gives a worker's buffer back exactly once, on every way out.
class Result {
 public:
  explicit Result(Library::FreeResult free) : free_(free) {}
  ~Result() {
    if (buffer != nullptr) free_(buffer);
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;

  std::uint8_t* buffer = nullptr;
  std::int32_t length = 0;

 private:
  Library::FreeResult free_;
};

class NativeCode final : public WorkerCode {
 public:
  NativeCode(std::string worker_id, std::shared_ptr<const MethodAccess> methods,
             const LoadRequest& request)
      : host_(std::move(worker_id), std::move(methods), request.inline_dispatch, request.timeout) {}

  void hold(std::unique_ptr<Library> library) { library_ = std::move(library); }

  absl::Status process(const Event& event, OutputSink& sink) override {
    const auto bytes = event.bytes();
    if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
      return invalid_argument("event {} is too large for the worker ABI ({} bytes)", event.id(),
                              bytes.size());
    }
    Result result(library_->free_result());
    std::int32_t code = 0;
    try {
      code =
          library_->process()(host_.table(), bytes.data(), static_cast<std::int32_t>(bytes.size()),
                              &result.buffer, &result.length);
    } catch (const std::exception& error) {
      return internal_error("the worker threw: {}", printable(error.what(), 1000));
    } catch (...) {
      return internal_error("the worker threw something that is no std::exception");
    }
    if (code == 0 && result.buffer == nullptr) return absl::OkStatus();
    if (result.buffer == nullptr) return internal_error("Process returned {}", code);
    if (result.length <= 0) {
      return invalid_argument("the worker returned a buffer with length {}", result.length);
    }
    const std::span out(result.buffer, static_cast<std::size_t>(result.length));
    if (code == 0) return read_response(out, sink);
    const std::string words = error_message(out);
    return internal_error("Process returned {}{}{}", code, words.empty() ? "" : ": ", words);
  }

 private:
  Host host_;  // outlives the library, whose destructors may still log
  std::unique_ptr<Library> library_;
};

}  // namespace

NativeEngine::NativeEngine(CodeLimits limits, std::string code_dir, const rpc::MethodTable& methods)
    : limits_(limits),
      code_dir_(std::move(code_dir)),
      methods_(std::make_shared<MethodAccess>(&methods)) {}

NativeEngine::~NativeEngine() { methods_->close(); }

bool NativeEngine::accepts(std::string_view type) const {
  return type == mime_type() || type == "application/x-nativedll";
}

absl::StatusOr<std::shared_ptr<WorkerCode>> NativeEngine::load(const LoadRequest& request) {
  auto unpacked = unpack(request.code, limits_);
  if (!unpacked.ok()) return unpacked.status();
  auto code = std::make_shared<NativeCode>(std::string(request.worker_id), methods_, request);
  const WorkerEnvironment environment(request.worker_id, request.first_topic);
  auto library =
      Library::load(unpacked->bytes, code_dir_, unpacked->entry_point, unpacked->free_result);
  if (!library.ok()) return library.status();
  code->hold(*std::move(library));
  return code;
}

}  // namespace virtufin::workmanager::native
