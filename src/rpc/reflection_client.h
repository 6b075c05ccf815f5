#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <memory>

#include "rpc/backend.h"
#include "rpc/service_descriptors.h"

namespace virtufin::rpc {

using DescriptorsDone =
    absl::AnyInvocable<void(absl::StatusOr<std::shared_ptr<const ServiceDescriptors>>)>;

/// Asks a backend's reflection (v1, where that is UNIMPLEMENTED v1alpha) for all its services but
/// health and reflection themselves. `done` runs once, on the queue's thread. Errors:
/// UNIMPLEMENTED without reflection, RESOURCE_EXHAUSTED for more than `max_descriptor_bytes`,
/// INVALID_ARGUMENT for files that do not fit together, and those of the way there.
void fetch_descriptors(std::shared_ptr<Backend> backend, DescriptorsDone done);

}  // namespace virtufin::rpc
