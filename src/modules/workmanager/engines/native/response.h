#pragma once

#include <absl/status/status.h>

#include <cstdint>
#include <span>
#include <string>

#include "modules/workmanager/engines/engine.h"

namespace virtufin::workmanager::native {

/// Reads a `WorkerResponse` that a worker returned, after the FlatBuffers verifier, and hands its
/// event to the sink. `bytes` is any memory: outside input.
///
/// OK: handled. Else the worker's own error_message (no event given), what is wrong with the
/// buffer, or the sink's refusal of the event. Threads: any.
absl::Status read_response(std::span<const std::uint8_t> bytes, OutputSink& sink);

/// The error_message of a response that came with a failure; empty if there is none to read.
std::string error_message(std::span<const std::uint8_t> bytes);

}  // namespace virtufin::workmanager::native
