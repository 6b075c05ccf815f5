#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/config.h"

namespace virtufin::workmanager {

/// Bounds of the code that a worker is made of. Hitting one is INVALID_ARGUMENT naming the key.
struct CodeLimits {
  std::int64_t max_code_bytes = 64 << 20;      ///< as handed in: library or package
  std::int64_t max_library_bytes = 256 << 20;  ///< a library taken out of a package
  std::int64_t max_manifest_bytes = 1 << 20;   ///< nuspec or manifest.json
  std::int64_t max_package_entries = 10'000;
};

/// Config section `workmanager`; src/modules/workmanager/README.md has it as a table.
struct WorkManagerConfig {
  std::string host = "127.0.0.1";
  std::uint16_t http_port = 25001;
  std::uint16_t grpc_port = 25002;

  std::size_t worker_threads = 2;     ///< of the pool that workers share
  std::size_t max_workers = 1000;     ///< one more is RESOURCE_EXHAUSTED
  std::size_t queue_events = 65'536;  ///< of a worker, unless it says otherwise
  int max_in_flight = 256;            ///< of a worker: handed out and not answered
  std::size_t outputs_bound = 256;    ///< of a worker: outputs that wait for record or bus

  std::chrono::milliseconds timeout{30'000};  ///< of one call of Process
  int retry_max_attempts = 4;                 ///< of Process and of publishing, each on its own
  std::chrono::milliseconds retry_first_delay{200};
  std::chrono::milliseconds retry_max_delay{10'000};
  std::chrono::milliseconds recovery_interval{30'000};  ///< between tries to load what did not

  std::chrono::milliseconds order_index_interval{100};
  std::size_t order_index_page_ids = 1000;
  std::size_t order_index_queue = 1'000'000;  ///< ids that wait for their page

  std::string code_dir;  ///< for private copies of libraries; empty: the system's temporary folder
  CodeLimits code;

  void read(ConfigSection section);
};

}  // namespace virtufin::workmanager
