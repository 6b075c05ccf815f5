#pragma once

#include <string_view>

#include "core/log.h"
#include "modules/platform.h"
#include "modules/workmanager/worker_spec.h"

namespace virtufin::workmanager {

/// Tells what happens to workers on the topic `workmanager.lifecycle`. Threads: any.
class Lifecycle {
 public:
  explicit Lifecycle(Platform& platform);
  /// `what`: created, starting, online, stopping, stopped, failed, deleted.
  void publish(const WorkerSpec& spec, std::string_view what, std::string_view error_type = {},
               std::string_view error_message = {}) const;

 private:
  Platform& platform_;
  bus::TopicPtr topic_;
  Logger log_;
};

}  // namespace virtufin::workmanager
